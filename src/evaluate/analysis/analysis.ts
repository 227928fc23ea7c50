/**
 * analysis.json: what `isoerg analyze` found out about a classifier, with what it was measured on. Each figure has its sample counts; each
 * chart its histogram; energies are kept sample by sample, so that every gap can be computed from the file again.
 *
 * Read with the schema, never trusted. `version` changes when a figure's meaning does.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { z } from "zod";
import { IsoergError } from "../../util/error.js";

const count = z.int().nonnegative();
const figure = z.number();
/** What float32 can hold, and room: charts are drawn of it, and no span between two of them overflows. */
const drawn = z.number().min(-1e39).max(1e39);

export const shapeSchema = z.object({ height: z.int().positive(), width: z.int().positive(), channels: z.int().positive() });

export const accuracySchema = z.object({
  correct: count,
  total: count,
  accuracy: figure,
  /** Wilson, 95 %. */
  interval: z.tuple([figure, figure]).readonly(),
});

const gapSchema = z.object({
  numClean: count,
  numOther: count,
  meanClean: figure,
  meanOther: figure,
  stdClean: figure,
  signedMean: figure,
  meanAbsolute: figure.nullable(),
  wasserstein: figure,
  wassersteinOverStd: figure.nullable(),
  overlap: z.object({ coefficient: figure, numBins: count, from: figure, to: figure }),
});

/** Energies of one set; unit: that of the logits (natural logarithm). */
const distributionSchema = z.object({
  energies: z.array(drawn),
  mean: figure,
  std: figure,
  /** 5, 25, 50, 75, 95 %. */
  quantiles: z.tuple([figure, figure, figure, figure, figure]).readonly(),
  /** All sets of an analysis share the bins. */
  histogram: z.object({ from: figure, to: figure, numBins: count, counts: z.array(count).readonly(), below: count, above: count }),
  /** To the clean test samples; null for those themselves. */
  gap: gapSchema.nullable(),
});

const classSchema = z.object({
  class: z.string(),
  count,
  meanEnergy: figure,
  stdEnergy: figure,
  /** To clean test samples of the class: mean difference and Wasserstein-1; null without samples on both sides. */
  signedMean: figure.nullable(),
  wasserstein: figure.nullable(),
});

export const SET_KINDS = ["clean", "train", "adversarial", "generated", "buffer", "noise", "interpolation", "other-data"] as const;

const setSchema = z.object({
  name: z.string(),
  kind: z.enum(SET_KINDS),
  /** For people, with every setting that it depends on. */
  description: z.string(),
  numSamples: count,
  /** Whose y the joint energies E(x,y) and the classes are of. */
  labels: z.enum(["true", "predicted"]),
  accuracy: accuracySchema.nullable(),
  /** E(x) = -logsumexp f(x). */
  marginal: distributionSchema,
  /** E(x,y) = -f_y(x). */
  joint: distributionSchema,
  perClass: z.array(classSchema),
});

const attackSchema = z.object({
  set: z.string(),
  norm: z.enum(["linf", "l2"]),
  /** In pixels, whose range is [0,1]. */
  eps: figure,
  steps: count,
  stepSize: figure,
  start: z.enum(["uniform", "zero"]),
  target: z.string(),
  restarts: count,
  largestDistance: figure,
});

const detectionSchema = z.object({
  numKnown: count,
  numOther: count,
  auroc: figure,
  auprKnown: figure,
  auprOther: figure,
  fpr95: figure,
});

const calibrationSchema = z.object({
  numSamples: count,
  numBins: count,
  ece: figure,
  mce: figure,
  meanConfidence: figure,
  accuracy: figure,
  nll: figure,
  brier: figure,
  bins: z.array(z.object({ from: drawn, to: drawn, count, confidence: drawn.nullable(), accuracy: drawn.nullable() })).readonly(),
});

export const qualitySchema = z.object({
  /** Which images were judged. */
  images: z.enum(["fresh chains", "replay buffer"]),
  numGenerated: count,
  /** Langevin steps of each fresh chain; null for the buffer. */
  chainSteps: count.nullable(),
  numReference: count,
  reference: z.string(),
  extractor: z.object({
    name: z.string(),
    /** Whose figures are called FID and IS. */
    inception: z.boolean(),
    /** The judged model itself: such figures flatter it. */
    self: z.boolean(),
    numFeatures: count,
    fingerprint: z.string(),
  }),
  frechet: z.object({
    /** "FID", or what it is named after. */
    name: z.string(),
    value: figure,
    /** The same between two halves of the reference: what the number of samples alone gives. */
    floor: figure,
    numFloor: count,
  }),
  score: z.object({ name: z.string(), mean: figure, std: figure, numSplits: count, numSamples: count, ofReference: figure }),
  precisionRecall: z.object({ precision: figure, recall: figure, neighbours: count, numReal: count, numGenerated: count }),
  /** Distance to the nearest training image, of generated and of test images; root of the mean squared difference. */
  nearest: z.array(
    z.object({
      space: z.enum(["pixels", "features"]),
      numTrain: count,
      numGenerated: count,
      numTest: count,
      generatedMedian: figure,
      testMedian: figure,
      generatedSmallest: figure,
      testSmallest: figure,
      /** Share of generated images nearer to training data than 99 % of test images are; about 0.01 where nothing is copied. */
      nearerThanTest: figure,
    }),
  ),
});

export const GRADES = ["good", "fair", "weak", "note"] as const;

const findingSchema = z.object({ topic: z.string(), grade: z.enum(GRADES), text: z.string() });

export const analysisSchema = z.object({
  format: z.literal("isoerg-analysis"),
  version: z.literal(1),
  model: z.object({
    kind: z.enum(["run", "safetensors", "layers-model", "graph-model"]),
    name: z.string(),
    step: count.nullable(),
    weights: z.string(),
    logits: z.enum(["output", "before-softmax"]),
    numParameters: count,
    /** sha256 of the weights' bytes. */
    fingerprint: z.string(),
  }),
  data: z.object({
    name: z.string(),
    digest: z.string(),
    shape: shapeSchema,
    classes: z.array(z.string()),
    numTest: count,
    numTrain: count,
  }),
  engine: z.object({ name: z.string(), version: z.string(), device: z.string() }),
  analyzedAt: z.string(),
  isoergVersion: z.string(),
  seed: figure,
  settings: z.object({ samples: count, input: z.record(z.string(), z.unknown()) }),
  sets: z.array(setSchema),
  attacks: z.array(attackSchema),
  /** How well scores tell clean test samples from each other set; higher scores stand for clean. */
  detection: z.array(
    z.object({
      set: z.string(),
      energy: detectionSchema,
      maxProbability: detectionSchema,
      /** -|dE/dx|; null where it was left out. */
      inputGradient: detectionSchema.nullable(),
    }),
  ),
  calibration: z.object({
    /** The temperature is fitted on other test samples than those judged. */
    numFit: count,
    temperature: figure,
    before: calibrationSchema,
    after: calibrationSchema,
  }),
  quality: qualitySchema.nullable(),
  verdict: z.array(findingSchema),
});

export type Analysis = z.infer<typeof analysisSchema>;
export type AnalysisSet = z.infer<typeof setSchema>;
export type SetKind = AnalysisSet["kind"];
export type Distribution = z.infer<typeof distributionSchema>;
export type Quality = z.infer<typeof qualitySchema>;
export type Finding = z.infer<typeof findingSchema>;

export const ANALYSIS_FILE = "analysis.json";

/** The analysis in a file, or undefined where there is none. @throws IsoergError DATA that names the first thing wrong. */
export async function readAnalysis(path: string): Promise<Analysis | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new IsoergError("DATA", `${path} can't be read: ${(cause as Error).message}`, { cause });
  }
  return parseJson(text, path, analysisSchema, "an analysis", "Analyse the model again: isoerg analyze MODEL");
}

/** Parses with a schema. @throws IsoergError DATA */
export function parseJson<T>(text: string, where: string, schema: z.ZodType<T>, what: string, hint: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new IsoergError("DATA", `${where} is not JSON`, { hint, cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new IsoergError("DATA", `${where} is not ${what} that this version reads: ${issue?.path.join(".")}: ${issue?.message}`, {
    hint,
    cause: parsed.error,
  });
}

/** Replaces a file in one move. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(`${path}.tmp`, `${JSON.stringify(value)}\n`);
  await rename(`${path}.tmp`, path);
}
