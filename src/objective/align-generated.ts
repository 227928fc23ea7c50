/**
 * Brings the energies of the data and of generated samples together. Chains have no partners among the samples, so statistics
 * over the GLOBAL batch are aligned; they are summed over all workers before the gradient, which keeps the training the same
 * for any number of workers.
 *
 *   alignGenerated           (mean E(generated) - mean E(data))^2
 *   alignGeneratedMoments    the same + (std E(generated) - std E(data))^2: where they lie, and how far they spread
 */
import { energyShare, type Term, viewOf } from "./term.js";
import { addEnergyGradient, type View } from "./view.js";

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
    return share(gap * gap, data);
  },
};

/** Keeps the deviation's gradient finite where all energies are equal, in units of energy squared. */
const TINY = 1e-12;

export const alignGeneratedMoments: Term = {
  needs: ["data", "generated"],
  shares: (views) => [...momentShares(viewOf(views, "data")), ...momentShares(viewOf(views, "generated"))],
  apply(views, { sums }, weight) {
    const data = viewOf(views, "data");
    const generated = viewOf(views, "generated");
    const [meanData, squareData, meanGenerated, squareGenerated] = sums as unknown as [number, number, number, number];
    const stdData = Math.sqrt(Math.max(0, squareData - meanData ** 2) + TINY);
    const stdGenerated = Math.sqrt(Math.max(0, squareGenerated - meanGenerated ** 2) + TINY);
    const gap = meanGenerated - meanData;
    const spread = stdGenerated - stdData;
    // d std / d e_i = (e_i - mean) / (n std)
    for (const [view, sign, mean, std] of [
      [generated, 1, meanGenerated, stdGenerated],
      [data, -1, meanData, stdData],
    ] as const) {
      for (let i = 0; i < view.n; i++) {
        const towards = gap + (spread * ((view.energies[i] as number) - mean)) / std;
        addEnergyGradient(view, i, (2 * weight * sign * towards) / view.total);
      }
    }
    return share(gap * gap + spread * spread, data);
  },
};

function momentShares(view: View): readonly [mean: number, square: number] {
  let square = 0;
  for (const energy of view.energies) square += energy * energy;
  return [energyShare(view), square / view.total];
}

/** Every worker knows the whole value; each counts the share of the samples that it has, so that the sum is one value. */
function share(value: number, view: View): number {
  return (value * view.n) / view.total;
}
