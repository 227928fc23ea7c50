/**
 * How well one score tells samples of the data from others. The score is HIGHER for what the model knows: -E(x), the largest
 * probability, or -|dE/dx|.
 *
 *   AUROC  P(score of a known sample > score of another one), ties count half: exact, by ranks
 *   AUPR   average precision, sum over thresholds of (R_n - R_{n-1}) P_n; once with either side as the positive one
 *   FPR95  share of the others that pass where 95 % of the known ones do
 *
 * As reported by Hendrycks & Gimpel 2017 and Liu et al. 2020. AUPR depends on how many samples each side has; the counts are kept.
 */
import { invariant } from "../../util/error.js";

export interface Detection {
  readonly numKnown: number;
  readonly numOther: number;
  readonly auroc: number;
  /** Average precision of finding the known ones. */
  readonly auprKnown: number;
  /** Average precision of finding the others. */
  readonly auprOther: number;
  readonly fpr95: number;
}

/** Scores must be numbers; infinities are allowed. */
export function detection(known: ArrayLike<number>, other: ArrayLike<number>): Detection {
  invariant(known.length > 0 && other.length > 0, "a detection needs samples of both kinds");
  const groups = tieGroups(known, other);
  return {
    numKnown: known.length,
    numOther: other.length,
    auroc: auroc(groups, known.length, other.length),
    auprKnown: averagePrecision(groups, known.length),
    auprOther: averagePrecision(
      groups.toReversed().map(({ known, other }) => ({ known: other, other: known })),
      other.length,
    ),
    fpr95: falsePositiveRate(groups, known.length, other.length, 0.95),
  };
}

/** How many samples of each side share a score; from the highest score down. */
interface Tie {
  readonly known: number;
  readonly other: number;
}

function tieGroups(known: ArrayLike<number>, other: ArrayLike<number>): Tie[] {
  const a = Float64Array.from(known).sort().reverse();
  const b = Float64Array.from(other).sort().reverse();
  const groups: Tie[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const value = Math.max(a[i] ?? Number.NEGATIVE_INFINITY, b[j] ?? Number.NEGATIVE_INFINITY);
    invariant(!Number.isNaN(value), "a score is not a number");
    const [fromI, fromJ] = [i, j];
    while (i < a.length && a[i] === value) i++;
    while (j < b.length && b[j] === value) j++;
    groups.push({ known: i - fromI, other: j - fromJ });
  }
  return groups;
}

function auroc(groups: readonly Tie[], numKnown: number, numOther: number): number {
  let above = 0;
  let pairs = 0;
  for (const { known, other } of groups) {
    pairs += other * (above + known / 2);
    above += known;
  }
  return pairs / (numKnown * numOther);
}

function averagePrecision(groups: readonly Tie[], numPositive: number): number {
  let positives = 0;
  let all = 0;
  let area = 0;
  for (const { known, other } of groups) {
    positives += known;
    all += known + other;
    area += (known / numPositive) * (positives / all);
  }
  return area;
}

/** At the highest threshold that lets through at least the wanted share of the known. */
function falsePositiveRate(groups: readonly Tie[], numKnown: number, numOther: number, wanted: number): number {
  let known = 0;
  let other = 0;
  for (const group of groups) {
    known += group.known;
    other += group.other;
    if (known >= wanted * numKnown - 1e-9) break;
  }
  return other / numOther;
}
