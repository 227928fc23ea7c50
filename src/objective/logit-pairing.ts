/**
 * Logit pairing and squeezing (Kannan, Kurakin & Goodfellow 2018). Historically broken by stronger attacks: for ablation.
 *
 *   logitPairing         mean |f(clean) - f(adversarial)|^2, paired
 *   cleanLogitPairing    mean |f(x) - f(x')|^2 over all pairs of clean samples of the GLOBAL batch: twice the logits' variance,
 *                        2 (mean |f|^2 - |mean f|^2), where the paper draws pairs at random
 *   logitSqueezing       mean |f(clean)|^2
 */
import { type Term, viewOf } from "./term.js";

export const logitPairing: Term = {
  needs: ["clean", "adversarial"],
  apply(views, _context, weight) {
    const clean = viewOf(views, "clean");
    const adversarial = viewOf(views, "adversarial");
    let sum = 0;
    for (let j = 0; j < clean.logits.length; j++) {
      const difference = (clean.logits[j] as number) - (adversarial.logits[j] as number);
      const slope = (2 * weight * difference) / clean.total;
      sum += difference * difference;
      (clean.gradient[j] as number) += slope;
      (adversarial.gradient[j] as number) -= slope;
    }
    return sum / clean.total;
  },
};

export const cleanLogitPairing: Term = {
  needs: ["clean"],
  /** The mean logit vector [K]. */
  shares(views) {
    const { logits, numClasses, total } = viewOf(views, "clean");
    const mean = new Array<number>(numClasses).fill(0);
    for (let j = 0; j < logits.length; j++) (mean[j % numClasses] as number) += (logits[j] as number) / total;
    return mean;
  },
  apply(views, { sums: mean }, weight) {
    const { logits, gradient, numClasses, total } = viewOf(views, "clean");
    let sum = 0;
    for (let j = 0; j < logits.length; j++) {
      const difference = (logits[j] as number) - (mean[j % numClasses] as number);
      sum += difference * difference;
      (gradient[j] as number) += (4 * weight * difference) / total;
    }
    return (2 * sum) / total;
  },
};

export const logitSqueezing: Term = {
  needs: ["clean"],
  apply(views, _context, weight) {
    const { logits, gradient, total } = viewOf(views, "clean");
    let sum = 0;
    for (let j = 0; j < logits.length; j++) {
      const logit = logits[j] as number;
      sum += logit * logit;
      (gradient[j] as number) += (2 * weight * logit) / total;
    }
    return sum / total;
  },
};
