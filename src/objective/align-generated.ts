/**
 * Brings the mean energies of the data and of generated samples together: (mean E(generated) - mean E(data))^2.
 *
 * Chains have no partners among the samples, so the means over the GLOBAL batch are aligned; they are summed over all
 * workers before the gradient, which keeps the training the same for any number of workers.
 */
import { energyShare, type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

export const alignGenerated: Term = {
  needs: ["data", "generated"],
  shares: (views) => [energyShare(viewOf(views, "data")), energyShare(viewOf(views, "generated"))],
  apply(views, { sums }, weight) {
    const data = viewOf(views, "data");
    const generated = viewOf(views, "generated");
    const [meanData, meanGenerated] = sums as unknown as [number, number];
    const gap = meanGenerated - meanData;
    for (let i = 0; i < generated.n; i++) addEnergyGradient(generated, i, (2 * weight * gap) / generated.total);
    for (let i = 0; i < data.n; i++) addEnergyGradient(data, i, (-2 * weight * gap) / data.total);
    // Every worker knows the whole value; each counts the share of the samples that it has, so that the sum is one value.
    return (gap * gap * data.n) / data.total;
  },
};
