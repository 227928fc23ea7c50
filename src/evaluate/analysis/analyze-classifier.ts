/**
 * The passes behind an analysis: which images are shown to a classifier, and what is read from its logits and input gradients. Works on
 * every `Classifier`; knows nothing of files. Chains and quality are for models that can be sampled, and left out where none are asked for.
 *
 * Clean figures are over the first n test samples; training samples are n evenly spread ones. Randomness is keyed by (seed, index).
 */
import type { AttackConfig, SamplerConfig } from "../../config/schema.js";
import type { SampleSource } from "../../data/samples.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import type { Classifier } from "../../model/model.js";
import { calibration, fitTemperature } from "../calibration/calibration.js";
import { formatEps } from "../format.js";
import { detection } from "../ood/detection.js";
import { gaussianNoise, interpolations, uniformNoise } from "../ood/probes.js";
import { attackAll, type ChainsInput, drawChains, gradientNorms, type Images, logitsOf, type PassOptions } from "../passes.js";
import { softmaxRows } from "../quality/inception-score.js";
import { type FeatureExtractor, measureQuality } from "../quality/measure-quality.js";
import type { Analysis } from "./analysis.js";
import { decisions, describeSets, type SetInput } from "./sets.js";

export interface AnalyzeInput {
  readonly classifier: Classifier;
  readonly classes: readonly string[];
  readonly test: SampleSource;
  readonly train: SampleSource;
  /** Of the training pixels, by channel. */
  readonly statistics: { readonly mean: readonly number[]; readonly std: readonly number[] };
  readonly seed: bigint;
  readonly numSamples: number;
  readonly attacks: readonly AttackConfig[];
  readonly chains: {
    readonly count: number;
    readonly steps: number;
    readonly sampler: Pick<SamplerConfig, "stepSize" | "noise" | "clampGradient">;
    readonly start: ChainsInput["start"];
  } | null;
  readonly buffer: Images | null;
  /** Other data, already of the same shape. */
  readonly others: readonly { readonly name: string; readonly description: string; readonly images: Images }[];
  /** Whether the input-gradient score is computed too (an input-gradient pass over each set). */
  readonly gradientScores: boolean;
  readonly quality: FeatureExtractor | null;
}

export interface AnalyzeOptions {
  readonly batchSize: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly what: string; readonly done: number; readonly total: number }) => void;
}

export interface Analyzed extends Pick<Analysis, "sets" | "attacks" | "detection" | "calibration" | "quality"> {
  /** Fresh chains, where they were drawn. */
  readonly generated: Images | null;
  /** The model's decisions on the clean test samples. */
  readonly predicted: Int32Array;
}

/** @throws IsoergError DIVERGED where energies are not numbers; whatever the signal was aborted with. */
export async function analyzeClassifier(input: AnalyzeInput, options: AnalyzeOptions): Promise<Analyzed> {
  const { classifier, test, train, seed, classes } = input;
  const numClasses = classes.length;
  const shape = [test.shape.height, test.shape.width, test.shape.channels] as const;
  const passes = (what: string): PassOptions => ({
    batchSize: options.batchSize,
    ...(options.signal && { signal: options.signal }),
    onProgress: (done, total) => options.onProgress?.({ what, done, total }),
  });
  const read = async (source: SampleSource, count: number) => {
    const n = Math.min(count, source.numSamples);
    const ids = Uint32Array.from({ length: n }, (_, i) => (source === test ? i : Math.floor((i * source.numSamples) / n)));
    const { images, labels } = await source.read(ids);
    return { images: { shape, numImages: n, data: images } as Images, labels };
  };

  const shown: { input: Omit<SetInput, "logits">; images: Images | null; logits: Float32Array }[] = [];
  const show = async (set: Omit<SetInput, "logits">, images: Images): Promise<void> => {
    if (images.numImages > 0) shown.push({ input: set, images, logits: await logitsOf(classifier, images, numClasses, passes(set.name)) });
  };

  const clean = await read(test, input.numSamples);
  const n = clean.images.numImages;
  await show({ name: "test", kind: "clean", description: `test samples 0 to ${n - 1}`, labels: clean.labels, paired: false }, clean.images);
  const trained = await read(train, input.numSamples);
  await show(
    {
      name: "train",
      kind: "train",
      description: `${trained.images.numImages} training samples, evenly spread`,
      labels: trained.labels,
      paired: false,
    },
    trained.images,
  );

  const attacks: Analysis["attacks"] = [];
  for (const config of input.attacks) {
    const { norm, eps, steps, stepSize, start, target, restarts } = config;
    const name = `PGD-${steps}, ${target}`;
    const result = await attackAll(classifier, clean.images, { labels: clean.labels, numClasses, config, seed }, passes(name));
    attacks.push({ set: name, norm, eps, steps, stepSize, start, target, restarts, largestDistance: result.largestDistance });
    const description = `the test samples after ${steps} steps that raise ${target}, ${norm} distance at most ${formatEps(eps)}`;
    shown.push({
      input: { name, kind: "adversarial", description, labels: clean.labels, paired: true },
      images: null,
      logits: result.logits,
    });
  }

  let generated: Images | null = null;
  if (input.chains && input.chains.count > 0) {
    const { count, steps, sampler, start } = input.chains;
    const chains = { config: sampler, steps, start, seed, purpose: PURPOSE.evaluateChain, labels: null, numClasses };
    generated = await drawChains(classifier, shape, count, chains, passes("fresh chains"));
    await show(
      {
        name: "generated",
        kind: "generated",
        description: `${count} fresh chains of ${steps} steps, none left out`,
        labels: null,
        paired: false,
      },
      generated,
    );
  }
  if (input.buffer) {
    const description = `${input.buffer.numImages} chains of the replay buffer`;
    await show({ name: "buffer", kind: "buffer", description, labels: null, paired: false }, input.buffer);
  }
  const probe = (name: string, kind: SetInput["kind"], description: string, images: Images) =>
    show({ name, kind, description, labels: null, paired: false }, images);
  await probe("uniform noise", "noise", "every pixel uniform in [0,1]", uniformNoise(shape, n, seed));
  await probe(
    "gaussian noise",
    "noise",
    "every pixel normal with its channel's mean and deviation, clamped",
    gaussianNoise(shape, n, seed, input.statistics),
  );
  await probe("interpolations", "interpolation", "means of two test samples", interpolations(clean.images, n, seed));
  for (const { name, description, images } of input.others) await probe(name, "other-data", description, images);

  const sets = describeSets(
    shown.map(({ input: set, logits }) => ({ ...set, logits })),
    classes,
  );
  const scores: { energy: number[]; maxProbability: number[]; inputGradient: number[] | null }[] = [];
  for (const [i, { images, logits, input: set }] of shown.entries()) {
    const norms = input.gradientScores && images ? await gradientNorms(classifier, images, passes(`gradients, ${set.name}`)) : null;
    scores.push({
      energy: (sets[i] as Analysis["sets"][number]).marginal.energies.map((energy) => -energy),
      maxProbability: maxima(softmaxRows(logits, numClasses), numClasses),
      inputGradient: norms && Array.from(norms, (norm) => -norm),
    });
  }
  const known = scores[0] as (typeof scores)[number];
  const detections = scores.flatMap((other, i) => {
    const set = sets[i] as Analysis["sets"][number];
    if (set.kind === "clean" || set.kind === "train") return [];
    return [
      {
        set: set.name,
        energy: detection(known.energy, other.energy),
        maxProbability: detection(known.maxProbability, other.maxProbability),
        inputGradient: known.inputGradient && other.inputGradient ? detection(known.inputGradient, other.inputGradient) : null,
      },
    ];
  });

  const cleanLogits = (shown[0] as (typeof shown)[number]).logits;
  const judged = generated ?? input.buffer;
  const quality =
    input.quality && judged && judged.numImages > 3
      ? await measureQuality(
          {
            images: generated ? "fresh chains" : "replay buffer",
            chainSteps: generated && input.chains ? input.chains.steps : null,
            generated: judged,
            reference: (await read(test, Math.max(input.numSamples, judged.numImages))).images,
            referenceName: "test split",
            train,
            extractor: input.quality,
          },
          passes,
        )
      : null;
  return {
    sets,
    attacks,
    detection: detections,
    calibration: calibrate(cleanLogits, clean.labels, numClasses),
    quality,
    generated,
    predicted: decisions(cleanLogits, numClasses),
  };
}

/** Fits the temperature on every second test sample, starting with the first, and judges on the others. */
function calibrate(logits: Float32Array, labels: Int32Array, numClasses: number): Analysis["calibration"] {
  const half = (odd: number) => {
    const ids = Array.from(labels.keys()).filter((i) => i % 2 === odd);
    return {
      logits: Float32Array.from(ids.flatMap((i) => Array.from(logits.subarray(i * numClasses, (i + 1) * numClasses)))),
      labels: ids.map((i) => labels[i] as number),
    };
  };
  const [fit, judge] = labels.length < 2 ? [half(0), half(0)] : [half(0), half(1)];
  const temperature = fitTemperature(fit.logits, fit.labels, numClasses);
  return {
    numFit: fit.labels.length,
    temperature,
    before: { ...calibration(judge.logits, judge.labels, numClasses) },
    after: { ...calibration(judge.logits, judge.labels, numClasses, { temperature }) },
  };
}

function maxima(probabilities: Float64Array, numClasses: number): number[] {
  return Array.from({ length: probabilities.length / numClasses }, (_, i) =>
    probabilities.subarray(i * numClasses, (i + 1) * numClasses).reduce((a, b) => Math.max(a, b), 0),
  );
}
