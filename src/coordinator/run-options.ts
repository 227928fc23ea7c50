/** What a run is made of: its plan and limits, the files it writes to, the clock, and who is told. */
import type { CheckpointStore } from "../checkpoint/store.js";
import type { Plan } from "../data/plan.js";
import type { CommitOptions } from "./commit.js";
import type { RunEvent, StepRecord } from "./events.js";
import type { Alarm, Guarding } from "./guarding.js";
import type { HangOptions } from "./hang.js";
import type { Journal } from "./journal.js";
import type { MembershipOptions } from "./membership.js";
import type { CheckpointSchedule } from "./schedule.js";
import type { Slices } from "./speeds.js";
import type { Start } from "./standing.js";

export interface RunOptions {
  readonly runId: string;
  readonly name: string;
  readonly plan: Plan;
  readonly numSteps: number;
  readonly numChains: number;
  /** Of samples that slices don't part. Default 1. */
  readonly groupSize?: number;
  readonly membership: MembershipOptions;
  readonly commit: CommitOptions;
  readonly hang: HangOptions;
  readonly checkpoints: CheckpointSchedule;
  readonly slices: Slices;
  /** How long those who were in the run's last generation are waited for when it is taken up again. */
  readonly returnTimeoutMs: number;
  /** How long the last checkpoint may take. */
  readonly closeTimeoutMs: number;
  /** Where the run stands. Generations are numbered on from there. */
  readonly start: Start;
  /** What the last steps of the run took, before this process; by them hangs are told. Default: nothing is known. */
  readonly recent?: readonly Pick<StepRecord, "generation" | "worldSize" | "phasesMs" | "stepMs">[];
  /** null: a run that goes astray is not taken back. */
  readonly guard?: Guarding | null;
  /** Told when the guard gives the run up, before anything is deleted; awaited. @returns where it wrote what is known */
  readonly postMortem?: (alarm: Extract<Alarm, { kind: "stop" }>) => Promise<string>;
  readonly journal: Journal;
  /** Called before a step's commit is in the journal, and done when it returns. */
  readonly writeFigures: (record: StepRecord) => void;
  readonly store: CheckpointStore;
  /** state.json of a checkpoint. */
  readonly describeState: (step: number) => object;
  readonly now: () => number;
  readonly onEvent: (event: RunEvent) => void;
}
