/**
 * The one schema of an experiment: every key, its default, its unit and its meaning. Help texts, `--print-config`, the
 * error for an unknown key and the report's settings table are all read from here.
 *
 * Pixels are in [0,1]; `eps`, step sizes and noise are in pixels. A fraction may be written as "8/255".
 */
import { z } from "zod";

const FRACTION = /^\s*(-?\d+(?:\.\d+)?)\s*\/\s*(\d+(?:\.\d+)?)\s*$/;

/** A number, or a fraction such as "8/255". */
const pixels = z.preprocess((value) => {
  const match = typeof value === "string" ? FRACTION.exec(value) : null;
  return match ? Number(match[1]) / Number(match[2]) : value;
}, z.number().finite());

export const activationSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("relu") }),
  z.strictObject({ kind: z.literal("silu") }),
  z.strictObject({ kind: z.literal("gelu") }),
  z.strictObject({ kind: z.literal("elu") }),
  z.strictObject({ kind: z.literal("leaky-relu"), slope: z.number().default(0.2) }),
  z.strictObject({ kind: z.literal("softplus"), sharpness: z.number().positive().default(10) }),
  z.strictObject({ kind: z.literal("smooth-relu"), sharpness: z.number().positive().default(400) }),
]);

/** `silu` is short for `{kind: silu}`. */
const activation = z.preprocess((value) => (typeof value === "string" ? { kind: value } : value), activationSchema);

const normSchema = z.preprocess(
  (value) => (typeof value === "string" ? { kind: value } : value),
  z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("none") }),
    z.strictObject({ kind: z.literal("group"), groups: z.int().positive().default(8) }),
  ]),
);

const inputNormalisation = z
  .strictObject({
    mean: z.array(z.number()).min(1).default([0.5]).describe("subtracted from each channel, in pixels"),
    std: z.array(z.number().positive()).min(1).default([0.25]).describe("then divided by, in pixels"),
  })
  .prefault({});

export const modelSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("convnet").describe("3x3 convolutions, global mean, linear"),
    stages: z
      .array(z.strictObject({ channels: z.int().positive(), stride: z.int().min(1).max(2).default(1) }))
      .min(1)
      .describe("one convolution each"),
    activation: activation.prefault("silu"),
    norm: normSchema.prefault("none"),
    initGain: z.number().positive().default(1.5).describe("weights ~ N(0, gain / sqrt(fan in))"),
    input: inputNormalisation,
  }),
  z.strictObject({
    kind: z.literal("wide-resnet").describe("Zagoruyko & Komodakis 2016, pre-activation"),
    depth: z.int().refine((d) => d >= 10 && (d - 4) % 6 === 0, "depth must be 6n + 4, at least 10"),
    width: z.int().positive(),
    activation: activation.prefault("silu"),
    norm: normSchema.prefault("none"),
    input: inputNormalisation,
  }),
  z.strictObject({
    kind: z.literal("mlp"),
    hidden: z.array(z.int().positive()).default([256, 256]),
    activation: activation.prefault("silu"),
    input: inputNormalisation,
  }),
]);

const dataSchema = z.strictObject({
  path: z.string().describe("folder that `isoerg data prepare` wrote"),
  batchSize: z.int().positive().default(128).describe("samples in one global batch, over all workers"),
  subset: z.int().positive().nullable().default(null).describe("train on the first N samples only; null for all"),
  shuffleBlock: z.int().positive().default(4096).describe("samples of one shuffled block; a worker reads few shards at a time"),
  augment: z
    .strictObject({
      flip: z.boolean().default(false).describe("mirror left-right with probability 1/2"),
      shift: z.int().nonnegative().default(0).describe("largest random shift in pixels"),
      border: z.enum(["reflect", "zero"]).default("reflect").describe("what a shift brings in"),
    })
    .prefault({}),
});

const attackSchema = z.strictObject({
  norm: z.enum(["linf", "l2"]).default("linf"),
  eps: pixels.prefault("8/255").describe("radius of the ball, in pixels"),
  steps: z.int().nonnegative().default(10),
  stepSize: pixels.prefault("2/255").describe("in pixels"),
  start: z.enum(["uniform", "zero"]).default("uniform").describe("uniform in the ball, or the sample itself"),
  target: z.enum(["cross-entropy", "margin", "energy", "joint-energy"]).default("cross-entropy").describe("what the attack ascends"),
  restarts: z.int().positive().default(1).describe("the strongest of so many starts is kept"),
});

const samplerSchema = z.strictObject({
  chains: z.int().nonnegative().default(64).describe("chains advanced in one generative step, over all workers"),
  bufferSize: z.int().positive().default(10_000).describe("chains kept in the replay buffer, over all workers"),
  steps: z.int().nonnegative().default(20).describe("Langevin steps for each training step"),
  stepSize: z.number().positive().default(1).describe("factor of the energy's input gradient"),
  noise: z.number().nonnegative().default(0.01).describe("standard deviation of the noise of each step, in pixels"),
  clampGradient: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe("largest move of one pixel in one step before noise (proximal SGLD); null for none"),
  reinit: z.number().min(0).max(1).default(0.05).describe("share of chains that start anew"),
  start: z.enum(["uniform", "gaussian", "class-gaussian"]).default("class-gaussian"),
  every: z.int().positive().default(1).describe("generative terms are on in every n-th step"),
});

/** A weight is a number, or a number that rises linearly from 0 over the first share `warmup` of the training. */
const weight = z.preprocess(
  (value) => (typeof value === "number" ? { value } : value),
  z.strictObject({ value: z.number().nonnegative(), warmup: z.number().min(0).max(1).default(0) }),
);

const objectiveSchema = z
  .strictObject({
    "clean-ce": weight.prefault(0).describe("cross-entropy of clean samples"),
    "adversarial-ce": weight.prefault(0).describe("cross-entropy of adversarial samples"),
    contrast: weight.prefault(0).describe("mean E(clean) - mean E(generated): contrastive divergence"),
    "energy-l2": weight.prefault(0).describe("mean E(clean)^2 + mean E(generated)^2: keeps energies bounded"),
    "align-adversarial": weight.prefault(0).describe("symmetric Huber of E(adversarial) - E(clean), paired"),
    "align-generated": weight.prefault(0).describe("(mean E(generated) - mean E(clean))^2 over the global batch"),
    "label-smoothing": z.number().min(0).max(1).default(0),
    "align-beta": z.number().positive().default(1).describe("where the Huber of align-adversarial turns linear"),
  })
  .prefault({});

const optimizerSchema = z.strictObject({
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

export const configSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]*$/)
    .default("experiment"),
  seed: z.int().nonnegative().default(1),
  epochs: z.number().positive().default(1).describe("passes over the data; may be a fraction"),
  data: dataSchema,
  model: modelSchema,
  objective: objectiveSchema,
  attack: attackSchema.prefault({}),
  sampler: samplerSchema.prefault({}),
  optimizer: optimizerSchema.prefault({}),
  precision: z
    .strictObject({
      inner: z.enum(["fp32", "bf16"]).default("fp32").describe("attack and sampling passes"),
      update: z.enum(["fp32", "bf16"]).default("fp32").describe("forward and backward of the update; parameters are always fp32"),
    })
    .prefault({}),
  checkpoint: z
    .strictObject({
      everySteps: z.int().positive().default(500),
      keepLast: z.int().positive().default(3),
      checksumEvery: z.int().positive().default(1).describe("steps between proofs that all workers hold the same bits"),
    })
    .prefault({}),
  evaluate: z
    .strictObject({
      samples: z.int().positive().default(1000).describe("test samples attacked"),
      attack: attackSchema.extend({ steps: z.int().nonnegative().default(20) }).prefault({}),
      generated: z.int().nonnegative().default(500).describe("fresh chains"),
      freshSteps: z.int().positive().default(200).describe("Langevin steps of a fresh chain"),
    })
    .prefault({}),
});

export type Config = z.infer<typeof configSchema>;
export type ModelConfig = Config["model"];
export type AttackConfig = Config["attack"];
export type SamplerConfig = Config["sampler"];
export type ObjectiveConfig = Config["objective"];
export type OptimizerConfig = Config["optimizer"];
export type ActivationConfig = z.infer<typeof activationSchema>;
