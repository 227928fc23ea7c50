/** `model`: the network, its activation, its normalisation. */
import { z } from "zod";

export const activationSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("relu") }),
  z.strictObject({ kind: z.literal("silu") }),
  z.strictObject({ kind: z.literal("gelu") }),
  z.strictObject({ kind: z.literal("elu") }),
  z.strictObject({ kind: z.literal("leaky-relu"), slope: z.number().default(0.2) }),
  z.strictObject({ kind: z.literal("softplus"), sharpness: z.number().positive().default(10) }),
  z.strictObject({
    kind: z.literal("smooth-relu").describe("x - log(1 + b x)/b for x >= 0, else 0"),
    sharpness: z.number().positive().default(400).describe("b; where it is learned, its beginning"),
    learnable: z.boolean().default(false).describe("b = beta^2 with a beta for each layer that is learned, as Xie et al. 2020 have it"),
  }),
]);

/** `silu` is short for `{kind: silu}`. */
const activation = z.preprocess((value) => (typeof value === "string" ? { kind: value } : value), activationSchema);

const normSchema = z.preprocess(
  (value) => (typeof value === "string" ? { kind: value } : value),
  z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("none") }),
    z.strictObject({ kind: z.literal("group"), groups: z.int().positive().default(8) }),
    z.strictObject({
      kind: z.literal("ghost-batch").describe("batch normalisation over groups of samples, Hoffer et al. 2017; with running statistics"),
      groupSize: z
        .int()
        .min(2)
        .default(32)
        .describe("samples of a group, of consecutive positions; a worker's slice is made of whole groups"),
      momentum: z.number().positive().max(1).default(0.1).describe("share of the newest batch in the running statistics, as in PyTorch"),
      statisticsFrom: z
        .enum(["all", "clean", "adversarial"])
        .default("all")
        .describe("samples of an update that the running statistics follow; all: clean, adversarial and generated ones"),
      attack: z
        .enum(["running", "group"])
        .default("running")
        .describe("statistics in attacks and probes, which never move the running ones"),
      sampling: z.enum(["running", "group"]).default("running").describe("statistics in sampling, which never moves the running ones"),
      frozenFrom: z
        .number()
        .min(0)
        .max(1)
        .nullable()
        .default(null)
        .describe("share of the training from which on every pass takes the running statistics as they are; null: never, 0: always"),
    }),
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
    kind: z.literal("resnet-18").describe("He et al. 2016 with a 3x3 stem for small images"),
    width: z.int().positive().default(64).describe("channels of the first stage"),
    activation: activation.prefault("silu"),
    norm: normSchema.prefault("none"),
    input: inputNormalisation,
  }),
  z.strictObject({
    kind: z.literal("conv1d").describe("for signals [length,1,channels]: convolutions along the length, global mean, linear"),
    stages: z
      .array(
        z.strictObject({
          channels: z.int().positive(),
          size: z
            .int()
            .positive()
            .refine((size) => size % 2 === 1, "a filter's size is odd")
            .default(5),
          stride: z.int().positive().default(1),
        }),
      )
      .min(1)
      .describe("one convolution each"),
    activation: activation.prefault("silu"),
    norm: normSchema.prefault("none"),
    initGain: z.number().positive().default(1.5).describe("weights ~ N(0, gain / sqrt(fan in))"),
    input: inputNormalisation,
  }),
  z.strictObject({
    kind: z.literal("mlp"),
    hidden: z.array(z.int().positive()).default([256, 256]),
    activation: activation.prefault("silu"),
    input: inputNormalisation,
  }),
]);
