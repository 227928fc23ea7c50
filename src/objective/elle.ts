/**
 * Local linearity without double backpropagation (ELLE, Abad Rocamora et al. 2024): between two random neighbours x_a and x_b
 * of a sample, at x_c = (1-t) x_a + t x_b,
 *
 *   elle          mean (L(x_c) - (1-t) L(x_a) - t L(x_b))^2,  L the cross-entropy
 *   elleEnergy    the same with E in place of L: the energy is made locally linear
 *
 * Both are 0 where the function is linear between the neighbours, and keep single-step attacks from overfitting.
 */
import { addCrossEntropyGradient, crossEntropyOf } from "./per-sample.js";
import { constantOf, type Term, viewOf } from "./term.js";
import { addEnergyGradient, type View } from "./view.js";

interface Measured {
  value(view: View, i: number, label: number): number;
  addGradient(view: View, i: number, label: number, slope: number): void;
}

function linearity({ value, addGradient }: Measured): Term {
  return {
    needs: ["neighbour-a", "neighbour-b", "between-neighbours"],
    apply(views, { labels }, weight) {
      const a = viewOf(views, "neighbour-a");
      const b = viewOf(views, "neighbour-b");
      const between = viewOf(views, "between-neighbours");
      const shares = constantOf(between, "share");
      let sum = 0;
      for (let i = 0; i < between.n; i++) {
        const label = labels[i] as number;
        const t = shares[i] as number;
        const residual = value(between, i, label) - (1 - t) * value(a, i, label) - t * value(b, i, label);
        sum += residual * residual;
        const slope = (2 * weight * residual) / between.total;
        addGradient(between, i, label, slope);
        addGradient(a, i, label, -(1 - t) * slope);
        addGradient(b, i, label, -t * slope);
      }
      return sum / between.total;
    },
  };
}

export const elle = linearity({ value: crossEntropyOf, addGradient: addCrossEntropyGradient });
export const elleEnergy = linearity({
  value: (view, i) => view.energies[i] as number,
  addGradient: (view, i, _label, slope) => addEnergyGradient(view, i, slope),
});
