/**
 * Stochastic gradient descent with Nesterov momentum and L2 weight decay, as torch.optim.SGD(nesterov=True):
 *
 *   g <- g + w p        w = weight decay on weights, 0 on biases and norms
 *   m <- mu m + g
 *   p <- p - lr (g + mu m)
 *
 * Eight passes over memory of the parameters' size, six without weight decay, two without momentum.
 */

import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { freeing, type UpdateRule } from "./rule.js";

export interface SgdOptions {
  readonly momentum: number;
  /** Weight decay of each parameter, or null for none. The rule takes it over. */
  readonly decay: Tensor1D | null;
}

const MOMENTUM = "momentum";

export class Sgd implements UpdateRule {
  readonly stateNames: readonly string[];
  readonly #options: SgdOptions;
  #momentum: Tensor1D | null = null;
  #numUpdates = 0;

  constructor(options: SgdOptions) {
    this.#options = options;
    this.stateNames = options.momentum === 0 ? [] : [MOMENTUM];
  }

  get numUpdates(): number {
    return this.#numUpdates;
  }

  get state(): ReadonlyMap<string, Tensor1D> {
    return new Map(this.#momentum ? [[MOMENTUM, this.#momentum]] : []);
  }

  update(parameters: Tensor1D, gradient: Tensor1D, learningRate: number): Tensor1D {
    const { decay } = this.#options;
    let g = gradient;
    if (decay) {
      const pull = tf.mul(parameters, decay);
      g = freeing(tf.add(g, pull), g, pull);
    }
    const direction = this.#accelerate(g);
    const move = freeing(tf.mul(direction, learningRate), direction);
    this.#numUpdates++;
    return freeing(tf.sub(parameters, move), move);
  }

  restore(state: ReadonlyMap<string, Tensor1D>, numUpdates: number): void {
    this.#momentum?.dispose();
    this.#momentum = state.get(MOMENTUM) ?? null;
    this.#numUpdates = numUpdates;
  }

  dispose(): void {
    this.#options.decay?.dispose();
    this.#momentum?.dispose();
    this.#momentum = null;
  }

  /** g -> g + mu m, with m <- mu m + g. */
  #accelerate(g: Tensor1D): Tensor1D {
    const mu = this.#options.momentum;
    if (mu === 0) return g;
    // From zeros, not from g itself: g may share the caller's memory.
    const before = this.#momentum ?? tf.zeros<tf.Rank.R1>([g.size]);
    const faded = freeing(tf.mul<Tensor1D>(before, mu), before);
    this.#momentum = freeing(tf.add<Tensor1D>(faded, g), faded);
    const ahead = tf.mul(this.#momentum, mu);
    return freeing(tf.add(g, ahead), g, ahead);
  }
}
