/** The registry of terms. To add one: one file (or one more export of a file), one line here and its weight in the schema. */
import type { ObjectiveConfig } from "../config/schema.js";
import { alignAdversarial, alignAdversarialSquared } from "./align-adversarial.js";
import { alignGenerated, alignGeneratedMoments } from "./align-generated.js";
import { signedGapDown, signedGapUp } from "./align-signed.js";
import { binaryContrast } from "./binary-contrast.js";
import { contrast } from "./contrast.js";
import { adversarialCrossEntropy, cleanCrossEntropy } from "./cross-entropy.js";
import { cure } from "./cure.js";
import { elle, elleEnergy } from "./elle.js";
import { energyL2, energyL2Batch } from "./energy-l2.js";
import { gradAlign } from "./grad-align.js";
import { martKl, tradesKl, weatKl } from "./kl.js";
import { llr, llrGradient } from "./llr.js";
import { cleanLogitPairing, logitPairing, logitSqueezing } from "./logit-pairing.js";
import { martBce } from "./mart.js";
import type { Term } from "./term.js";
import { vat } from "./vat.js";
import { weatAdversarialCe, weatCleanCe } from "./weat.js";

/** Settings of the objective that are no term's weight. */
type Shared = "generative-on" | "label-smoothing" | "align-beta" | "difference-step";

export type TermName = Exclude<keyof ObjectiveConfig, Shared>;

export const TERMS: Readonly<Record<TermName, Term>> = {
  "clean-ce": cleanCrossEntropy,
  "adversarial-ce": adversarialCrossEntropy,
  contrast,
  "binary-contrast": binaryContrast,
  "energy-l2": energyL2,
  "energy-l2-batch": energyL2Batch,
  "align-adversarial": alignAdversarial,
  "align-adversarial-squared": alignAdversarialSquared,
  "align-generated": alignGenerated,
  "align-generated-moments": alignGeneratedMoments,
  "signed-gap-down": signedGapDown,
  "signed-gap-up": signedGapUp,
  "trades-kl": tradesKl,
  "mart-bce": martBce,
  "mart-kl": martKl,
  "weat-clean-ce": weatCleanCe,
  "weat-adversarial-ce": weatAdversarialCe,
  "weat-kl": weatKl,
  "logit-pairing": logitPairing,
  "clean-logit-pairing": cleanLogitPairing,
  "logit-squeezing": logitSqueezing,
  vat,
  llr,
  "llr-gradient": llrGradient,
  elle,
  "elle-energy": elleEnergy,
  "grad-align": gradAlign,
  cure,
};

export const TERM_NAMES = Object.keys(TERMS) as readonly TermName[];
