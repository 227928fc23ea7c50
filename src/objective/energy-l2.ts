/**
 * mean E(data)^2 + mean E(generated)^2: holds both distributions near zero, against the drift that ends contrastive training
 * (Du & Mordatch 2019; suggested for JEM by its author, wgrathwohl/JEM issue 4). Moves every energy TOWARDS zero.
 */
import { type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

export const energyL2: Term = {
  needs: ["data", "generated"],
  apply(views, _context, weight) {
    let value = 0;
    for (const view of [viewOf(views, "data"), viewOf(views, "generated")]) {
      for (let i = 0; i < view.n; i++) {
        const energy = view.energies[i] as number;
        value += (energy * energy) / view.total;
        addEnergyGradient(view, i, (2 * weight * energy) / view.total);
      }
    }
    return value;
  },
};
