/**
 * Stochastic weight averaging (Izmailov et al. 2018): the plain mean of the weights at every n-th update late in the training,
 *
 *   a <- a + (p - a) / (k + 1),   k the number of weights in a so far,
 *
 * which is what gets evaluated. Before the first there is no average, and the last weights are evaluated.
 */
import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Average, AverageState, AverageUpdate } from "./average.js";
import { freeing } from "./rule.js";

export interface SwaOptions {
  /** Share of the training before the first weights are taken in. */
  readonly from: number;
  readonly everyUpdates: number;
}

export class Swa implements Average {
  readonly #options: SwaOptions;
  #value: Tensor1D | null = null;
  #count = 0;

  constructor(options: SwaOptions) {
    this.#options = options;
  }

  get value(): Tensor1D | null {
    return this.#value;
  }

  get state(): AverageState {
    return { value: this.#value, count: this.#count };
  }

  update({ after, progress, numUpdates }: AverageUpdate): void {
    if (progress < this.#options.from || numUpdates % this.#options.everyUpdates !== 0) return;
    const old = this.#value;
    if (old) {
      const difference = tf.sub(after, old);
      const move = freeing(tf.mul(difference, 1 / (this.#count + 1)), difference);
      this.#value = freeing(tf.add(old, move), old, move);
    } else {
      this.#value = after.clone();
    }
    this.#count++;
  }

  restore({ value, count }: AverageState): void {
    this.#value?.dispose();
    this.#value = value;
    this.#count = count;
  }

  dispose(): void {
    this.restore({ value: null, count: 0 });
  }
}
