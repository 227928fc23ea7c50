/**
 * Brings the energies of each clean sample and its adversarial one together, paired: r = E(adversarial) - E(clean).
 *
 *   alignAdversarial           mean Huber_beta(r): r^2 / (2 beta) below beta, |r| - beta/2 above (smooth L1)
 *   alignAdversarialSquared    mean r^2
 *
 * Symmetric on purpose. Which of the two energies is lower depends on the network and the attack (strongly lower on an
 * undefended network, slightly higher on a robust one), so a signed penalty pushes one of them the wrong way. Both move the
 * HIGHER of the two energies down and the LOWER up.
 */
import { invariant } from "../util/error.js";
import { type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

/** A penalty of one residual and its derivative. */
type Penalty = (residual: number, beta: number) => readonly [value: number, slope: number];

function align(penalty: Penalty): Term {
  return {
    needs: ["clean", "adversarial"],
    apply(views, { settings }, weight) {
      const clean = viewOf(views, "clean");
      const adversarial = viewOf(views, "adversarial");
      invariant(clean.n === adversarial.n, "clean and adversarial samples come in pairs");
      let sum = 0;
      for (let i = 0; i < clean.n; i++) {
        const residual = (adversarial.energies[i] as number) - (clean.energies[i] as number);
        const [value, slope] = penalty(residual, settings["align-beta"]);
        sum += value;
        addEnergyGradient(adversarial, i, (weight * slope) / clean.total);
        addEnergyGradient(clean, i, (-weight * slope) / clean.total);
      }
      return sum / clean.total;
    },
  };
}

export const alignAdversarial = align((r, beta) => {
  const size = Math.abs(r);
  return [size < beta ? (size * size) / (2 * beta) : size - beta / 2, Math.max(-1, Math.min(1, r / beta))];
});

export const alignAdversarialSquared = align((r) => [r * r, 2 * r]);
