/** `objective`: the weight of each term, and what the terms share. Sources and formulas stand with the terms in src/objective/. */
import { z } from "zod";
import { pixels } from "./pixels.js";
import { weight, weightWith } from "./weight.js";

/** Terms that read derivatives by the input as differences of two passes: the update must be in float32. */
export const DIFFERENCE_TERMS = ["llr", "llr-gradient", "grad-align", "cure"] as const;

const off = weight.prefault(0);

export const objectiveSchema = z
  .strictObject({
    "clean-ce": off.describe("cross-entropy of clean samples"),
    "adversarial-ce": off.describe("cross-entropy of adversarial samples"),
    contrast: off.describe("mean E(data) - mean E(generated): contrastive divergence"),
    "binary-contrast": off.describe("-log sigmoid(-E(data)) - log sigmoid(E(generated)): DAT's bounded form of the contrast"),
    "energy-l2": off.describe("mean E(data)^2 + mean E(generated)^2: keeps energies bounded"),
    "energy-l2-batch": off.describe("mean E(data)^2 + (mean E(generated))^2: M-EBM's form"),
    "align-adversarial": off.describe("symmetric Huber of E(adversarial) - E(clean), paired"),
    "align-adversarial-squared": off.describe("mean (E(adversarial) - E(clean))^2, paired"),
    "align-generated": off.describe("(mean E(generated) - mean E(data))^2 over the global batch"),
    "align-generated-moments": off.describe("squared differences of the mean and of the deviation of E, generated against data"),
    "signed-gap-down": off.describe("ablation: mean E(adversarial) - mean E(clean), the sign of EB-JDAT's paper"),
    "signed-gap-up": off.describe("ablation: mean E(clean) - mean E(adversarial), the sign of EB-JDAT's released code"),
    "trades-kl": off.describe("KL(p(clean) || p(adversarial)), TRADES"),
    "mart-bce": off.describe("boosted cross-entropy of adversarial samples, MART"),
    "mart-kl": off.describe("KL(p(clean) || p(adversarial)) (1 - p_y(clean)), MART"),
    "weat-clean-ce": off.describe("cross-entropy of clean samples weighted by 1 / log(1 + exp |E(clean)|), WEAT"),
    "weat-adversarial-ce": off.describe("the same of adversarial samples"),
    "weat-kl": off.describe("KL(p(clean) || p(adversarial)) with WEAT's weights"),
    "logit-pairing": off.describe("mean |f(clean) - f(adversarial)|^2"),
    "clean-logit-pairing": off.describe("mean |f(x) - f(x')|^2 over all pairs of clean samples"),
    "logit-squeezing": off.describe("mean |f(clean)|^2"),
    vat: weightWith({
      eps: z.number().positive().default(1).describe("length of the perturbation in L2, in pixels"),
      probe: z.number().positive().default(0.1).describe("length of the step that finds its direction (xi), in pixels"),
      iterations: z.int().positive().default(1).describe("of the power method"),
    })
      .prefault(0)
      .describe("KL(p(clean) || p(virtual adversarial)): needs no labels"),
    llr: weightWith({
      steps: z.int().positive().default(10).describe("of the search for the least linear neighbour in attack.eps"),
      stepSize: pixels.prefault("2/255").describe("of that search, in pixels"),
    })
      .prefault(0)
      .describe("|L(x+d) - L(x) - d . grad L(x)| at the least linear neighbour, local linearity regularisation"),
    "llr-gradient": off.describe("|d . grad L(x)| at the same neighbour; the search is set in `llr`"),
    elle: off.describe("squared departure of the loss from linearity between two random neighbours in attack.eps"),
    "elle-energy": off.describe("the same of E instead of the loss"),
    "grad-align": off.describe("1 - cos of the loss's input gradients at x and at a random neighbour in attack.eps"),
    cure: weightWith({
      distance: z.number().positive().default(1.5).describe("length of the step along the gradient's sign, in L2, in pixels"),
    })
      .prefault(0)
      .describe("|grad L(x+z) - grad L(x)|_2 along the gradient's sign: curvature"),
    "generative-on": z
      .enum(["augmented", "natural", "adversarial"])
      .default("augmented")
      .describe("the samples of p(x), `data` in generative terms: as augmented for the classifier, as they are, or as attacked"),
    "label-smoothing": z.number().min(0).max(1).default(0),
    "align-beta": z.number().positive().default(1).describe("where the Huber of align-adversarial turns linear"),
    "difference-step": z
      .number()
      .positive()
      .default(0.02)
      .describe("half the distance of the two passes that stand for a derivative (llr, grad-align, cure), in L2, in pixels"),
  })
  .prefault({});
