/**
 * Where a foreign model's logits are. Energies need them: probabilities have lost the scale of exp(f), since softmax(f) = softmax(f + c),
 * so E(x) of log-probabilities is 0 whatever x is. A softmax at a model's end is therefore left out; what can't be undone is refused.
 *
 * Pure functions of the topology in model.json; nothing is loaded here.
 */
import { IsoergError } from "../../util/error.js";

/** What was found at the end of a model, for people. */
export type LogitsOrigin = "output" | "before-softmax";

type Json = Readonly<Record<string, unknown>>;

export interface LayersLogits {
  /** A copy of the topology whose output are logits. */
  readonly topology: Json;
  readonly origin: LogitsOrigin;
}

/** @throws IsoergError USAGE for an output that is squashed class by class. */
export function layersLogits(topology: Json): LayersLogits {
  const copy = structuredClone(topology) as Record<string, unknown>;
  const root = (copy.model_config ?? copy) as Record<string, unknown>;
  const layer = outputLayer(root);
  const config = layer?.config as Record<string, unknown> | undefined;
  if (!layer || !config) return { topology: copy, origin: "output" };
  const kind = layer.class_name;
  if (kind === "Softmax") {
    layer.class_name = "Activation";
    layer.config = { name: config.name, trainable: false, activation: "linear" };
    return { topology: copy, origin: "before-softmax" };
  }
  const activation = activationOf(config.activation);
  if (activation === "softmax") {
    config.activation = "linear";
    return { topology: copy, origin: "before-softmax" };
  }
  if (activation === "sigmoid" || activation === "hardSigmoid" || activation === "hard_sigmoid") throw squashed(`'${String(config.name)}'`);
  return { topology: copy, origin: "output" };
}

/** The last layer of a Sequential model, the one output of a functional one, however deeply models are nested. */
function outputLayer(model: Record<string, unknown>): Record<string, unknown> | undefined {
  const config = model.config as Record<string, unknown> | unknown[] | undefined;
  const layers = (Array.isArray(config) ? config : config?.layers) as Record<string, unknown>[] | undefined;
  if (!layers || layers.length === 0) return undefined;
  let layer = layers.at(-1);
  if (!Array.isArray(config) && Array.isArray(config?.output_layers)) {
    const outputs = config.output_layers as unknown[];
    const first = Array.isArray(outputs[0]) ? outputs[0] : outputs; // [["name",0,0]], or ["name",0,0] of some converters
    if (Array.isArray(outputs[0]) && outputs.length > 1) {
      throw new IsoergError("USAGE", `the model has ${outputs.length} outputs`, {
        hint: "Save a model whose one output are the class logits.",
      });
    }
    layer = layers.find((candidate) => (candidate.name ?? (candidate.config as Json | undefined)?.name) === first[0]);
  }
  const nested = layer?.class_name;
  return nested === "Sequential" || nested === "Model" || nested === "Functional" ? outputLayer(layer as Record<string, unknown>) : layer;
}

function activationOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  const named = value as { class_name?: string; config?: unknown } | undefined | null;
  return typeof named?.config === "string" ? named.config : named?.class_name?.toLowerCase();
}

interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
}

export interface GraphLogits {
  /** Name of the node whose value are the logits. */
  readonly node: string;
  readonly origin: LogitsOrigin;
  /** Name of what the last matrix product sees, where the logits come from one. */
  readonly features: string | null;
}

const TRANSPARENT = new Set(["Identity", "StopGradient", "PreventGradient"]);

/** @param output name of the graph's output. @throws IsoergError USAGE */
export function graphLogits(topology: Json, output: string): GraphLogits {
  const nodes = new Map((topology.node as GraphNode[]).map((node) => [node.name, node]));
  const follow = (name: string, through: ReadonlySet<string>): GraphNode | undefined => {
    let node = nodes.get(plain(name));
    while (node && through.has(node.op) && node.input?.[0] !== undefined) node = nodes.get(plain(node.input[0]));
    return node;
  };
  const last = follow(output, TRANSPARENT);
  if (last?.op === "Sigmoid") throw squashed(`'${last.name}'`);
  const squashing = last?.op === "Softmax" || last?.op === "LogSoftmax";
  const node = squashing ? (last.input?.[0] as string) : output;
  const product = follow(node, new Set([...TRANSPARENT, "BiasAdd", "Add", "AddV2"]));
  const isProduct = product?.op === "MatMul" || product?.op === "_FusedMatMul";
  return { node, origin: squashing ? "before-softmax" : "output", features: isProduct ? (product.input?.[0] ?? null) : null };
}

/** "^name" is a control dependency, "name:1" the second output. */
function plain(name: string): string {
  return name.replace(/^\^/, "").replace(/:\d+$/, "");
}

function squashed(where: string): IsoergError {
  return new IsoergError("USAGE", `the model ends in a sigmoid (${where}), whose outputs are no logits of exclusive classes`, {
    hint: "Energies need one logit a class, as before a softmax; save the model with that output.",
  });
}

const TOLERANCE = 1e-3;

/**
 * Holds what a model returned against what probabilities look like: rows that add up to 1, or whose logsumexp is 0.
 * @param outputs [n * numClasses]. @throws IsoergError USAGE where they are no logits.
 */
export function checkLogits(outputs: ArrayLike<number>, numClasses: number): void {
  const numRows = outputs.length / numClasses;
  let sums = 0;
  let logs = 0;
  for (let i = 0; i < numRows; i++) {
    let sum = 0;
    let sumExp = 0;
    let inRange = true;
    let negative = true;
    for (let k = 0; k < numClasses; k++) {
      const value = outputs[i * numClasses + k] as number;
      if (!Number.isFinite(value)) {
        throw new IsoergError("USAGE", `the model's output for sample ${i} is ${value}`, {
          hint: "Check --input-range, --mean and --std: the model may see values that it was not made for.",
        });
      }
      inRange &&= value >= -TOLERANCE && value <= 1 + TOLERANCE;
      negative &&= value <= TOLERANCE;
      sum += value;
      sumExp += Math.exp(value);
    }
    if (inRange && Math.abs(sum - 1) < TOLERANCE) sums++;
    if (negative && Math.abs(sumExp - 1) < TOLERANCE) logs++;
  }
  if (numRows === 0 || Math.max(sums, logs) < numRows) return;
  const what = sums === numRows ? "probabilities" : "log-probabilities";
  throw new IsoergError(
    "USAGE",
    `the model's outputs are ${what}, which have no energy: ${sums === numRows ? "each row adds up to 1" : "logsumexp of each row is 0"}`,
    {
      hint: "Save the model without its softmax, so that its output are logits.",
    },
  );
}
