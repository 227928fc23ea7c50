/**
 * Any classifier, ready for evaluations, attacks and analyses: a run or one of its checkpoints, a safetensors export of one, or a
 * TensorFlow.js model that was trained elsewhere. Which of them a path is, is found out by looking, never by a flag.
 *
 * Opening changes nothing on disk. The engine must have been started.
 */
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { parseSafetensors, type SafetensorsFile } from "../checkpoint/safetensors.js";
import { checkpointOfPath } from "../checkpoint/store.js";
import { configSchema, type ModelConfig } from "../config/schema.js";
import type { Dataset } from "../data/dataset.js";
import { digestOf } from "../data/files.js";
import { createModel } from "../model/create.js";
import type { Classifier, Model } from "../model/model.js";
import { IsoergError } from "../util/error.js";
import type { InputOptions } from "./foreign/input.js";
import { loadForeign } from "./foreign/load.js";
import type { LogitsOrigin } from "./foreign/logits.js";
import { type ForeignFormat, findModelFile, readModelFile } from "./foreign/model-file.js";
import { type OpenedRun, openRun } from "./run-folder.js";
import { type WeightsKind, weightsOf } from "./weights.js";

export type ClassifierKind = "run" | "safetensors" | ForeignFormat;

/** What a path is, before anything is loaded. */
export type ClassifierPath =
  | { readonly kind: "run"; readonly run: OpenedRun }
  | { readonly kind: "safetensors"; readonly file: string }
  | { readonly kind: "tfjs"; readonly file: string };

/** @throws IsoergError USAGE for a path that is none of these, CHECKPOINT for a run without a whole checkpoint. */
export async function recogniseClassifier(path: string): Promise<ClassifierPath> {
  const absolute = resolve(path);
  if (!existsSync(absolute)) throw notAModel(`there is no ${path}`);
  if (checkpointOfPath(absolute) || existsSync(resolve(absolute, "config.yaml"))) return { kind: "run", run: await openRun(path) };
  if (statSync(absolute).isFile() && absolute.endsWith(".safetensors")) return { kind: "safetensors", file: absolute };
  const model = await findModelFile(absolute);
  if (model) return { kind: "tfjs", file: model };
  throw notAModel(`${path} is neither a run, a checkpoint, a safetensors export nor a TensorFlow.js model`);
}

function notAModel(problem: string): IsoergError {
  return new IsoergError("USAGE", problem, {
    hint: "Name a run's folder, one of its checkpoints, an export (.safetensors), or a model.json with its shards.",
  });
}

export interface OpenedClassifier {
  readonly kind: ClassifierKind;
  /** For people: the run's or the file's name. */
  readonly name: string;
  readonly classifier: Classifier;
  readonly inputShape: readonly [number, number, number];
  readonly numClasses: number;
  readonly numParameters: number;
  /** sha256 of the network's description and its weights: two files of one model have the same. */
  readonly fingerprint: string;
  /** Of a network of this program's; null for others. */
  readonly model: Model | null;
  readonly weights: WeightsKind | "exported" | "foreign";
  readonly logits: LogitsOrigin;
  readonly run: OpenedRun | null;
  dispose(): void;
}

export interface OpenClassifierOptions {
  /** What it will see; its shape and classes must be the model's. */
  readonly data: Pick<Dataset, "shape" | "numClasses" | "numSamples" | "read">;
  readonly weights?: WeightsKind | "auto";
  /** For TensorFlow.js models only. */
  readonly input?: InputOptions;
  /** `data`: a TensorFlow.js model's outputs must be the data's classes. `any`: it only extracts features. */
  readonly classes?: "data" | "any";
}

const PROBE_SAMPLES = 8;

/** @throws IsoergError USAGE, CONFIG or CHECKPOINT with what does not fit. */
export async function openClassifier(found: ClassifierPath, options: OpenClassifierOptions): Promise<OpenedClassifier> {
  const { shape, numClasses } = options.data;
  const inputShape = [shape.height, shape.width, shape.channels] as const;
  if (found.kind !== "tfjs" && options.input && Object.keys(options.input).length > 0) {
    throw new IsoergError("USAGE", "input options (range, mean, std, layout, channels, resize) are for TensorFlow.js models", {
      hint: "A network of this program has its normalisation as its first layer.",
    });
  }
  if (found.kind === "run") {
    const { run } = found;
    const model = createModel(run.config.model, inputShape, numClasses);
    const { kind, flat } = weightsOf(model, run.checkpoint.files.model, options.weights ?? "auto");
    return { ...own(model, flat, run.config.model), kind: "run", name: run.config.name, weights: kind, run };
  }
  if (found.kind === "safetensors") {
    const exported = parseSafetensors(await readFile(found.file), found.file);
    const network = networkOf(exported, found.file);
    const model = createModel(network, inputShape, numClasses);
    const { flat } = weightsOf(model, exported.tensors, "last");
    const name = exported.metadata.run ?? basename(found.file, ".safetensors");
    return { ...own(model, flat, network), kind: "safetensors", name, weights: "exported", run: null };
  }
  const file = await readModelFile(found.file);
  const probe = await probeOf(options.data, inputShape);
  try {
    const { format, classifier, logits, numParameters, ...outputs } = await loadForeign(file, {
      inputShape,
      numClasses: options.classes === "any" ? null : numClasses,
      probe,
      ...(options.input && { input: options.input }),
    });
    return {
      kind: format,
      name: basename(dirname(found.file)),
      classifier,
      inputShape,
      numClasses: outputs.numClasses,
      numParameters,
      fingerprint: digestOf("sha256", Buffer.from(JSON.stringify(file.topology)), new Uint8Array(file.artifacts.weightData as ArrayBuffer)),
      model: null,
      weights: "foreign",
      logits,
      run: null,
      dispose: () => classifier.dispose(),
    };
  } finally {
    probe.dispose();
  }
}

type Own = Pick<
  OpenedClassifier,
  "classifier" | "inputShape" | "numClasses" | "numParameters" | "fingerprint" | "model" | "logits" | "dispose"
>;

function own(model: Model, flat: Float32Array, network: ModelConfig): Own {
  const parameters = tf.tensor1d(flat);
  const classifier = model.bind(parameters, "fp32");
  const { inputShape, numClasses, numParameters } = model;
  return {
    classifier,
    inputShape,
    numClasses,
    numParameters,
    fingerprint: digestOf("sha256", Buffer.from(JSON.stringify(network)), new Uint8Array(flat.buffer, flat.byteOffset, flat.byteLength)),
    model,
    logits: "output",
    dispose() {
      classifier.dispose();
      parameters.dispose();
    },
  };
}

/** The network's configuration, which `isoerg export` keeps in the file's metadata. */
function networkOf({ metadata }: SafetensorsFile, file: string): ModelConfig {
  let value: unknown;
  try {
    value = JSON.parse(metadata.model ?? "");
  } catch (cause) {
    throw new IsoergError("CHECKPOINT", `${file} does not say which network its tensors are of`, {
      hint: "Only files that `isoerg export` wrote can be opened: they keep the network's configuration.",
      cause,
    });
  }
  const parsed = configSchema.shape.model.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new IsoergError(
    "CHECKPOINT",
    `${file}: its network is not one that this version knows: ${issue?.path.join(".")}: ${issue?.message}`,
  );
}

async function probeOf(data: OpenClassifierOptions["data"], inputShape: readonly [number, number, number]): Promise<tf.Tensor4D> {
  const count = Math.min(PROBE_SAMPLES, data.numSamples);
  const { images } = await data.read(Uint32Array.from({ length: count }, (_, i) => i));
  return tf.tensor4d(
    Float32Array.from(images, (value) => value / 255),
    [count, ...inputShape],
  );
}
