/** `optimizer`: the update, its learning rate over time, averaged weights. */
import { z } from "zod";

export const optimizerSchema = z.strictObject({
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
});
