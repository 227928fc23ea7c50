/**
 * Fréchet distance between two sets of feature vectors, each taken as a Gaussian (Dowson & Landau 1982; Heusel et al. 2017):
 *
 *   d^2 = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr (S1 S2)^(1/2)
 *
 * With S1 = F F^T the eigenvalues of S1 S2 that are not zero are those of the symmetric F^T S2 F, so the trace of the root is the sum of
 * their roots: no square root of an unsymmetric matrix, no imaginary parts to drop. All in float64; covariances over n - 1.
 *
 * It is called FID only where the features are Inception's; this file does not know whose they are.
 */
import { IsoergError, invariant } from "../../util/error.js";
import { pivotedCholesky, symmetricEigenvalues } from "./symmetric.js";

/** Feature vectors, [numSamples, numFeatures] row-major. */
export interface Features {
  readonly numSamples: number;
  readonly numFeatures: number;
  readonly values: Float32Array | Float64Array;
}

export interface Moments {
  readonly numSamples: number;
  /** [d] */
  readonly mean: Float64Array;
  /** [d, d], over n - 1. */
  readonly covariance: Float64Array;
}

/** Symmetric in its arguments; 0 for equal moments. @throws IsoergError DATA for fewer than two samples or features that are not numbers. */
export function frechetDistance(a: Features, b: Features): number {
  invariant(a.numFeatures === b.numFeatures, `features of ${a.numFeatures} and ${b.numFeatures} numbers are not comparable`);
  return frechetOfMoments(momentsOf(a), momentsOf(b));
}

/** Of moments, so that those of a reference can be computed once. */
export function frechetOfMoments(a: Moments, b: Moments): number {
  const size = a.mean.length;
  invariant(b.mean.length === size, `moments of ${size} and ${b.mean.length} features`);
  let distance = 0;
  for (let i = 0; i < size; i++) {
    distance += ((a.mean[i] as number) - (b.mean[i] as number)) ** 2;
    distance += (a.covariance[i * size + i] as number) + (b.covariance[i * size + i] as number);
  }
  // Rounding may leave a distance of equal moments a hair below 0.
  return Math.max(0, distance - 2 * traceOfRoot(a.covariance, b.covariance, size));
}

/** Mean and covariance. @throws IsoergError DATA */
export function momentsOf({ numSamples, numFeatures: size, values }: Features): Moments {
  invariant(values.length === numSamples * size, `${values.length} values for ${numSamples} samples of ${size} features`);
  if (numSamples < 2) throw new IsoergError("DATA", `${numSamples} samples have no covariance`, { hint: "Take at least two." });
  const mean = new Float64Array(size);
  for (let i = 0; i < numSamples; i++) for (let f = 0; f < size; f++) mean[f] = (mean[f] as number) + (values[i * size + f] as number);
  for (let f = 0; f < size; f++) {
    mean[f] = (mean[f] as number) / numSamples;
    if (!Number.isFinite(mean[f])) throw new IsoergError("DATA", `feature ${f} is not a finite number in every sample`);
  }
  // A feature's values lie together, so that each entry is one dot product over contiguous memory.
  const centred = new Float64Array(size * numSamples);
  for (let i = 0; i < numSamples; i++) {
    for (let f = 0; f < size; f++) centred[f * numSamples + i] = (values[i * size + f] as number) - (mean[f] as number);
  }
  const covariance = new Float64Array(size * size);
  for (let f = 0; f < size; f++) {
    const one = centred.subarray(f * numSamples, (f + 1) * numSamples);
    for (let g = 0; g <= f; g++) {
      const other = centred.subarray(g * numSamples, (g + 1) * numSamples);
      let sum = 0;
      for (let i = 0; i < numSamples; i++) sum += (one[i] as number) * (other[i] as number);
      covariance[f * size + g] = sum / (numSamples - 1);
      covariance[g * size + f] = covariance[f * size + g] as number;
    }
  }
  return { numSamples, mean, covariance };
}

/** tr (S1 S2)^(1/2) of two positive semi-definite matrices [size, size]. */
function traceOfRoot(s1: Float64Array, s2: Float64Array, size: number): number {
  const { values: f, rank } = pivotedCholesky(s1, size);
  if (rank === 0) return 0;
  const product = multiply(s2, f, size, size, rank); // S2 F
  const inner = new Float64Array(rank * rank); // F^T S2 F
  for (let i = 0; i < size; i++) {
    for (let r = 0; r < rank; r++) {
      const left = f[i * rank + r] as number;
      if (left === 0) continue;
      for (let c = 0; c < rank; c++) inner[r * rank + c] = (inner[r * rank + c] as number) + left * (product[i * rank + c] as number);
    }
  }
  let trace = 0;
  for (const eigenvalue of symmetricEigenvalues(inner, rank)) trace += Math.sqrt(Math.max(0, eigenvalue));
  return trace;
}

function multiply(a: Float64Array, b: Float64Array, rows: number, inner: number, columns: number): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const row = out.subarray(i * columns, (i + 1) * columns);
    for (let k = 0; k < inner; k++) {
      const factor = a[i * inner + k] as number;
      if (factor === 0) continue;
      const other = b.subarray(k * columns, (k + 1) * columns);
      for (let j = 0; j < columns; j++) row[j] = (row[j] as number) + factor * (other[j] as number);
    }
  }
  return out;
}
