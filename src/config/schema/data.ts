/** `data`: the data set, the global batch, augmentation. */
import { z } from "zod";
import { placeSchema } from "./place.js";

export const dataSchema = z.strictObject({
  path: placeSchema.describe(
    "folder that `isoerg data prepare` wrote, streamed to workers that don't see it; s3://bucket/prefix or file:///folder where all are to read it themselves",
  ),
  batchSize: z.int().positive().default(128).describe("samples in one global batch, over all workers"),
  subset: z.int().positive().nullable().default(null).describe("train on the first N samples only; null for all"),
  shuffleBlock: z.int().positive().default(4096).describe("samples of one shuffled block; a worker reads few shards at a time"),
  augment: z
    .strictObject({
      flip: z.boolean().default(false).describe("mirror left-right with probability 1/2"),
      shift: z.int().nonnegative().default(0).describe("largest random shift in pixels"),
      border: z.enum(["reflect", "zero"]).default("reflect").describe("what a shift brings in"),
      policy: z
        .enum(["none", "trivial-augment"])
        .default("none")
        .describe("one random operation for each image, of random strength (Müller & Hutter 2021)"),
      magnitude: z.int().min(0).max(30).default(30).describe("the policy's largest strength"),
      cutout: z.int().nonnegative().default(0).describe("side of the square hidden in each image, in pixels; 0 for none"),
      noise: z.number().nonnegative().default(0).describe("standard deviation of Gaussian noise on each image, in pixels (JEM: 0.015)"),
    })
    .prefault({}),
});
