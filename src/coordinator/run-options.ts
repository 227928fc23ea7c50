/** What a run is made of: its plan and limits, the files it writes to, the clock, and who is told. */
import type { CheckpointStore } from "../checkpoint/store.js";
import type { Plan } from "../data/plan.js";
import type { CommitOptions } from "./commit.js";
import type { RunEvent } from "./events.js";
import type { Guarding } from "./guarding.js";
import type { Journal } from "./journal.js";
import type { MembershipOptions } from "./membership.js";

export interface RunOptions {
  readonly runId: string;
  readonly name: string;
  readonly plan: Plan;
  readonly numSteps: number;
  readonly numChains: number;
  readonly membership: MembershipOptions;
  readonly commit: CommitOptions;
  /** Where the run stands: 0 and null for a new one. Generations are numbered on from `generation`. */
  readonly start: { readonly checkpointStep: number | null; readonly generation: number };
  /** null: a run that goes astray is not taken back. */
  readonly guard?: Guarding | null;
  readonly journal: Journal;
  readonly store: CheckpointStore;
  /** state.json of a checkpoint. */
  readonly describeState: (step: number) => object;
  readonly now: () => number;
  readonly onEvent: (event: RunEvent) => void;
}
