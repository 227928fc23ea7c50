/**
 * Random points of the ball, with no help from the model: what a sample endures of chance alone. A real attack that finds less
 * than this is broken (Carlini et al. 2019, "On evaluating adversarial robustness").
 *
 * Linf: uniform in the cube. L2: a uniform direction at the full radius. Keyed by position; draw d is `inner` d.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { type NoiseKey, ops } from "../engine/ops.js";
import type { Classifier } from "../model/model.js";
import type { Norm } from "./apgd.js";
import { answerOf } from "./logit-loss.js";

export interface RandomNoiseInput {
  readonly model: Classifier;
  /** [n,H,W,C] in [0,1]; stay the caller's. */
  readonly x: Tensor4D;
  readonly labels: Int32Array;
  readonly numClasses: number;
  readonly norm: Norm;
  readonly eps: number;
  readonly draws: number;
  readonly key: Omit<NoiseKey, "inner">;
}

/** 1 where some draw was misclassified. */
export function randomNoise(input: RandomNoiseInput): Uint8Array {
  const { model, x, labels, numClasses } = input;
  const fooled = new Uint8Array(labels.length);
  for (let draw = 0; draw < input.draws; draw++) {
    const noisy = randomPoint(x, input.norm, input.eps, { ...input.key, inner: draw });
    const logits = model.logits(noisy);
    const z = logits.dataSync<"float32">() as Float32Array;
    tf.dispose([noisy, logits]);
    labels.forEach((label, i) => {
      if (answerOf(z.subarray(i * numClasses, (i + 1) * numClasses)) !== label) fooled[i] = 1;
    });
  }
  return fooled;
}

function randomPoint(x: Tensor4D, norm: Norm, eps: number, key: NoiseKey): Tensor4D {
  return tf.tidy(() => {
    const noise = ops().noise(norm === "linf" ? "uniform" : "normal", key, x.shape.slice(1));
    const delta =
      norm === "linf" ? tf.sub(tf.mul(noise, 2), 1) : tf.div(noise, tf.add(tf.sqrt(tf.sum(tf.square(noise), [1, 2, 3], true)), 1e-12));
    return tf.clipByValue(tf.add(x, tf.mul(delta, eps)), 0, 1) as Tensor4D;
  });
}
