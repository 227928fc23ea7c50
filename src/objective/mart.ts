/**
 * MART's boosted cross-entropy of adversarial samples (Wang et al. 2020): -log p_y - log(1.0001 - max_{k != y} p_k), which asks
 * for a margin to the strongest rival too. Its other half, the weighted divergence, is `martKl` (kl.ts).
 */
import { addCrossEntropyGradient, addProbabilityGradient, crossEntropyOf } from "./per-sample.js";
import { type Term, viewOf } from "./term.js";

/** Keeps the logarithm finite where a rival has all the probability; the value of the published code. */
const ROOM = 1.0001;

export const martBce: Term = {
  needs: ["adversarial"],
  apply(views, { labels }, weight) {
    const view = viewOf(views, "adversarial");
    let sum = 0;
    for (let i = 0; i < view.n; i++) {
      const label = labels[i] as number;
      const rival = strongestRival(view.probabilities, i * view.numClasses, view.numClasses, label);
      const left = ROOM - (view.probabilities[i * view.numClasses + rival] as number);
      sum += crossEntropyOf(view, i, label) - Math.log(left);
      addCrossEntropyGradient(view, i, label, weight / view.total);
      addProbabilityGradient(view, i, rival, weight / (left * view.total));
    }
    return sum / view.total;
  },
};

function strongestRival(probabilities: Float64Array, at: number, numClasses: number, label: number): number {
  let best = label === 0 ? 1 : 0;
  for (let k = 0; k < numClasses; k++) {
    if (k !== label && (probabilities[at + k] as number) > (probabilities[at + best] as number)) best = k;
  }
  return best;
}
