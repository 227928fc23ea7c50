/**
 * Energies from logits, on the host and in float64 (Grathwohl et al. 2020, "Your classifier is secretly an energy based model"):
 *
 *   E(x)   = -logsumexp_k f_k(x)        low where the model expects data
 *   E(x,y) = -f_y(x)
 */
import { invariant } from "../util/error.js";

/** E(x) of each sample from logits [B,K]. */
export function energies(logits: Float32Array, numClasses: number): Float64Array {
  const numSamples = rows(logits, numClasses);
  const result = new Float64Array(numSamples);
  for (let i = 0; i < numSamples; i++) result[i] = -logSumExp(logits, i * numClasses, numClasses);
  return result;
}

/** E(x,y) of each sample from logits [B,K] and labels [B]. */
export function jointEnergies(logits: Float32Array, labels: ArrayLike<number>, numClasses: number): Float64Array {
  const numSamples = rows(logits, numClasses);
  invariant(labels.length === numSamples, `${labels.length} labels for ${numSamples} samples`);
  const result = new Float64Array(numSamples);
  for (let i = 0; i < numSamples; i++) result[i] = -(logits[i * numClasses + (labels[i] as number)] as number);
  return result;
}

/** log sum exp of `length` values from `from`, by way of their maximum: exact for large values too. */
export function logSumExp(values: Float32Array, from: number, length: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < length; k++) max = Math.max(max, values[from + k] as number);
  if (!Number.isFinite(max)) return max;
  let sum = 0;
  for (let k = 0; k < length; k++) sum += Math.exp((values[from + k] as number) - max);
  return max + Math.log(sum);
}

function rows(logits: Float32Array, numClasses: number): number {
  invariant(logits.length % numClasses === 0, `${logits.length} logits are no rows of ${numClasses}`);
  return logits.length / numClasses;
}
