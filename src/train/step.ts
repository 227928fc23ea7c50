/**
 * One training step of one worker: attack its clean samples, advance its chains, and turn the logits of all three kinds of
 * sample into the gradient of the objective.
 *
 * All views go through the network as one batch, forward once and backward once. A slice may be empty: the worker then takes
 * part in the sums with zeros.
 */
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { pgd } from "../attack/pgd.js";
import type { Config } from "../config/schema.js";
import { PURPOSE } from "../engine/random/purpose.js";
import type { BoundModel } from "../model/model.js";
import type { Figures, Objective } from "../objective/objective.js";
import { createView, type View, type ViewName } from "../objective/view.js";
import type { TakenChains } from "../sampler/replay-buffer.js";
import { advanceChains } from "../sampler/sgld.js";
import type { PhaseClock } from "./clock.js";
import type { Gradient } from "./gradient.js";

export interface StepInput {
  readonly step: number;
  /** step / number of steps */
  readonly progress: number;
  readonly config: Config;
  readonly seed: bigint;
  readonly shape: readonly [number, number, number];
  readonly numClasses: number;
  /** This worker's clean samples [n*H*W*C] in [0,1], their labels and global positions. */
  readonly clean: { readonly images: Float32Array; readonly labels: Int32Array; readonly positions: Int32Array; readonly total: number };
  /** This worker's chains, or null in a step without generative terms. */
  readonly chains: TakenChains | null;
  /** The network in the precision of the inner loops, and in that of the update. */
  readonly inner: BoundModel;
  readonly update: BoundModel;
  readonly objective: Objective;
  readonly gradient: Gradient;
  readonly clock: PhaseClock;
  readonly sumOverWorkers: (values: Float32Array) => void;
}

export interface StepOutput {
  /** The advanced chains [n*H*W*C], to be stored if the step commits. */
  readonly chains: Float32Array | null;
}

/** Leaves this worker's share of the gradient and of the figures under way to the sum over all workers. */
export function computeStep(input: StepInput): StepOutput {
  const { config, clock, objective, seed, step } = input;
  const { labels, positions, total } = input.clean;
  const views = new Map<ViewName, { x: Tensor4D; total: number }>();
  const clean = imagesToTensor(input.clean.images, input.shape);
  views.set("clean", { x: clean, total });

  if (objective.views.has("adversarial")) {
    clock.begin("attack");
    const key = { seed, purpose: PURPOSE.attackStart, step, positions };
    const x =
      labels.length === 0
        ? clean.clone()
        : pgd({ model: input.inner, x: clean, labels, numClasses: input.numClasses, config: config.attack, key });
    views.set("adversarial", { x, total });
  }

  let chains: Float32Array | null = null;
  if (input.chains) {
    clock.begin("sample");
    const start = imagesToTensor(input.chains.images, input.shape);
    const key = { seed, purpose: PURPOSE.chainNoise, step, positions: input.chains.positions };
    const x =
      input.chains.positions.length === 0
        ? start
        : advanceChains(start, { model: input.inner, config: config.sampler, steps: config.sampler.steps, key });
    chains = x.dataSync<"float32">() as Float32Array;
    views.set("generated", { x, total: config.sampler.chains });
  }

  clock.begin("gradient");
  differentiate(input, views);
  for (const { x } of views.values()) x.dispose();
  return { chains };
}

function differentiate(input: StepInput, views: ReadonlyMap<ViewName, { x: Tensor4D; total: number }>): void {
  const { numClasses, objective, gradient } = input;
  const numSamples = [...views.values()].reduce((sum, { x }) => sum + x.shape[0], 0);
  const evaluate = (logits: Float32Array): { figures: Figures; dLogits: Float32Array } => {
    const parts: Partial<Record<ViewName, View>> = {};
    let from = 0;
    for (const [name, { x, total }] of views) {
      const to = from + x.shape[0] * numClasses;
      parts[name] = createView(logits.subarray(from, to), { numClasses, total });
      from = to;
    }
    const { labels } = input.clean;
    const figures = objective.evaluate(parts, { labels, progress: input.progress, sumOverWorkers: input.sumOverWorkers });
    const dLogits = new Float32Array(logits.length);
    from = 0;
    for (const part of Object.values(parts)) {
      dLogits.set(part.gradient, from);
      from += part.gradient.length;
    }
    return { figures, dLogits };
  };

  if (numSamples === 0) {
    gradient.begin(evaluate(new Float32Array(0)).figures);
    gradient.values.fill(0);
    gradient.ready(0);
    return;
  }
  const all = tf.concat(
    [...views.values()].map(({ x }) => x),
    0,
  ) as Tensor4D;
  const pass = input.update.forward(all);
  all.dispose();
  const { figures, dLogits } = evaluate(pass.logits.dataSync<"float32">() as Float32Array);
  gradient.begin(figures);
  const dLogitsTensor = tf.tensor2d(dLogits, [numSamples, numClasses]) as Tensor2D;
  pass.backward(dLogitsTensor, gradient.values, gradient.ready);
  tf.dispose([dLogitsTensor, pass.logits]);
}

function imagesToTensor(images: Float32Array, [height, width, channels]: readonly [number, number, number]): Tensor4D {
  return tf.tensor4d(images, [images.length / (height * width * channels), height, width, channels]);
}
