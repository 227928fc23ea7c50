/**
 * For ablation only: the two SIGNED forms of aligning adversarial and clean energies. Neither stops where the energies meet.
 *
 *   signedGapDown    mean E(adversarial) - mean E(clean)    LOWERS adversarial and RAISES clean energy: h2 as EB-JDAT's paper
 *                                                           derives it (arXiv 2505.19459)
 *   signedGapUp      mean E(clean) - mean E(adversarial)    the opposite: what EB-JDAT's released code minimises, which widens
 *                                                           a positive gap
 *
 * Means need no pairs, so the slices of the two views may differ.
 */
import { type Term, viewOf } from "./term.js";
import { addEnergyGradient } from "./view.js";

function signedGap(sign: 1 | -1): Term {
  return {
    needs: ["clean", "adversarial"],
    apply(views, _context, weight) {
      let value = 0;
      for (const [name, side] of [
        ["adversarial", sign],
        ["clean", -sign],
      ] as const) {
        const view = viewOf(views, name);
        for (let i = 0; i < view.n; i++) {
          value += (side * (view.energies[i] as number)) / view.total;
          addEnergyGradient(view, i, (weight * side) / view.total);
        }
      }
      return value;
    },
  };
}

export const signedGapDown = signedGap(1);
export const signedGapUp = signedGap(-1);
