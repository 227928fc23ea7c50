/** `objective`: the weight of each term. */
import { z } from "zod";

/** A weight is a number, or a number that rises linearly from 0 over the first share `warmup` of the training. */
const weight = z.preprocess(
  (value) => (typeof value === "number" ? { value } : value),
  z.strictObject({ value: z.number().nonnegative(), warmup: z.number().min(0).max(1).default(0) }),
);

export const objectiveSchema = z
  .strictObject({
    "clean-ce": weight.prefault(0).describe("cross-entropy of clean samples"),
    "adversarial-ce": weight.prefault(0).describe("cross-entropy of adversarial samples"),
    contrast: weight.prefault(0).describe("mean E(data) - mean E(generated): contrastive divergence"),
    "energy-l2": weight.prefault(0).describe("mean E(data)^2 + mean E(generated)^2: keeps energies bounded"),
    "align-adversarial": weight.prefault(0).describe("symmetric Huber of E(adversarial) - E(clean), paired"),
    "align-generated": weight.prefault(0).describe("(mean E(generated) - mean E(data))^2 over the global batch"),
    "generative-on": z
      .enum(["augmented", "natural", "adversarial"])
      .default("augmented")
      .describe("the samples of p(x), `data` in generative terms: as augmented for the classifier, as they are, or as attacked"),
    "label-smoothing": z.number().min(0).max(1).default(0),
    "align-beta": z.number().positive().default(1).describe("where the Huber of align-adversarial turns linear"),
  })
  .prefault({});
