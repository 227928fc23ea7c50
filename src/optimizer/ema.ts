/**
 * The exponential moving average of the parameters, e <- e + (1 - d) (p - e), which is what gets evaluated. It starts at the
 * parameters from before the first update. Three passes over memory of their size.
 */

import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { freeing } from "./rule.js";

export class Ema {
  readonly #decay: number;
  #value: Tensor1D | null = null;

  constructor(decay: number) {
    this.#decay = decay;
  }

  /** null before the first update. */
  get value(): Tensor1D | null {
    return this.#value;
  }

  update(before: Tensor1D, after: Tensor1D): void {
    const old = this.#value ?? before.clone();
    const difference = tf.sub(after, old);
    const move = freeing(tf.mul(difference, 1 - this.#decay), difference);
    this.#value = freeing(tf.add(old, move), old, move);
  }

  /** Takes the tensor over. */
  restore(value: Tensor1D | null): void {
    this.#value?.dispose();
    this.#value = value;
  }

  dispose(): void {
    this.restore(null);
  }
}
