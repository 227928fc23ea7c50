/**
 * With which workers, from which step and from which state a generation starts: a pure decision.
 *
 * Workers that hold the state of the first uncommitted step go on with it. One that does not needs a checkpoint of exactly
 * that step; without one it is left out, and let in when there is. If nobody holds the state any more, the run goes back to
 * its last checkpoint, or to the beginning.
 */
import type { Restore } from "../wire/messages.js";

export interface RestoreState {
  /** The first step that is not committed. */
  readonly step: number;
  /** Incarnations in the order of their ranks. */
  readonly members: readonly string[];
  /** Which step's state each of them holds; null for none. */
  readonly holds: ReadonlyMap<string, number | null>;
  /** Whether each of them had the same rank in a generation of the same size before. */
  readonly sameRanks: boolean;
  /** The step of the last whole checkpoint; null for none. */
  readonly checkpointStep: number | null;
}

export interface RestorePlan {
  readonly members: readonly string[];
  readonly step: number;
  readonly restore: Restore;
}

/** @returns how the generation starts, and why. */
export function decideRestore(state: RestoreState): [RestorePlan, string] {
  const { step, members, checkpointStep } = state;
  const holders = members.filter((incarnation) => state.holds.get(incarnation) === step);
  if (holders.length === members.length && (state.sameRanks || checkpointStep !== step)) {
    return [{ members, step, restore: "keep" }, `every worker holds step ${step}`];
  }
  if (checkpointStep === step) return [{ members, step, restore: "checkpoint" }, `everyone loads the checkpoint of step ${step}`];
  if (holders.length > 0) {
    return [
      { members: holders, step, restore: "keep" },
      `${holders.length} of ${members.length} workers hold step ${step} and go on; the others are let in at the next checkpoint`,
    ];
  }
  const lost =
    step > (checkpointStep ?? 0) ? `; the steps from there to ${step - 1} are taken back, since no worker holds their result` : "";
  if (checkpointStep !== null)
    return [{ members, step: checkpointStep, restore: "checkpoint" }, `everyone loads the checkpoint of step ${checkpointStep}${lost}`];
  return [{ members, step: 0, restore: "fresh" }, `everyone starts from the seed${lost}`];
}
