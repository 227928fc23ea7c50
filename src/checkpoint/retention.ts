/**
 * Which checkpoints may go: a pure decision, so that it can be tested for what must never happen.
 *
 * Age is the order of saving, not the step: a run that was taken back to an earlier step saves smaller steps later.
 * The one just proved good (saved whole, or loaded and verified) is never deleted, whatever `keepLast` says.
 */

export interface RetainedEntry {
  readonly step: number;
  /** Counts the saves of a run; larger is later. */
  readonly sequence: number;
  /** `torn`: found incomplete or altered. */
  readonly condition: "whole" | "torn";
}

export interface Deletion {
  readonly step: number;
  /** A sentence for the journal. */
  readonly reason: string;
}

/**
 * @param entries all checkpoints of a run, in any order
 * @param options.provedGood the step that must stay
 * @returns what to delete, oldest first, each with its reason
 */
export function retention(entries: readonly RetainedEntry[], options: { keepLast: number; provedGood: number }): Deletion[] {
  const { keepLast, provedGood } = options;
  const newestFirst = [...entries].sort((a, b) => b.sequence - a.sequence);
  const deletions: Deletion[] = [];
  let numWhole = 0;
  for (const { step, condition } of newestFirst) {
    if (condition === "whole") numWhole++;
    if (step === provedGood) continue;
    if (condition === "torn") deletions.push({ step, reason: `step ${step} is torn, and step ${provedGood} is proved good` });
    else if (numWhole > keepLast) deletions.push({ step, reason: `step ${step} is older than the last ${keepLast} checkpoints` });
  }
  return deletions.reverse();
}
