/**
 * A run of one worker in one process: the link for dry runs, tests and benchmarks. Sums are what they are, every finite step
 * commits, and nothing leaves memory unless the caller asks for checkpoints.
 *
 * Real code, not a double: it follows the same plan as the coordinator, so a run over it is the reference that runs of several
 * workers are compared with.
 */
import type { StatePart } from "../checkpoint/state-part.js";
import { type Adjustment, NO_ADJUSTMENT } from "../config/adjustment.js";
import type { Plan } from "../data/plan.js";
import type { Ballot, Link, Turn, Verdict } from "./link.js";

export interface SoloOptions {
  readonly plan: Plan;
  readonly numSteps: number;
  readonly numChains: number;
  /** The samples of these ids: uint8 images [n,H,W,C] and labels. */
  readonly read: (ids: Uint32Array) => { images: Uint8Array; labels: Int32Array };
  /** What the stability guard has changed so far. Default: nothing. */
  readonly adjustment?: Adjustment;
  readonly resume?: { readonly step: number; readonly parts: readonly StatePart[] };
  /** Told of every committed step. */
  readonly onCommit?: (step: number, ballot: Ballot) => void;
  /** Whether to hand over a checkpoint after this step; `onSave` gets it. */
  readonly checkpointAfter?: (step: number) => boolean;
  readonly onSave?: (nextStep: number, parts: readonly StatePart[]) => void;
}

export function createSoloLink(options: SoloOptions): Link {
  const { plan, numSteps } = options;
  let step = options.resume?.step ?? 0;
  let placed = false;
  let verdict: Verdict | null = null;
  let outcome: Extract<Turn, { kind: "stop" }> = { kind: "stop", outcome: "finished", reason: `${numSteps} steps are done` };
  return {
    next() {
      if (!placed) {
        placed = true;
        const assignment = {
          generation: 1,
          rank: 0,
          worldSize: 1,
          step,
          chains: { from: 0, to: options.numChains },
          adjustment: options.adjustment ?? NO_ADJUSTMENT,
        };
        return { kind: "generation", assignment, state: options.resume?.parts ?? "fresh", chains: [] };
      }
      if (verdict) {
        const turn = { kind: "verdict", ...verdict } as const;
        verdict = null;
        return turn;
      }
      if (step >= numSteps || outcome.outcome === "failed") return outcome;
      const { epoch, ids } = plan.batchOf(step);
      const { images, labels } = options.read(ids);
      const positions = { from: 0, to: ids.length };
      return { kind: "step", step, epoch, batchSize: ids.length, positions, ids, labels, images, dataWaitMs: 0, following: null };
    },
    ready() {},
    allocate: (numFloats) => new Float32Array(numFloats),
    startSum() {},
    finishSums() {},
    vote(ballot) {
      if (!ballot.ok) {
        outcome = { kind: "stop", outcome: "failed", reason: ballot.reason };
        verdict = { commit: false, checkpoint: false, reason: ballot.reason };
        return;
      }
      options.onCommit?.(step, ballot);
      const checkpoint = options.checkpointAfter?.(step) ?? false;
      step++;
      verdict = { commit: true, checkpoint, reason: "the only worker agrees" };
    },
    save: (parts) => options.onSave?.(step, parts),
    offer() {},
    phase() {},
  };
}
