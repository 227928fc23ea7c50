/**
 * Weighted Energy Adversarial Training (Mirza et al. 2024, arXiv 2407.06315): losses weighted by 1 / log(1 + exp |E(clean)|),
 * so that samples whose energy is far from zero, which are learned already, count less. The weight is a constant: no gradient
 * flows through it. With `weatKl` (kl.ts) WEAT_nat weights clean and WEAT_adv adversarial cross-entropy.
 */
import { addCrossEntropyGradient, crossEntropyOf, softplus } from "./per-sample.js";
import { type Term, viewOf } from "./term.js";

/** 1 / log 2 at an energy of 0, falling towards 1/|E|. */
export function energyWeight(energy: number): number {
  return 1 / softplus(Math.abs(energy));
}

function weightedCrossEntropy(viewName: "clean" | "adversarial"): Term {
  return {
    needs: ["clean", viewName],
    apply(views, { labels }, weight) {
      const clean = viewOf(views, "clean");
      const view = viewOf(views, viewName);
      let sum = 0;
      for (let i = 0; i < view.n; i++) {
        const label = labels[i] as number;
        const own = energyWeight(clean.energies[i] as number);
        sum += own * crossEntropyOf(view, i, label);
        addCrossEntropyGradient(view, i, label, (weight * own) / view.total);
      }
      return sum / view.total;
    },
  };
}

export const weatCleanCe = weightedCrossEntropy("clean");
export const weatAdversarialCe = weightedCrossEntropy("adversarial");
