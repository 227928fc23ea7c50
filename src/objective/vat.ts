/**
 * Virtual adversarial training (Miyato et al. 2018): KL(p(clean) || p(clean + r)), r the direction in which the outputs change
 * most, found without labels (`../train/views/virtual-adversarial.ts`). p(clean) is the target and a constant. Flattens the outputs around each sample.
 */
import { addKlGradientToSecond, klOf } from "./per-sample.js";
import { type Term, viewOf } from "./term.js";

export const vat: Term = {
  needs: ["clean", "virtual-adversarial"],
  apply(views, _context, weight) {
    const clean = viewOf(views, "clean");
    const moved = viewOf(views, "virtual-adversarial");
    let sum = 0;
    for (let i = 0; i < clean.n; i++) {
      sum += klOf(clean, moved, i);
      addKlGradientToSecond(clean, moved, i, weight / clean.total);
    }
    return sum / clean.total;
  },
};
