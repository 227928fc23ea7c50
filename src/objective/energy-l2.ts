/**
 * Holds energies near zero, against the drift that ends contrastive training (Du & Mordatch 2019; suggested for JEM by its
 * author, wgrathwohl/JEM issue 4).
 *
 *   energyL2         mean E(data)^2 +  mean E(generated)^2      SADA-JEM's l2_coeff; moves every energy TOWARDS zero
 *   energyL2Batch    mean E(data)^2 + (mean E(generated))^2     M-EBM (sndnyang/mebm, there with factor 1/2): of the chains
 *                                                               only the mean moves towards zero
 */
import { energyShare, type Term, viewOf } from "./term.js";
import { addEnergyGradient, type View } from "./view.js";

export const energyL2: Term = {
  needs: ["data", "generated"],
  apply: (views, _context, weight) => squares(viewOf(views, "data"), weight) + squares(viewOf(views, "generated"), weight),
};

export const energyL2Batch: Term = {
  needs: ["data", "generated"],
  shares: (views) => [energyShare(viewOf(views, "generated"))],
  apply(views, { sums }, weight) {
    const generated = viewOf(views, "generated");
    const [mean] = sums as unknown as [number];
    for (let i = 0; i < generated.n; i++) addEnergyGradient(generated, i, (2 * weight * mean) / generated.total);
    return squares(viewOf(views, "data"), weight) + (mean * mean * generated.n) / generated.total;
  },
};

function squares(view: View, weight: number): number {
  let value = 0;
  for (let i = 0; i < view.n; i++) {
    const energy = view.energies[i] as number;
    value += (energy * energy) / view.total;
    addEnergyGradient(view, i, (2 * weight * energy) / view.total);
  }
  return value;
}
