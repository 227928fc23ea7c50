/** Losses of one sample from its logits, and their gradients, as terms put them together. log p_k = f_k + E. */
import type { View } from "./view.js";

/** CE(x, y) = logsumexp f - f_y */
export function crossEntropyOf({ logits, energies, numClasses }: View, i: number, label: number): number {
  return -(energies[i] as number) - (logits[i * numClasses + label] as number);
}

/** Adds `slope` times dCE/df_k = p_k - [k = y]. */
export function addCrossEntropyGradient({ probabilities, gradient, numClasses }: View, i: number, label: number, slope: number): void {
  const at = i * numClasses;
  for (let k = 0; k < numClasses; k++) {
    (gradient[at + k] as number) += slope * ((probabilities[at + k] as number) - (k === label ? 1 : 0));
  }
}

/** KL(p || q) = sum_k p_k (log p_k - log q_k) of sample i of two views. */
export function klOf(p: View, q: View, i: number): number {
  let sum = 0;
  for (let k = 0; k < p.numClasses; k++) sum += (p.probabilities[i * p.numClasses + k] as number) * logRatio(p, q, i, k);
  return sum;
}

/** Adds `slope` times the gradient of KL(p || q) by q's logits: dKL/dg_k = q_k - p_k. */
export function addKlGradientToSecond(p: View, q: View, i: number, slope: number): void {
  const at = i * p.numClasses;
  for (let k = 0; k < p.numClasses; k++) {
    (q.gradient[at + k] as number) += slope * ((q.probabilities[at + k] as number) - (p.probabilities[at + k] as number));
  }
}

/** Adds `slope` times the gradient of KL(p || q) = `kl` by p's logits: dKL/df_k = p_k (log p_k - log q_k - KL). */
export function addKlGradientToFirst(p: View, q: View, i: number, kl: number, slope: number): void {
  const at = i * p.numClasses;
  for (let k = 0; k < p.numClasses; k++) {
    (p.gradient[at + k] as number) += slope * (p.probabilities[at + k] as number) * (logRatio(p, q, i, k) - kl);
  }
}

/** log p_k - log q_k */
function logRatio(p: View, q: View, i: number, k: number): number {
  const at = i * p.numClasses + k;
  return (p.logits[at] as number) + (p.energies[i] as number) - (q.logits[at] as number) - (q.energies[i] as number);
}

/** Adds `slope` times the gradient of p_y: dp_y/df_k = p_y ([k = y] - p_k). */
export function addProbabilityGradient({ probabilities, gradient, numClasses }: View, i: number, label: number, slope: number): void {
  const at = i * numClasses;
  const own = probabilities[at + label] as number;
  for (let k = 0; k < numClasses; k++) {
    (gradient[at + k] as number) += slope * own * ((k === label ? 1 : 0) - (probabilities[at + k] as number));
  }
}

/** log(1 + e^x), for large |x| too. */
export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

export function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}
