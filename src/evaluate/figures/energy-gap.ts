/**
 * How far the energies of one kind of sample lie from those of clean samples. No single figure says it: means can agree where
 * distributions do not, and an absolute distance shrinks when the whole landscape gets flatter, so the distance is also
 * given in standard deviations of the clean energies.
 *
 * Signs: `signedMean` is positive where the other samples have HIGHER energy (are less likely) than clean ones.
 */
import { invariant } from "../../util/error.js";
import { quantile, sorted } from "../../util/quantile.js";
import { histogram } from "./histogram.js";

export interface EnergyGap {
  readonly numClean: number;
  readonly numOther: number;
  readonly meanClean: number;
  readonly meanOther: number;
  /** Of the clean energies, over n. */
  readonly stdClean: number;
  /** mean E(other) - mean E(clean). */
  readonly signedMean: number;
  /** mean |E(other_i) - E(clean_i)|; null where the samples are not pairs. */
  readonly meanAbsolute: number | null;
  /** Area between the two distribution functions: the mean distance that energy must be moved. */
  readonly wasserstein: number;
  /** The same in standard deviations of the clean energies; null where those do not vary. */
  readonly wassersteinOverStd: number | null;
  readonly overlap: Overlap;
}

/** Shared area of two histograms: 1 when they are the same, 0 when they nowhere meet. Finite samples of one distribution stay a little below 1. */
export interface Overlap {
  readonly coefficient: number;
  readonly numBins: number;
  readonly from: number;
  readonly to: number;
}

/** @param options.paired whether other[i] was made from clean[i]. Energies must be finite. */
export function energyGap(clean: ArrayLike<number>, other: ArrayLike<number>, options: { paired: boolean }): EnergyGap {
  invariant(clean.length > 0 && other.length > 0, "an energy gap needs samples of both kinds");
  invariant(!options.paired || clean.length === other.length, `${clean.length} clean and ${other.length} other samples are no pairs`);
  const meanClean = mean(clean);
  const meanOther = mean(other);
  const stdClean = Math.sqrt(mean(Float64Array.from(clean, (energy) => (energy - meanClean) ** 2)));
  const wasserstein = wasserstein1(clean, other);
  return {
    numClean: clean.length,
    numOther: other.length,
    meanClean,
    meanOther,
    stdClean,
    signedMean: meanOther - meanClean,
    meanAbsolute: options.paired ? mean(Float64Array.from(other, (energy, i) => Math.abs(energy - (clean[i] as number)))) : null,
    wasserstein,
    wassersteinOverStd: stdClean > 0 ? wasserstein / stdClean : null,
    overlap: overlap(clean, other),
  };
}

/** W1 = integral of |F_a(t) - F_b(t)| dt, exact for samples of any two sizes. */
export function wasserstein1(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const x = sorted(a);
  const y = sorted(b);
  let area = 0;
  let i = 0;
  let j = 0;
  let at = Math.min(x[0] as number, y[0] as number);
  while (i < x.length || j < y.length) {
    const next = Math.min(x[i] ?? Number.POSITIVE_INFINITY, y[j] ?? Number.POSITIVE_INFINITY);
    area += Math.abs(i / x.length - j / y.length) * (next - at);
    at = next;
    while (x[i] === next) i++;
    while (y[j] === next) j++;
  }
  return area;
}

const MIN_BINS = 10;
const MAX_BINS = 1000;

/** Bins are as fine as the narrower distribution asks for: Freedman & Diaconis 1981, width 2 IQR n^(-1/3). */
export function overlap(a: ArrayLike<number>, b: ArrayLike<number>): Overlap {
  const x = sorted(a);
  const y = sorted(b);
  const from = Math.min(x[0] as number, y[0] as number);
  const to = Math.max(x[x.length - 1] as number, y[y.length - 1] as number);
  if (from === to) return { coefficient: 1, numBins: 1, from, to };
  const width = Math.min(...[x, y].map((v) => (2 * (quantile(v, 0.75) - quantile(v, 0.25))) / Math.cbrt(v.length)));
  const numBins = Math.min(MAX_BINS, Math.max(MIN_BINS, width > 0 ? Math.ceil((to - from) / width) : MAX_BINS));
  const p = histogram(x, { from, to, numBins }).counts;
  const q = histogram(y, { from, to, numBins }).counts;
  const coefficient = p.reduce((sum, count, bin) => sum + Math.min(count / x.length, (q[bin] as number) / y.length), 0);
  return { coefficient, numBins, from, to };
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum / values.length;
}
