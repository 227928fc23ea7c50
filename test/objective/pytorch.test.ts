/**
 * Every ready-made system's loss, its gradient by the parameters and by each kind of sample, against PyTorch in float64, where
 * formulas and weights are written down a second time (pytorch_objectives.py). And the terms of local smoothness, where PyTorch
 * back-propagates twice and we take differences of two passes.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors.js";
import { experimentNames, loadConfig } from "../../src/config/load.js";
import { type Config, configSchema } from "../../src/config/schema.js";
import { startCpu } from "../../src/engine/cpu.js";
import { createModel } from "../../src/model/create.js";
import type { Model } from "../../src/model/model.js";
import { Drives } from "../../src/objective/drives.js";
import { createObjective } from "../../src/objective/objective.js";
import type { TermName } from "../../src/objective/terms.js";
import { createView, type View, type ViewName } from "../../src/objective/view.js";
import { createPhaseClock } from "../../src/train/clock.js";
import { differentiate } from "../../src/train/differentiate.js";
import { Gradient } from "../../src/train/gradient.js";
import { createSoloLink } from "../../src/train/solo-link.js";
import type { StepInput } from "../../src/train/step-input.js";
import { makeViews } from "../../src/train/views/views.js";
import { relativeDistance, relativeError } from "../kit/close.js";
import { decode, encode, hasPyTorch, pyTorchNote, runPyTorch } from "../kit/pytorch.js";
import { normalValues } from "../model/finite-differences.js";

const SHAPE = [8, 8, 3] as const;
const CLASSES = 4;
const LABELS = Int32Array.from([0, 3, 1, 2, 2, 0]);
const NUM_CHAINS = 5;
const SIZE = 8 * 8 * 3;

/** Made by other means than training: fixed batches that are close where they would be close. */
const pixels = (seed: number, count: number): Float32Array =>
  normalValues(count * SIZE, seed).map((v) => Math.min(0.9, Math.max(0.1, 0.5 + 0.2 * v)));
const near = (x: Float32Array, seed: number, eps: number): Float32Array => {
  const noise = normalValues(x.length, seed);
  return x.map((v, i) => v + eps * Math.sign(noise[i] as number));
};
const clean = pixels(11, LABELS.length);
const FIXED: Readonly<Partial<Record<ViewName, Float32Array>>> = {
  clean,
  natural: near(clean, 12, 0.05),
  adversarial: near(clean, 13, 8 / 255),
  generated: pixels(14, NUM_CHAINS),
};

/** The quickstarts are jdat's terms with other weights. */
const PRESETS = experimentNames().filter((name) => !name.startsWith("quickstart"));

interface TermCase {
  readonly term: TermName;
  /** `objective.difference-step` */
  readonly step?: number;
  /** Largest error of the value, and of the gradient in its own scale. */
  readonly tolerance?: number;
}

const TERM_CASES: readonly TermCase[] = [
  { term: "vat" },
  { term: "elle" },
  { term: "elle-energy" },
  { term: "logit-pairing" },
  { term: "clean-logit-pairing" },
  { term: "logit-squeezing" },
  { term: "align-adversarial-squared" },
  { term: "align-generated-moments" },
  // What the differences of two float32 passes leave, at the default step.
  { term: "llr", tolerance: 5e-4 },
  { term: "llr-gradient", tolerance: 5e-4 },
  { term: "grad-align", tolerance: 5e-4 },
  { term: "cure", tolerance: 5e-4 },
  // Four times the step, sixteen times the error.
  { term: "llr-gradient", step: 0.08, tolerance: 8e-3 },
];

const titleOf = ({ term, step }: TermCase): string => (step === undefined ? term : `${term} with a step of ${step}`);

interface Found {
  readonly loss: number;
  readonly parameters: ReadonlyMap<string, Float32Array>;
  readonly inputs: ReadonlyMap<string, Float32Array>;
}

interface Answer {
  readonly loss: number;
  readonly parameters: Readonly<Record<string, string>>;
  readonly inputs: Readonly<Record<string, string>>;
}

let folder = "";
const found = new Map<string, Found>();
const answers = new Map<string, Answer>();

beforeAll(async () => {
  if (!hasPyTorch) return;
  await startCpu();
  folder = mkdtempSync(join(tmpdir(), "isoerg-objectives-"));
  const questions = [...PRESETS.map(presetCase), ...TERM_CASES.map(termCase)];
  const replies = runPyTorch(new URL("pytorch_objectives.py", import.meta.url).pathname, questions) as Answer[];
  questions.forEach(({ title }, i) => void answers.set(title, replies[i] as Answer));
}, 120_000);

afterAll(() => {
  if (folder) rmSync(folder, { recursive: true });
});

/** A small network with an experiment's activation and input scale, and its weights as a file for the other side. */
function network(name: string, config: Config): { model: Model; values: Float32Array; weights: string } {
  const { activation, input } = config.model;
  const stages = [{ channels: 5 }, { channels: 7, stride: 2 }];
  const small = configSchema.shape.model.parse({ kind: "convnet", stages, activation, input });
  const model = createModel(small, SHAPE, CLASSES);
  const noise = normalValues(model.numParameters, 3, 0.1);
  const values = model.initial(2n).map((v, i) => v + (noise[i] as number));
  const weights = join(folder, `${name}.safetensors`);
  const tensors = model.parameters.map(
    ({ name: tensor, shape, offset, size }) =>
      [tensor, { dtype: "F32" as const, shape, data: values.subarray(offset, offset + size) }] as const,
  );
  writeFileSync(weights, encodeSafetensors(new Map(tensors)));
  return { model, values, weights };
}

const byName = (model: Model, flat: Float32Array): Map<string, Float32Array> =>
  new Map(model.parameters.map(({ name, offset, size }) => [name, flat.slice(offset, offset + size)]));

const encoded = (views: ReadonlyMap<string, Float32Array>): Record<string, string> =>
  Object.fromEntries([...views].map(([name, x]) => [name, encode(x)]));

/** An experiment's objective at the end of its warm-ups, on the fixed batches. */
function presetCase(name: string) {
  const { config } = loadConfig({ source: name, env: {} });
  const { model, values, weights } = network(name, config);
  const objective = createObjective(config.objective);
  const bound = model.bind(tf.tensor1d(values), "fp32");
  const x = new Map([...objective.views].map((view) => [view, FIXED[view] as Float32Array]));
  const tensors = new Map([...x].map(([view, images]) => [view, tf.tensor4d(images, [images.length / SIZE, ...SHAPE])] as const));
  const pass = bound.forward(tf.concat([...tensors.values()]) as Tensor4D);
  const logits = pass.logits.dataSync<"float32">() as Float32Array;
  const views: Partial<Record<ViewName, View>> = {};
  let from = 0;
  for (const [view, images] of x) {
    const to = from + (images.length / SIZE) * CLASSES;
    views[view] = createView(logits.subarray(from, to), { numClasses: CLASSES, total: images.length / SIZE });
    from = to;
  }
  const figures = objective.evaluate(views, { labels: LABELS, progress: 1, sumOverWorkers: () => undefined });
  const dLogits = new Map(
    [...x.keys()].map((view) => [
      view,
      tf.tensor2d(
        Float32Array.from((views[view] as View).gradient),
        [-1, CLASSES].map((n) => (n < 0 ? (views[view] as View).n : n)) as [number, number],
      ),
    ]),
  );
  const gradient = new Float32Array(model.numParameters);
  pass.backward(tf.concat([...dLogits.values()]) as Tensor2D, gradient);
  const inputs = new Map(
    [...tensors].map(([view, tensor]) => {
      const { gradient: dx } = bound.inputGradient(tensor, () => (dLogits.get(view) as Tensor2D).clone());
      return [view, dx.dataSync<"float32">() as Float32Array] as const;
    }),
  );
  found.set(name, { loss: figures.loss as number, parameters: byName(model, gradient), inputs });
  return { kind: "preset", title: name, name, weights, shape: SHAPE, labels: [...LABELS], views: encoded(x) };
}

/** One term of weight 1 on the views that the training step makes for it. */
function termCase(of: TermCase) {
  const { term, step } = of;
  const config = configSchema.parse({
    data: { path: "unused" },
    model: { kind: "mlp", activation: "silu", input: { mean: [0.5], std: [0.5] } },
    objective: { [term]: 1, ...(step !== undefined && { "difference-step": step }) },
    attack: { steps: 2 },
    sampler: { chains: NUM_CHAINS, steps: 1 },
  });
  const { model, values, weights } = network(titleOf(of), config);
  const bound = model.bind(tf.tensor1d(values), "fp32");
  const link = createSoloLink({ plan: undefined as never, numSteps: 0, numChains: 0, read: () => undefined as never });
  const gradient = new Gradient(model.numParameters, link);
  const positions = Int32Array.from(LABELS, (_, i) => i);
  const chains = Int32Array.from({ length: NUM_CHAINS }, (_, i) => i);
  const input: StepInput = {
    step: 0,
    progress: 1,
    config,
    seed: 1n,
    shape: SHAPE,
    numClasses: CLASSES,
    clean: { images: clean, natural: () => clean, labels: LABELS, positions, total: LABELS.length },
    chains: {
      positions: chains,
      slots: chains,
      images: FIXED.generated as Float32Array,
      numRestarted: 0,
      meanAge: 0,
    } as StepInput["chains"],
    inner: bound,
    sampling: bound,
    update: bound,
    weights: undefined as never,
    objective: createObjective(config.objective),
    drives: new Drives(config.objective),
    gradient,
    clock: createPhaseClock(() => undefined),
    sumOverWorkers: () => undefined,
  };
  const made = makeViews(input);
  differentiate(made, bound, input);
  const figures = gradient.finish();
  found.set(titleOf(of), { loss: figures.loss as number, parameters: byName(model, gradient.values), inputs: new Map() });
  const views = new Map([...made.samples].map(([view, { x }]) => [view as string, x.dataSync<"float32">() as Float32Array]));
  const share = [...(made.samples.get("between-neighbours")?.constants?.share ?? [])];
  return { kind: "term", title: titleOf(of), name: term, weights, shape: SHAPE, labels: [...LABELS], views: encoded(views), share };
}

/** By all parameters in the same order: ours, and the exact one. */
function gradients(name: string): [number[], number[]] {
  const { parameters } = found.get(name) as Found;
  const exact = answers.get(name) as Answer;
  const names = [...parameters.keys()];
  return [
    names.flatMap((parameter) => [...(parameters.get(parameter) as Float32Array)]),
    names.flatMap((parameter) => [...decode(exact.parameters[parameter] as string)]),
  ];
}

function compare(name: string, tolerance: number): void {
  const own = found.get(name) as Found;
  const exact = answers.get(name) as Answer;
  expect(Math.abs(own.loss - exact.loss) / Math.abs(exact.loss), "loss").toBeLessThan(tolerance);
  expect(Object.keys(exact.parameters).sort()).toEqual([...own.parameters.keys()].sort());
  const [gradient, expected] = gradients(name);
  // In the scale of the whole gradient: that of one parameter may be zero.
  expect(relativeError(gradient, expected), "gradient by the parameters").toBeLessThan(tolerance);
  for (const [view, dx] of Object.entries(exact.inputs)) {
    expect(relativeError(own.inputs.get(view) as Float32Array, decode(dx)), `input ${view}`).toBeLessThan(tolerance);
  }
}

describe.skipIf(!hasPyTorch)(`objectives against PyTorch${pyTorchNote}`, () => {
  it.each(PRESETS)("%s: loss, parameters' and input gradients", (name) => compare(name, 1e-4));

  it.each(TERM_CASES.map((of) => [titleOf(of), of] as const))(
    "term %s: value and parameters' gradient, on the views of a step",
    (title, of) => {
      compare(title, of.tolerance ?? 1e-4);
    },
  );

  it("differences are off by the square of their step", () => {
    const error = (title: string): number => relativeDistance(...gradients(title));
    const ratio = error("llr-gradient with a step of 0.08") / error("llr-gradient");
    expect(ratio).toBeGreaterThan(8);
    expect(ratio).toBeLessThan(32);
  });
});
