/**
 * Three distances between a batch's energies and those of a reference:
 *
 *   PSI  sum (a_b - e_b) ln(a_b / e_b) over bins that hold equal shares of the reference (population stability index; banks' rule of thumb:
 *        below 0.1 stable, above 0.25 a shift)
 *   KS   sup |F_batch - F_reference| (Kolmogorov-Smirnov, two samples)
 *   W1   area between both distribution functions, in the unit of energy
 *
 * What a distance of the same distribution looks like depends on both sample counts, so thresholds are not constants: they are
 * quantiles of the same statistic between bootstrap samples. BOTH sides are drawn anew from the reference, since a finite reference is
 * itself off from what it was drawn from; drawing the batch alone would raise too many alarms.
 */
import { draws } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { invariant } from "../../util/error.js";
import { quantile, sorted } from "../../util/quantile.js";
import { wasserstein1 } from "../figures/energy-gap.js";

export interface Drift {
  readonly psi: number;
  readonly ks: number;
  readonly wasserstein: number;
}

export const PSI_BINS = 10;

/** @param reference ascending. */
export function driftOf(reference: Float64Array, batch: ArrayLike<number>): Drift {
  invariant(reference.length > 0 && batch.length > 0, "a drift needs samples on both sides");
  const ascending = sorted(batch);
  return {
    psi: populationStability(reference, ascending),
    ks: kolmogorovSmirnov(reference, ascending),
    wasserstein: wasserstein1(reference, ascending),
  };
}

/** Both ascending. Empty bins count as half a sample, so that the index stays finite. */
export function populationStability(reference: Float64Array, batch: Float64Array, numBins: number = PSI_BINS): number {
  const edges = Array.from({ length: numBins - 1 }, (_, i) => quantile(reference, (i + 1) / numBins));
  const expected = shares(reference, edges);
  const actual = shares(batch, edges);
  return expected.reduce((sum, e, bin) => {
    const a = actual[bin] as number;
    return sum + (a - e) * Math.log(a / e);
  }, 0);
}

/** Shares of ascending values in the bins (-inf, e1], (e1, e2], ..., (en, inf). */
function shares(ascending: Float64Array, edges: readonly number[]): number[] {
  const counts: number[] = [];
  let from = 0;
  for (const edge of edges) {
    const to = Math.max(from, firstAbove(ascending, edge));
    counts.push(to - from);
    from = to;
  }
  counts.push(ascending.length - from);
  return counts.map((count) => Math.max(count, 0.5) / ascending.length);
}

function firstAbove(ascending: Float64Array, value: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] as number) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Both ascending; ties are taken together. */
export function kolmogorovSmirnov(a: Float64Array, b: Float64Array): number {
  let [i, j, largest] = [0, 0, 0];
  while (i < a.length && j < b.length) {
    const value = Math.min(a[i] as number, b[j] as number);
    while (i < a.length && a[i] === value) i++;
    while (j < b.length && b[j] === value) j++;
    largest = Math.max(largest, Math.abs(i / a.length - j / b.length));
  }
  return largest;
}

export interface ThresholdOptions {
  /** Samples of a batch. */
  readonly batchSize: number;
  /** Probability that a batch without drift raises any of the three alarms, at most. */
  readonly falseAlarmRate: number;
  readonly seed: bigint;
  readonly numResamples?: number;
}

/** Each statistic gets a third of the rate (Bonferroni). Deterministic for a seed. */
export function driftThresholds(reference: Float64Array, options: ThresholdOptions): Drift {
  const { batchSize, falseAlarmRate, seed, numResamples = 2000 } = options;
  invariant(falseAlarmRate > 0 && falseAlarmRate < 1, `a rate of ${falseAlarmRate}`);
  const found = { psi: [] as number[], ks: [] as number[], wasserstein: [] as number[] };
  for (let i = 0; i < numResamples; i++) {
    const random = draws({ seed, purpose: PURPOSE.bootstrap, step: batchSize, position: i });
    const drift = driftOf(resample(reference, reference.length, random), resample(reference, batchSize, random));
    for (const name of ["psi", "ks", "wasserstein"] as const) found[name].push(drift[name]);
  }
  const share = 1 - falseAlarmRate / 3;
  const at = (values: number[]): number => quantile(sorted(values), share);
  return { psi: at(found.psi), ks: at(found.ks), wasserstein: at(found.wasserstein) };
}

/** Ascending, without a sort: how often each of the ascending values is drawn is counted. */
function resample(ascending: Float64Array, count: number, random: { below(n: number): number }): Float64Array {
  const times = new Uint32Array(ascending.length);
  for (let i = 0; i < count; i++) {
    const pick = random.below(ascending.length);
    times[pick] = (times[pick] as number) + 1;
  }
  const out = new Float64Array(count);
  let at = 0;
  for (let i = 0; i < times.length; i++) for (let t = times[i] as number; t > 0; t--) out[at++] = ascending[i] as number;
  return out;
}
