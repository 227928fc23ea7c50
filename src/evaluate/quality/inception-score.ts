/**
 * The Inception score's formula for any classifier's probabilities (Salimans et al. 2016): exp(mean_x KL(p(y|x) || p(y))), over
 * consecutive splits, with p(y) the mean within a split. 1 where all samples look alike, at most the number of classes.
 *
 * It is called IS only where the classifier is Inception; of another one it is that classifier's score.
 */
import { invariant } from "../../util/error.js";

export interface ClassifierScore {
  readonly numSamples: number;
  readonly numSplits: number;
  /** Over the splits. */
  readonly mean: number;
  /** Over the splits, population. */
  readonly std: number;
}

/** @param logits [numSamples * numClasses]. Splits are floor(i n / splits), as in the published code. */
export function classifierScore(logits: ArrayLike<number>, numClasses: number, options: { splits?: number } = {}): ClassifierScore {
  const numSamples = logits.length / numClasses;
  invariant(Number.isInteger(numSamples) && numSamples >= 1, `${logits.length} logits are no rows of ${numClasses}`);
  const numSplits = Math.min(options.splits ?? 10, numSamples);
  const probabilities = softmaxRows(logits, numClasses);
  const scores: number[] = [];
  for (let split = 0; split < numSplits; split++) {
    const from = Math.floor((split * numSamples) / numSplits);
    const to = Math.floor(((split + 1) * numSamples) / numSplits);
    const marginal = new Float64Array(numClasses);
    for (let i = from; i < to; i++) {
      for (let k = 0; k < numClasses; k++) {
        marginal[k] = (marginal[k] as number) + (probabilities[i * numClasses + k] as number) / (to - from);
      }
    }
    let divergence = 0;
    for (let i = from; i < to; i++) {
      for (let k = 0; k < numClasses; k++) {
        const p = probabilities[i * numClasses + k] as number;
        if (p > 0) divergence += p * Math.log(p / (marginal[k] as number));
      }
    }
    scores.push(Math.exp(divergence / (to - from)));
  }
  const mean = scores.reduce((sum, score) => sum + score, 0) / numSplits;
  const std = Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / numSplits);
  return { numSamples, numSplits, mean, std };
}

/** Rows of softmax in float64. */
export function softmaxRows(logits: ArrayLike<number>, numClasses: number): Float64Array {
  const out = new Float64Array(logits.length);
  for (let at = 0; at < logits.length; at += numClasses) {
    let max = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < numClasses; k++) max = Math.max(max, logits[at + k] as number);
    let sum = 0;
    for (let k = 0; k < numClasses; k++) sum += out[at + k] = Math.exp((logits[at + k] as number) - max);
    for (let k = 0; k < numClasses; k++) out[at + k] = (out[at + k] as number) / sum;
  }
  return out;
}
