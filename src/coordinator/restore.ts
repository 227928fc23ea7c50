/**
 * From which step and state a generation starts: a pure decision.
 *
 * Workers that hold the state of the first uncommitted step keep it, and the others take it from one of them. If nobody holds
 * that, the newest state that somebody has is the next best: a worker's that was cut off for a while, or the last
 * checkpoint's; the steps after it are taken back. Without either the run begins again from its seed.
 */
import type { Restore } from "../wire/messages.js";

export interface RestoreState {
  /** The first step that is not committed. */
  readonly step: number;
  /** Incarnations in the order of their ranks. */
  readonly members: readonly string[];
  /** Which step's state each of them holds, in the run's own lineage; null for none. */
  readonly holds: ReadonlyMap<string, number | null>;
  /** The step of the last whole checkpoint; null for none. */
  readonly checkpointStep: number | null;
  /** The run was taken back on purpose, so that nothing that workers hold counts. Default: it was not. */
  readonly isVoided?: boolean;
}

export interface RestorePlan {
  readonly step: number;
  /** `keep`: `holders` do, the others heal from them. The others of a generation all do the same. */
  readonly restore: Exclude<Restore, "heal">;
  readonly holders: readonly string[];
}

/** @returns how the generation starts, and why. */
export function decideRestore({ step, members, holds, checkpointStep, isVoided = false }: RestoreState): [RestorePlan, string] {
  const newest = Math.max(-1, ...members.map((incarnation) => holds.get(incarnation) ?? -1));
  const saved = checkpointStep ?? 0;
  if (newest >= 0 && newest >= saved) {
    const holders = members.filter((incarnation) => holds.get(incarnation) === newest);
    const others = members.length - holders.length;
    const who =
      others === 0
        ? `every worker holds step ${newest}`
        : `${holders.length} of ${members.length} workers hold step ${newest}, the others take it from them`;
    return [{ step: newest, restore: "keep", holders }, `${who}${takenBack(newest, step, isVoided)}`];
  }
  const lost = takenBack(saved, step, isVoided);
  if (checkpointStep !== null) {
    return [{ step: checkpointStep, restore: "checkpoint", holders: [] }, `everyone loads the checkpoint of step ${checkpointStep}${lost}`];
  }
  return [{ step: 0, restore: "fresh", holders: [] }, `everyone starts from the seed${lost}`];
}

function takenBack(to: number, step: number, isVoided: boolean): string {
  if (step <= to) return "";
  const [what, result] = step - to === 1 ? [`step ${to} is`, "its result"] : [`the steps from ${to} to ${step - 1} are`, "their result"];
  return `; ${what} taken back, since ${isVoided ? `${result} was computed before the change` : `no worker holds ${result}`}`;
}
