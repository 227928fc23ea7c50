/**
 * Brings the mean energies of clean and generated samples together: (mean E(generated) - mean E(clean))^2.
 *
 * Chains have no partners among the clean samples, so the means over the GLOBAL batch are aligned; they are summed over all
 * workers before the gradient, which keeps the training the same for any number of workers.
 */
import { invariant } from "../util/error.js";
import { type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

export const alignGenerated: Term = {
  name: "align-generated",
  needs: ["clean", "generated"],
  needsMeans: true,
  apply(views, { meanEnergy }, weight) {
    const clean = viewOf(views, "clean");
    const generated = viewOf(views, "generated");
    invariant(meanEnergy.clean !== undefined && meanEnergy.generated !== undefined, "global mean energies are summed before this term");
    const gap = meanEnergy.generated - meanEnergy.clean;
    for (let i = 0; i < generated.n; i++) addEnergyGradient(generated, i, (2 * weight * gap) / generated.total);
    for (let i = 0; i < clean.n; i++) addEnergyGradient(clean, i, (-2 * weight * gap) / clean.total);
    // Every worker knows the whole value; each counts the share of the clean samples that it has, so that the sum is one value.
    return (gap * gap * clean.n) / clean.total;
  },
};
