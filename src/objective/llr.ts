/**
 * Local linearity regularisation (Qin et al. 2019), at the neighbour x + d of the ball where the loss L is least linear:
 *
 *   llr            mean |L(x+d) - L(x) - D|        the departure from linearity; there weight 4
 *   llrGradient    mean |D|                        the size of the linear part; there weight 3
 *
 * D = d . grad L(x), which needs no double backpropagation here: it is the difference of two passes,
 * D = |d| (L(x + s u) - L(x - s u)) / (2 s) + O(s^2), u = d/|d|, s = `objective.difference-step`.
 */
import { addCrossEntropyGradient, crossEntropyOf } from "./per-sample.js";
import { constantOf, type Term, viewOf } from "./term.js";
import type { Views } from "./view.js";

/** D of sample i, and what adds its gradient. `scale` is |d| / (2 s). */
function directional(views: Views, i: number, label: number): { value: number; addGradient(slope: number): void } {
  const ahead = viewOf(views, "llr-ahead");
  const behind = viewOf(views, "llr-behind");
  const scale = constantOf(ahead, "scale")[i] as number;
  return {
    value: scale * (crossEntropyOf(ahead, i, label) - crossEntropyOf(behind, i, label)),
    addGradient(slope) {
      addCrossEntropyGradient(ahead, i, label, slope * scale);
      addCrossEntropyGradient(behind, i, label, -slope * scale);
    },
  };
}

export const llr: Term = {
  needs: ["clean", "llr", "llr-ahead", "llr-behind"],
  apply(views, { labels }, weight) {
    const clean = viewOf(views, "clean");
    const moved = viewOf(views, "llr");
    let sum = 0;
    for (let i = 0; i < clean.n; i++) {
      const label = labels[i] as number;
      const linear = directional(views, i, label);
      const departure = crossEntropyOf(moved, i, label) - crossEntropyOf(clean, i, label) - linear.value;
      sum += Math.abs(departure);
      const slope = (weight * Math.sign(departure)) / clean.total;
      addCrossEntropyGradient(moved, i, label, slope);
      addCrossEntropyGradient(clean, i, label, -slope);
      linear.addGradient(-slope);
    }
    return sum / clean.total;
  },
};

export const llrGradient: Term = {
  needs: ["llr-ahead", "llr-behind"],
  apply(views, { labels }, weight) {
    const { n, total } = viewOf(views, "llr-ahead");
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const linear = directional(views, i, labels[i] as number);
      sum += Math.abs(linear.value);
      linear.addGradient((weight * Math.sign(linear.value)) / total);
    }
    return sum / total;
  },
};
