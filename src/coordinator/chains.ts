/**
 * What a change of ranks does to the chains: a pure account of positions that stay, come from a checkpoint, or start anew.
 *
 * A chain belongs to a position and lives on the worker whose slice holds it. Where the ranks change and everyone keeps its
 * state, a position that a worker newly gets is not there, and its chain begins again: it is said in the journal.
 */
import { slice } from "../data/plan.js";

/** Worker by worker: who (an incarnation) keeps which weight's slice, in the order of the ranks. */
export interface Ranks {
  readonly members: readonly string[];
  readonly weights: readonly number[];
}

/** @returns how many of the chains stay with the worker that has them, and how many start anew. */
export function chainsKept(numChains: number, before: Ranks, after: Ranks): { kept: number; startedAnew: number } {
  let kept = 0;
  for (const [rank, member] of after.members.entries()) {
    const rankBefore = before.members.indexOf(member);
    if (rankBefore < 0) continue;
    const was = slice(numChains, rankBefore, before.weights);
    const is = slice(numChains, rank, after.weights);
    kept += Math.max(0, Math.min(was.to, is.to) - Math.max(was.from, is.from));
  }
  return { kept, startedAnew: numChains - kept };
}
