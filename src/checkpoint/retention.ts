/**
 * Which checkpoints may go: a pure decision, so that it can be tested for what must never happen.
 *
 * Age is the order of saving, not the step: a run that was taken back to an earlier step saves smaller steps later.
 * The one just proved good (saved whole, or loaded and verified) is never deleted, whatever `keepLast` says; neither are the
 * best few, where they are to be kept.
 */

export interface RetainedEntry {
  readonly step: number;
  /** Counts the saves of a run; larger is later. */
  readonly sequence: number;
  /** `torn`: found incomplete or altered. */
  readonly condition: "whole" | "torn";
  /** What the best are told by; undefined where it is not known. */
  readonly score?: number | undefined;
}

export interface RetentionOptions {
  readonly keepLast: number;
  /** Of those with a score. A tie goes to the later one. */
  readonly keepBest?: { readonly count: number; readonly higherIsBetter: boolean };
  /** The step that must stay. */
  readonly provedGood: number;
}

export interface Deletion {
  readonly step: number;
  /** A sentence for the journal. */
  readonly reason: string;
}

/**
 * @param entries all checkpoints of a run, in any order
 * @returns what to delete, oldest first, each with its reason
 */
export function retention(entries: readonly RetainedEntry[], { keepLast, keepBest, provedGood }: RetentionOptions): Deletion[] {
  const newestFirst = [...entries].sort((a, b) => b.sequence - a.sequence);
  const best = new Set(bestOf(newestFirst, keepBest));
  const deletions: Deletion[] = [];
  let numWhole = 0;
  for (const { step, condition } of newestFirst) {
    if (condition === "whole") numWhole++;
    if (step === provedGood) continue;
    if (condition === "torn") deletions.push({ step, reason: `step ${step} is torn, and step ${provedGood} is proved good` });
    else if (numWhole > keepLast && !best.has(step)) {
      const nor = best.size === 0 ? "" : `, and not among the best ${best.size}`;
      deletions.push({ step, reason: `step ${step} is older than the last ${keepLast} checkpoints${nor}` });
    }
  }
  return deletions.reverse();
}

/** @param newestFirst the order that decides between equals */
function bestOf(newestFirst: readonly RetainedEntry[], keepBest: RetentionOptions["keepBest"]): number[] {
  if (keepBest === undefined) return [];
  const sign = keepBest.higherIsBetter ? -1 : 1;
  return newestFirst
    .flatMap(({ step, condition, score }) => (condition === "whole" && score !== undefined ? [{ step, cost: sign * score }] : []))
    .sort((a, b) => a.cost - b.cost)
    .slice(0, keepBest.count)
    .map(({ step }) => step);
}
