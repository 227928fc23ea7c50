/**
 * A share of samples with the interval that its number of samples supports: Wilson's score interval, which stays inside [0,1]
 * and holds its level near 0 and 1, where the usual "plus or minus" does not (Wilson 1927; Newcombe 1998, method 3).
 */
import { invariant } from "../../util/error.js";

export interface Accuracy {
  readonly correct: number;
  readonly total: number;
  readonly accuracy: number;
  /** 95 % confidence. */
  readonly interval: readonly [number, number];
}

const Z_95 = 1.959963984540054; // two-sided normal quantile of 95 %

export function accuracyOf(correct: number, total: number): Accuracy {
  invariant(total > 0 && correct >= 0 && correct <= total, `${correct} of ${total} is no share`);
  const p = correct / total;
  const z2 = Z_95 ** 2;
  const centre = (p + z2 / (2 * total)) / (1 + z2 / total);
  const half = (Z_95 / (1 + z2 / total)) * Math.sqrt((p * (1 - p)) / total + z2 / (4 * total ** 2));
  // At the ends the bound is exact; rounding would leave it a hair outside.
  return {
    correct,
    total,
    accuracy: p,
    interval: [correct === 0 ? 0 : Math.max(0, centre - half), correct === total ? 1 : Math.min(1, centre + half)],
  };
}
