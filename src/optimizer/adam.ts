/**
 * Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW. At update t:
 *
 *   p <- p - lr w p                       w = weight decay on weights, 0 on biases and norms
 *   m <- b1 m + (1 - b1) g
 *   v <- b2 v + (1 - b2) g g
 *   p <- p - lr / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)
 *
 * Thirteen passes over memory of the parameters' size, sixteen with weight decay.
 */

import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { freeing, type UpdateRule } from "./rule.js";

export interface AdamOptions {
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** Weight decay of each parameter, or null for none. The rule takes it over. */
  readonly decay: Tensor1D | null;
}

const FIRST = "first-moment";
const SECOND = "second-moment";

export class Adam implements UpdateRule {
  readonly stateNames = [FIRST, SECOND];
  readonly #options: AdamOptions;
  #first: Tensor1D | null = null;
  #second: Tensor1D | null = null;
  #numUpdates = 0;

  constructor(options: AdamOptions) {
    this.#options = options;
  }

  get numUpdates(): number {
    return this.#numUpdates;
  }

  get state(): ReadonlyMap<string, Tensor1D> {
    const state = new Map<string, Tensor1D>();
    if (this.#first) state.set(FIRST, this.#first);
    if (this.#second) state.set(SECOND, this.#second);
    return state;
  }

  update(parameters: Tensor1D, gradient: Tensor1D, learningRate: number): Tensor1D {
    const { betas, epsilon } = this.#options;
    const [b1, b2] = betas;
    const t = ++this.#numUpdates;
    const squared = tf.mul<Tensor1D>(gradient, gradient);
    const first = average(this.#first ?? tf.zeros([gradient.size]), gradient, b1);
    const second = average(this.#second ?? tf.zeros([gradient.size]), squared, b2);
    this.#first = first;
    this.#second = second;

    const root = tf.sqrt(second);
    const unbiased = freeing(tf.mul(root, 1 / Math.sqrt(1 - b2 ** t)), root);
    const denominator = freeing(tf.add(unbiased, epsilon), unbiased);
    const ratio = freeing(tf.div(first, denominator), denominator);
    const move = freeing(tf.mul(ratio, learningRate / (1 - b1 ** t)), ratio);
    const decayed = this.#decay(parameters, learningRate);
    return freeing(tf.sub(decayed, move), decayed, move);
  }

  restore(state: ReadonlyMap<string, Tensor1D>, numUpdates: number): void {
    this.#first?.dispose();
    this.#second?.dispose();
    this.#first = state.get(FIRST) ?? null;
    this.#second = state.get(SECOND) ?? null;
    this.#numUpdates = numUpdates;
  }

  dispose(): void {
    this.#options.decay?.dispose();
    this.#first?.dispose();
    this.#second?.dispose();
    this.#first = null;
    this.#second = null;
  }

  /** p - lr w p, as a handle of its own. */
  #decay(parameters: Tensor1D, learningRate: number): Tensor1D {
    const { decay } = this.#options;
    if (!decay) return parameters.clone();
    const rate = tf.mul(decay, learningRate);
    const pull = freeing(tf.mul(parameters, rate), rate);
    return freeing(tf.sub(parameters, pull), pull);
  }
}

/** b mean + (1 - b) value. Frees both. */
function average(mean: Tensor1D, value: Tensor1D, b: number): Tensor1D {
  const faded = freeing(tf.mul<Tensor1D>(mean, b), mean);
  const news = freeing(tf.mul<Tensor1D>(value, 1 - b), value);
  return freeing(tf.add<Tensor1D>(faded, news), faded, news);
}
