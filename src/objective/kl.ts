/**
 * Output change within the ball as a divergence, KL(p(clean) || p(adversarial)), weighted sample by sample.
 *
 *   tradesKl    weight 1 (TRADES, Zhang et al. 2019; there beta 6, with cross-entropy of the clean samples beside it)
 *   martKl      1 - p_y(clean), through which the gradient flows too (MART, Wang et al. 2020; beta 5)
 *   weatKl      1 / log(1 + exp |E(clean)|), a constant (WEAT, Mirza et al. 2024, arXiv 2407.06315; beta 7 with weatAdversarialCe,
 *               6 with weatCleanCe)
 *
 * The gradient flows into both distributions. All LOWER the divergence.
 */
import { addKlGradientToFirst, addKlGradientToSecond, addProbabilityGradient, klOf } from "./per-sample.js";
import { type Term, viewOf } from "./term.js";
import type { View } from "./view.js";
import { energyWeight } from "./weat.js";

/** The weight of a sample, and the slope of the weight by p_y(clean). */
type SampleWeight = (clean: View, i: number, label: number) => readonly [weight: number, slopeByOwn: number];

function klTerm(sampleWeight: SampleWeight): Term {
  return {
    needs: ["clean", "adversarial"],
    apply(views, { labels }, weight) {
      const clean = viewOf(views, "clean");
      const adversarial = viewOf(views, "adversarial");
      let sum = 0;
      for (let i = 0; i < clean.n; i++) {
        const label = labels[i] as number;
        const [own, slopeByOwn] = sampleWeight(clean, i, label);
        const kl = klOf(clean, adversarial, i);
        sum += own * kl;
        const slope = (weight * own) / clean.total;
        addKlGradientToSecond(clean, adversarial, i, slope);
        addKlGradientToFirst(clean, adversarial, i, kl, slope);
        if (slopeByOwn !== 0) addProbabilityGradient(clean, i, label, (weight * kl * slopeByOwn) / clean.total);
      }
      return sum / clean.total;
    },
  };
}

export const tradesKl = klTerm(() => [1, 0]);
export const martKl = klTerm((clean, i, label) => [1 - (clean.probabilities[i * clean.numClasses + label] as number), -1]);
export const weatKl = klTerm((clean, i) => [energyWeight(clean.energies[i] as number), 0]);
