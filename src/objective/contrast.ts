/**
 * The generative term: mean E(data) - mean E(generated), whose gradient is that of -log p(x) by contrastive divergence
 * (Hinton 2002; JEM, Grathwohl et al. 2020). Descending it LOWERS the data's energy and RAISES generated energy.
 */
import { type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

export const contrast: Term = {
  needs: ["data", "generated"],
  apply(views, _context, weight) {
    const data = viewOf(views, "data");
    const generated = viewOf(views, "generated");
    let value = 0;
    for (let i = 0; i < data.n; i++) {
      value += (data.energies[i] as number) / data.total;
      addEnergyGradient(data, i, weight / data.total);
    }
    for (let i = 0; i < generated.n; i++) {
      value -= (generated.energies[i] as number) / generated.total;
      addEnergyGradient(generated, i, -weight / generated.total);
    }
    return value;
  },
};
