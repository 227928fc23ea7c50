/**
 * Cross-entropy of the labels, of clean or of adversarial samples (Madry et al. 2018), with label smoothing.
 *
 * CE = sum_k q_k (logsumexp f - f_k), q = (1 - s) onehot(y) + s/K; dCE/df_k = p_k - q_k. Lowers E(x,y) relative to E(x).
 */
import { type Term, viewOf } from "./term.js";
import type { ViewName } from "./view.js";

function crossEntropy(viewName: ViewName): Term {
  return {
    needs: [viewName],
    apply(views, { labels, settings }, weight) {
      const labelSmoothing = settings["label-smoothing"];
      const { n, total, numClasses, logits, probabilities, energies, gradient } = viewOf(views, viewName);
      const spread = labelSmoothing / numClasses;
      let value = 0;
      for (let i = 0; i < n; i++) {
        for (let k = 0; k < numClasses; k++) {
          const at = i * numClasses + k;
          const q = (k === labels[i] ? 1 - labelSmoothing : 0) + spread;
          if (q > 0) value += q * (-(energies[i] as number) - (logits[at] as number));
          (gradient[at] as number) += (weight * ((probabilities[at] as number) - q)) / total;
        }
      }
      return value / total;
    },
  };
}

export const cleanCrossEntropy = crossEntropy("clean");
export const adversarialCrossEntropy = crossEntropy("adversarial");
