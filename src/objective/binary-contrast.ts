/**
 * The generative term of Dual Adversarial Training: binary cross-entropy of "data" against "generated", with -E(x) as its
 * logit. -log sigmoid(-E(data)) - log sigmoid(E(generated)), each a mean.
 *
 * Descending it LOWERS the data's energy and RAISES generated energy like `contrast`, but its gradient by an energy is at
 * most 1 in size and vanishes where the two are told apart, so energies do not run away. At its optimum E = 0 on the support.
 */
import { sigmoid, softplus } from "./per-sample.js";
import { type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

export const binaryContrast: Term = {
  needs: ["data", "generated"],
  apply(views, _context, weight) {
    let value = 0;
    for (const [name, sign] of [
      ["data", 1],
      ["generated", -1],
    ] as const) {
      const view = viewOf(views, name);
      for (let i = 0; i < view.n; i++) {
        const signed = sign * (view.energies[i] as number);
        value += softplus(signed) / view.total;
        addEnergyGradient(view, i, (weight * sign * sigmoid(signed)) / view.total);
      }
    }
    return value;
  },
};
