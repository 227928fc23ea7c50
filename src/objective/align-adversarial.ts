/**
 * Brings the energies of each clean sample and its adversarial one together: mean Huber_beta(E(x_adv) - E(x)), paired.
 *
 * Symmetric on purpose. Which of the two energies is lower depends on the network and the attack (strongly lower on an
 * undefended network, slightly higher on a robust one), so a signed penalty pushes one of them the wrong way. Huber as in
 * smooth L1: r^2 / (2 beta) below beta, |r| - beta/2 above. Moves the HIGHER of the two energies down and the LOWER up.
 */
import { invariant } from "../util/error.js";
import { type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

export const alignAdversarial: Term = {
  needs: ["clean", "adversarial"],
  apply(views, { settings }, weight) {
    const beta = settings["align-beta"];
    const clean = viewOf(views, "clean");
    const adversarial = viewOf(views, "adversarial");
    invariant(clean.n === adversarial.n, "clean and adversarial samples come in pairs");
    let value = 0;
    for (let i = 0; i < clean.n; i++) {
      const residual = (adversarial.energies[i] as number) - (clean.energies[i] as number);
      const size = Math.abs(residual);
      value += (size < beta ? (size * size) / (2 * beta) : size - beta / 2) / clean.total;
      const slope = (weight * Math.max(-1, Math.min(1, residual / beta))) / clean.total;
      addEnergyGradient(adversarial, i, slope);
      addEnergyGradient(clean, i, -slope);
    }
    return value;
  },
};
