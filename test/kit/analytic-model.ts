/**
 * Models whose energies are known in closed form, behind the same interface as the networks: oracles for attacks and samplers.
 */

import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { BoundModel } from "../../src/model/model.js";

/** f_k(x) = w_k . x, over images [n,H,W,C]; `weights` [K][H*W*C]. */
export function linearModel(weights: readonly (readonly number[])[]): BoundModel {
  const w = tf.keep(tf.tensor2d(weights.map((row) => [...row]))); // [K,D]
  const logits = (x: Tensor4D): Tensor2D => tf.tidy(() => tf.matMul(tf.reshape(x, [x.shape[0], -1]) as Tensor2D, w, false, true));
  return {
    logits,
    inputGradient(x, head) {
      const f = logits(x);
      const gradient = tf.tidy(() => tf.reshape(tf.matMul(head(f), w), x.shape) as Tensor4D);
      return { logits: f, gradient };
    },
    forward: () => {
      throw new Error("an analytic model has no parameters to train");
    },
    dispose: () => w.dispose(),
  };
}

/** One logit, f(x) = -sum (x - mean)^2 / (2 variance): E(x) is a Gaussian's, every pixel independent. */
export function gaussianModel({ mean, variance }: { mean: number; variance: number }): BoundModel {
  const logits = (x: Tensor4D): Tensor2D =>
    tf.tidy(() => tf.reshape(tf.sum(tf.div(tf.square(tf.sub(x, mean)), -2 * variance), [1, 2, 3]), [-1, 1]) as Tensor2D);
  return {
    logits,
    inputGradient(x, head) {
      const f = logits(x);
      const gradient = tf.tidy(() => tf.mul(tf.reshape(head(f), [-1, 1, 1, 1]), tf.div(tf.sub(x, mean), -variance))) as Tensor4D;
      return { logits: f, gradient };
    },
    forward: () => {
      throw new Error("an analytic model has no parameters to train");
    },
    dispose: () => undefined,
  };
}
