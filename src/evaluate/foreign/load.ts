/**
 * Makes a classifier of a TensorFlow.js model's files: layers models by @tensorflow/tfjs-layers, graph models by
 * @tensorflow/tfjs-converter, each imported only when it is needed. An engine must have been started.
 */
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Classifier } from "../../model/model.js";
import { IsoergError } from "../../util/error.js";
import { type InputOptions, inputAdapter } from "./input.js";
import { checkLogits, graphLogits, type LogitsOrigin, layersLogits } from "./logits.js";
import type { ForeignFormat, ModelFile } from "./model-file.js";
import { createTfjsClassifier, type ForeignPasses } from "./tfjs-classifier.js";

export interface LoadedForeign {
  readonly format: ForeignFormat;
  readonly classifier: Classifier;
  readonly logits: LogitsOrigin;
  readonly numClasses: number;
  readonly numParameters: number;
}

export interface LoadForeignOptions {
  /** [H,W,C] of the data that it will see. */
  readonly inputShape: readonly [number, number, number];
  /** Outputs that it must have; null for a feature extractor, whose classes are its own. */
  readonly numClasses: number | null;
  readonly input?: InputOptions;
  /** A few samples [n,H,W,C] in [0,1], to look at what comes out. Stay the caller's. */
  readonly probe: Tensor4D;
}

/** @throws IsoergError USAGE or CHECKPOINT for a model that can't be analysed, with the reason. */
export async function loadForeign(file: ModelFile, options: LoadForeignOptions): Promise<LoadedForeign> {
  const { passes, batch, origin, numParameters } =
    file.format === "layers-model" ? await layersPasses(file, options) : await graphPasses(file, options);
  const classifier = createTfjsClassifier(passes, { batch });
  let numClasses: number;
  try {
    const outputs = classifier.logits(options.probe);
    numClasses = outputs.shape[1];
    const values = outputs.dataSync<"float32">();
    outputs.dispose();
    if (options.numClasses !== null && numClasses !== options.numClasses) {
      throw new IsoergError("USAGE", `the model has ${numClasses} outputs, the data set has ${options.numClasses} classes`, {
        hint: "Analyse it with the data set that it was trained for.",
      });
    }
    checkLogits(values, numClasses);
  } catch (error) {
    classifier.dispose();
    throw error;
  }
  return { format: file.format, classifier, logits: origin, numClasses, numParameters };
}

interface Passes {
  readonly passes: ForeignPasses;
  readonly batch: number | null;
  readonly origin: LogitsOrigin;
  readonly numParameters: number;
}

async function layersPasses(file: ModelFile, { inputShape, input }: LoadForeignOptions): Promise<Passes> {
  const { loadLayersModel, model: modelOf } = await import("@tensorflow/tfjs-layers");
  const { topology, origin } = layersLogits(file.topology);
  const model = await loadLayersModel(tf.io.fromMemory({ ...file.artifacts, modelTopology: topology })).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  one(model.inputs.length, "inputs");
  one(model.outputs.length, "outputs");
  const expected = (model.inputs[0] as { shape: (number | null)[] }).shape;
  const adapt = inputAdapter(expected, inputShape, input);
  let head = model.outputs[0]?.sourceLayer;
  while (head && (head.getClassName() === "Activation" || head.getClassName() === "Softmax")) head = head.inboundNodes[0]?.inboundLayers[0];
  const before = head?.getClassName() === "Dense" && !Array.isArray(head.input) && head.input.shape.length === 2 ? head.input : null;
  const features = before && modelOf({ inputs: model.inputs, outputs: before });
  return {
    passes: {
      logits: (x) => model.apply(adapt(x)) as Tensor,
      features: features && ((x) => features.apply(adapt(x)) as Tensor),
      dispose: () => model.dispose(),
    },
    batch: fixed(expected[0]),
    origin,
    numParameters: model.countParams(),
  };
}

async function graphPasses(file: ModelFile, { inputShape, input }: LoadForeignOptions): Promise<Passes> {
  const { GraphModel } = await import("@tensorflow/tfjs-converter");
  const model = new GraphModel(tf.io.fromMemory(file.artifacts));
  await Promise.resolve(model.load()).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  one(model.inputs.length, "inputs");
  one(model.outputs.length, "outputs");
  const { name, shape } = model.inputs[0] as { name: string; shape?: number[] };
  const expected = shape && shape.length > 0 ? shape : [-1, ...inputShape];
  const adapt = inputAdapter(expected, inputShape, input);
  const { node, origin, features } = graphLogits(file.topology, model.outputs[0]?.name ?? "");
  const run = (x: Tensor4D, output: string): Tensor => model.execute({ [name]: adapt(x) }, output) as Tensor;
  let numParameters = 0;
  for (const { shape: of } of file.artifacts.weightSpecs ?? []) numParameters += of.reduce((product, length) => product * length, 1);
  return {
    passes: {
      logits: (x) => run(x, node),
      features: features === null ? null : (x) => run(x, features),
      dispose: () => model.dispose(),
    },
    batch: fixed(expected[0]),
    origin,
    numParameters,
  };
}

function fixed(batch: number | null | undefined): number | null {
  return batch === null || batch === undefined || batch < 0 ? null : batch;
}

function one(count: number, what: string): void {
  if (count !== 1)
    throw new IsoergError("USAGE", `the model has ${count} ${what}`, {
      hint: "One image in and one row of logits out is what can be analysed.",
    });
}

function unreadable(file: ModelFile, cause: unknown): IsoergError {
  const message = cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "") : String(cause);
  return new IsoergError("CHECKPOINT", `${file.path}: TensorFlow.js can't load this ${file.format}: ${message}`, {
    hint: "Layers of one's own and Keras 3 files can't be loaded; a graph model (SavedModel) can.",
    cause,
  });
}
