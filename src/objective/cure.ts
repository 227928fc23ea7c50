/**
 * Curvature regularisation (CURE, Moosavi-Dezfooli et al. 2019): mean |grad L(x+z) - grad L(x)|_2, z along the sign of grad L(x).
 *
 * With n the difference's own direction, a constant, its length is n . grad L(x+z) - n . grad L(x), and each of the two is a
 * difference of passes s ahead and s behind along n, to O(s^2). No double backpropagation.
 */
import { addCrossEntropyGradient, crossEntropyOf } from "./per-sample.js";
import { constantOf, type Term, viewOf } from "./term.js";

const SIDES = [
  ["cure-far-ahead", 1],
  ["cure-far-behind", -1],
  ["cure-near-ahead", -1],
  ["cure-near-behind", 1],
] as const;

export const cure: Term = {
  needs: SIDES.map(([name]) => name),
  apply(views, { labels }, weight) {
    const scales = constantOf(viewOf(views, "cure-far-ahead"), "scale");
    let sum = 0;
    for (const [name, sign] of SIDES) {
      const view = viewOf(views, name);
      for (let i = 0; i < view.n; i++) {
        const label = labels[i] as number;
        const slope = (sign * (scales[i] as number)) / view.total;
        sum += slope * crossEntropyOf(view, i, label);
        addCrossEntropyGradient(view, i, label, weight * slope);
      }
    }
    return sum;
  },
};
