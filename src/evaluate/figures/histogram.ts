/**
 * Histograms with shared, stated bins, so that distributions can be laid over each other. What lies outside is counted, never
 * dropped: one sample far away must not squeeze all others into one bar, and must not vanish either.
 */
import { invariant } from "../../util/error.js";
import { quantile, sorted } from "../../util/quantile.js";

/** Equal bins between `from` and `to`; the last one includes its upper edge. */
export interface Bins {
  readonly from: number;
  readonly to: number;
  readonly numBins: number;
}

export interface Histogram extends Bins {
  readonly counts: readonly number[];
  readonly below: number;
  readonly above: number;
}

export function histogram(values: ArrayLike<number>, bins: Bins): Histogram {
  const { from, to, numBins } = bins;
  invariant(numBins >= 1 && to > from, `bins from ${from} to ${to} hold nothing`);
  const counts = new Array<number>(numBins).fill(0);
  let below = 0;
  let above = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (value < from) below++;
    else if (value > to) above++;
    else {
      const bin = Math.min(numBins - 1, Math.floor(((value - from) / (to - from)) * numBins));
      counts[bin] = (counts[bin] as number) + 1;
    }
  }
  return { from, to, numBins, counts, below, above };
}

/** Bins that show all of these distributions: from the lowest 0.5 % quantile to the highest 99.5 % quantile, a little widened. */
export function sharedBins(distributions: readonly ArrayLike<number>[], numBins: number): Bins {
  const lows = distributions.filter((values) => values.length > 0).map((values) => quantile(sorted(values), 0.005));
  const highs = distributions.filter((values) => values.length > 0).map((values) => quantile(sorted(values), 0.995));
  if (lows.length === 0) return { from: 0, to: 1, numBins };
  const low = Math.min(...lows);
  const high = Math.max(...highs);
  const margin = high > low ? (high - low) * 0.03 : Math.max(0.5, Math.abs(low) * 0.05);
  return { from: low - margin, to: high + margin, numBins };
}
