/**
 * Evaluates a run's checkpoint and the same network before training. `saveEvaluated` leaves what was found in the run's folder:
 * evaluation.json and a grid of samples, unfiltered.
 *
 * The engine is started by the caller. Randomness comes from the run's seed, by purposes that training does not use.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { checkpointName, type LoadedCheckpoint } from "../checkpoint/store.js";
import type { AttackConfig } from "../config/schema.js";
import { decodeClassGaussians } from "../data/class-gaussians.js";
import { type Dataset, openDataset } from "../data/dataset.js";
import type { Engine } from "../engine/engine.js";
import { createModel } from "../model/create.js";
import type { Model } from "../model/model.js";
import { createStart, type Start } from "../sampler/start.js";
import { packageVersion } from "../util/package.js";
import { type EvaluateModelOptions, evaluateModel } from "./evaluate-model.js";
import { type Evaluation, type ModelEvaluation, writeEvaluation } from "./evaluation.js";
import { gridPng, scaleFor } from "./grid.js";
import type { Images } from "./passes.js";
import { type OpenedRun, openRun } from "./run-folder.js";
import { type Weights, type WeightsKind, weightsOf } from "./weights.js";

export interface EvaluateRunOptions extends EvaluateModelOptions {
  /** A run's folder or one of its checkpoints. */
  readonly path: string;
  readonly engine: Engine;
  readonly now: () => Date;
  /** Where the data set lies, if not where the configuration says. */
  readonly dataPath?: string;
  /** Instead of the configuration's `evaluate.samples`. */
  readonly numSamples?: number;
  /** What the attacks ascend, one attack each, instead of the configuration's one. */
  readonly targets?: readonly AttackConfig["target"][];
  /** Instead of the configuration's budget, in pixels; the step shrinks or grows with it. */
  readonly eps?: number;
  readonly weights?: WeightsKind | "auto";
  /** Whether the network before training is measured as well. */
  readonly untrained?: "measure" | "skip";
}

export interface EvaluatedRun {
  readonly run: OpenedRun;
  readonly evaluation: Evaluation;
  /** A PNG of the first fresh chains as they came, arranged by the class that the model sees in them; null where none were drawn. */
  readonly grid: Buffer | null;
}

export async function evaluateRun(options: EvaluateRunOptions): Promise<EvaluatedRun> {
  const run = await openRun(options.path);
  await using subject = await openSubject(run, options);
  const { config } = run;
  const { model, data } = subject;
  const targets = options.targets ?? [config.evaluate.attack.target];
  const { attack } = config.evaluate;
  const eps = options.eps ?? attack.eps;
  const stepSize = attack.eps > 0 ? (attack.stepSize * eps) / attack.eps : attack.stepSize;
  const attacks = targets.map((target) => ({ ...attack, eps, stepSize, target }));
  const numSamples = Math.min(options.numSamples ?? config.evaluate.samples, data.numSamples);
  const measure = (weights: { kind: ModelEvaluation["weights"]; flat: Float32Array }, buffer: Images | null, about: string) =>
    evaluateModel(
      {
        model,
        weights,
        test: data,
        seed: BigInt(config.seed),
        numSamples,
        attacks,
        chains: {
          count: config.evaluate.generated,
          steps: config.evaluate.freshSteps,
          sampler: config.sampler,
          start: subject.start,
          precision: config.precision.inner,
        },
        buffer,
      },
      {
        batchSize: options.batchSize,
        ...(options.signal && { signal: options.signal }),
        onProgress: ({ what, done, total }) => options.onProgress?.({ what: `${about}: ${what}`, done, total }),
      },
    );

  const trained = await measure(subject.weights, bufferChains(run.checkpoint, Math.max(1000, config.evaluate.generated)), "trained");
  const untrained =
    options.untrained === "skip"
      ? null
      : await measure({ kind: "initial", flat: model.initial(BigInt(config.seed)) }, null, "before training");

  const { engine } = options;
  const evaluation: Evaluation = {
    format: "isoerg-evaluation",
    version: 1,
    run: config.name,
    step: run.checkpoint.step,
    seed: config.seed,
    evaluatedAt: options.now().toISOString(),
    isoergVersion: packageVersion(),
    engine: { name: engine.name, version: engine.version, device: engine.device },
    data: { name: data.manifest.name, digest: subject.dataDigest, numTest: data.numSamples, classes: [...data.manifest.classes] },
    settings: {
      samples: numSamples,
      freshChains: config.evaluate.generated,
      freshSteps: config.evaluate.freshSteps,
      precision: "fp32",
      chainPrecision: engine.bf16.supported ? config.precision.inner : "fp32",
    },
    trained: trained.evaluation,
    untrained: untrained?.evaluation ?? null,
  };
  return { run, evaluation, grid: trained.generated.numImages > 0 ? gridOf(trained.generated, trained.generatedClasses) : null };
}

/** Writes RUN/evaluation.json and RUN/samples/step-NNNNNN.png. */
export async function saveEvaluated({
  run,
  evaluation,
  grid,
}: EvaluatedRun): Promise<{ evaluationPath: string; samplesPath: string | null }> {
  const evaluationPath = join(run.folder, "evaluation.json");
  const samplesPath = grid && join(run.folder, "samples", `${checkpointName(run.checkpoint.step)}.png`);
  if (grid && samplesPath) {
    await mkdir(dirname(samplesPath), { recursive: true });
    await writeFile(samplesPath, grid);
  }
  await writeEvaluation(evaluationPath, evaluation);
  return { evaluationPath, samplesPath };
}

/** A run's model, weights and data, ready for an engine that is started. */
export interface Subject extends AsyncDisposable {
  readonly model: Model;
  readonly weights: Weights;
  readonly data: Dataset;
  /** sha256 of the data set's manifest, which holds the digest of each shard. */
  readonly dataDigest: string;
  /** Where chains begin, as in training. */
  readonly start: Start;
  /** The same for chains of one class. */
  readonly startOf: (classIndex: number) => Start;
}

/** @throws IsoergError DATA, CONFIG or CHECKPOINT for what is missing or does not fit together. */
export async function openSubject(run: OpenedRun, options: { dataPath?: string; weights?: WeightsKind | "auto" }): Promise<Subject> {
  const { config, checkpoint } = run;
  const dataPath = options.dataPath ?? config.data.path;
  const data = await openDataset(dataPath, "test", { storage: config.storage });
  const { shape, numClasses, manifest } = data;
  const model = createModel(config.model, [shape.height, shape.width, shape.channels], numClasses);
  const needsGaussians = config.sampler.start !== "uniform";
  const stats = needsGaussians
    ? decodeClassGaussians(await data.readFile(manifest.classGaussians), { shape, numClasses, ...manifest.classGaussians })
    : undefined;
  const start = (classIndex?: number): Start =>
    createStart({
      kind: config.sampler.start,
      shape,
      numClasses,
      ...(stats && { stats }),
      ...(classIndex !== undefined && { classIndex }),
    });
  return {
    model,
    weights: weightsOf(model, checkpoint.files.model, options.weights ?? "auto"),
    data,
    dataDigest: data.manifestSha256,
    start: start(),
    startOf: start,
    [Symbol.asyncDispose]: () => data.close(),
  };
}

/** Chains of the checkpoint's buffer that were in use, evenly chosen where there are more than `limit`; null for none. */
export function bufferChains(checkpoint: Pick<LoadedCheckpoint, "files">, limit: number): Images | null {
  const chains = checkpoint.files.buffer.get("chains");
  const ages = checkpoint.files.buffer.get("ages");
  const [height, width, channels] = chains?.shape.slice(2) ?? [];
  if (!chains || !ages || height === undefined || width === undefined || channels === undefined) return null;
  if (!(chains.data instanceof Float32Array) || !(ages.data instanceof Int32Array)) return null;
  const used = Array.from(ages.data.keys()).filter((index) => ((ages.data as Int32Array)[index] as number) > 0);
  const count = Math.min(limit, used.length);
  if (count === 0) return null;
  const size = height * width * channels;
  const data = new Float32Array(count * size);
  for (let i = 0; i < count; i++) {
    const index = used[Math.floor((i * used.length) / count)] as number;
    data.set(chains.data.subarray(index * size, (index + 1) * size), i * size);
  }
  return { shape: [height, width, channels], numImages: count, data };
}

const GRID_COLUMNS = 10;
const GRID_IMAGES = 100;

function gridOf(chains: Images, classes: Int32Array): Buffer {
  const count = Math.min(GRID_IMAGES, chains.numImages);
  const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => (classes[a] as number) - (classes[b] as number) || a - b);
  const size = chains.shape[0] * chains.shape[1] * chains.shape[2];
  const data = new Float32Array(count * size);
  for (const [place, index] of order.entries()) data.set(chains.data.subarray(index * size, (index + 1) * size), place * size);
  return gridPng({ shape: chains.shape, numImages: count, data }, { columns: GRID_COLUMNS, scale: scaleFor(chains, GRID_COLUMNS, 640) });
}
