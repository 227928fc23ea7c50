/**
 * The generative term: mean E(clean) - mean E(generated), whose gradient is that of -log p(x) by contrastive divergence
 * (Hinton 2002; JEM, Grathwohl et al. 2020). Descending it LOWERS clean energy and RAISES generated energy.
 */
import { type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

export const contrast: Term = {
  name: "contrast",
  needs: ["clean", "generated"],
  needsMeans: false,
  apply(views, _context, weight) {
    const clean = viewOf(views, "clean");
    const generated = viewOf(views, "generated");
    let value = 0;
    for (let i = 0; i < clean.n; i++) {
      value += (clean.energies[i] as number) / clean.total;
      addEnergyGradient(clean, i, weight / clean.total);
    }
    for (let i = 0; i < generated.n; i++) {
      value -= (generated.energies[i] as number) / generated.total;
      addEnergyGradient(generated, i, -weight / generated.total);
    }
    return value;
  },
};
