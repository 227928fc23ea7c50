/** `optimizer`: the update, its learning rate over time, averaged weights. */
import { z } from "zod";

const perturbation = z.preprocess(
  (value) => (typeof value === "string" ? { kind: value } : value),
  z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("none") }),
    z.strictObject({
      kind: z.literal("awp").describe("adversarial weight perturbation, Wu et al. 2020: each weight tensor moves by gamma of its own norm"),
      gamma: z.number().positive().default(0.01),
      from: z.number().min(0).max(1).default(0).describe("share of the training before it sets in"),
    }),
    z.strictObject({
      kind: z.literal("sam").describe("sharpness-aware minimisation, Foret et al. 2021; adaptive: Kwon et al. 2021"),
      rho: z.number().positive().default(2),
      adaptive: z.boolean().default(true),
      from: z.number().min(0).max(1).default(0).describe("share of the training before it sets in"),
    }),
  ]),
);

const swa = z.strictObject({
  from: z.number().min(0).max(1).default(0.75).describe("share of the training before the first weights are taken in"),
  everyUpdates: z.int().positive().default(100).describe("updates between two weights that are taken in"),
});

export const optimizerSchema = z
  .strictObject({
    kind: z.enum(["sgd", "adam"]).default("sgd"),
    lr: z.number().positive().default(0.1),
    momentum: z.number().min(0).max(1).default(0.9).describe("sgd: Nesterov momentum"),
    betas: z.tuple([z.number(), z.number()]).default([0.9, 0.999]),
    epsilon: z.number().positive().default(1e-8),
    weightDecay: z
      .number()
      .nonnegative()
      .default(0)
      .describe("sgd: L2 added to the gradient; adam: decoupled (AdamW). Not on biases and norms"),
    clipNorm: z.number().positive().nullable().default(null).describe("largest L2 norm of the whole gradient; null for none"),
    ema: z.number().min(0).max(1).default(0).describe("decay of the averaged weights used for evaluation; 0 for none"),
    swa: swa.nullable().default(null).describe("in place of ema: the plain mean of weights late in the training (SWA); null for none"),
    perturbation: perturbation
      .prefault("none")
      .describe("the gradient is taken at perturbed weights: a second pass and a second sum over the workers in each step"),
    schedule: z
      .discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("constant"), warmup: z.number().min(0).max(1).default(0) }),
        z.strictObject({ kind: z.literal("cosine"), warmup: z.number().min(0).max(1).default(0) }),
        z.strictObject({
          kind: z.literal("linear").describe("flat until `hold`, then to zero"),
          warmup: z.number().min(0).max(1).default(0),
          hold: z.number().min(0).max(1).default(0),
        }),
        z.strictObject({
          kind: z.literal("step"),
          warmup: z.number().min(0).max(1).default(0),
          at: z.array(z.number().min(0).max(1)).describe("shares of the training"),
          factor: z.number().positive().default(0.1),
        }),
      ])
      .prefault({ kind: "constant" }),
  })
  .superRefine(({ ema, swa }, context) => {
    if (ema > 0 && swa)
      context.addIssue({
        code: "custom",
        path: ["swa"],
        message: `weights have one average, and optimizer.ema is ${ema}; set one of the two`,
      });
  });
