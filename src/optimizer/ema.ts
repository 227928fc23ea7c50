/**
 * The exponential moving average of the parameters, e <- e + (1 - d) (p - e), which is what gets evaluated. It starts at the
 * parameters from before the first update. Three passes over memory of their size.
 */

import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Average, AverageState, AverageUpdate } from "./average.js";
import { freeing } from "./rule.js";

export class Ema implements Average {
  readonly #decay: number;
  #value: Tensor1D | null = null;

  constructor(decay: number) {
    this.#decay = decay;
  }

  get value(): Tensor1D | null {
    return this.#value;
  }

  get state(): AverageState {
    return { value: this.#value, count: 0 };
  }

  update({ before, after }: AverageUpdate): void {
    const old = this.#value ?? before.clone();
    const difference = tf.sub(after, old);
    const move = freeing(tf.mul(difference, 1 - this.#decay), difference);
    this.#value = freeing(tf.add(old, move), old, move);
  }

  restore({ value }: AverageState): void {
    this.#value?.dispose();
    this.#value = value;
  }

  dispose(): void {
    this.restore({ value: null, count: 0 });
  }
}
