/** What the tests of attacks share: two linear classes over four pixels, and slices with positions. */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { configSchema, type TrainingAttackConfig } from "../../src/config/schema.js";
import type { BoundModel } from "../../src/model/model.js";

export const W0 = [1, -2, 0.5, 3];
export const W1 = [-1, 1, 0.25, -2];
export const ROWS = [
  [0.5, 0.4, 0.6, 0.3],
  [0.2, 0.9, 0.1, 0.7],
  [0.6, 0.6, 0.6, 0.6],
  [0.31, 0.45, 0.77, 0.5],
] as const;

export function attackConfig(overrides: Record<string, unknown> = {}): TrainingAttackConfig {
  return configSchema.shape.attack.parse(overrides);
}

export function images(rows: readonly (readonly number[])[]): Tensor4D {
  return tf.tensor4d(rows.flat(), [rows.length, 2, 2, 1]);
}

export function keyAt(positions: readonly number[]) {
  return { seed: 7n, purpose: 4, step: 3, positions: Int32Array.from(positions) };
}

/** Two tanh units in front of three classes: a smooth model whose input gradient turns within the ball. */
export function curvedModel(gain = 1): BoundModel {
  const first = tf.keep(
    tf.tensor2d(
      [
        [3, -2],
        [1, 4],
        [-2, 1],
        [0.5, -3],
      ].map((row) => row.map((v) => v * gain)),
    ),
  );
  const second = tf.keep(
    tf.tensor2d([
      [2, -1, 0.5],
      [-1, 1.5, 1],
    ]),
  );
  const hidden = (x: Tensor4D) => tf.tanh(tf.matMul(tf.reshape(tf.sub(x, 0.5), [x.shape[0], 4]) as tf.Tensor2D, first)) as tf.Tensor2D;
  const logits = (x: Tensor4D) => tf.tidy(() => tf.matMul(hidden(x), second) as tf.Tensor2D);
  return {
    logits,
    inputGradient(x, head) {
      const f = logits(x);
      const gradient = tf.tidy(() => {
        const h = hidden(x);
        const dHidden = tf.matMul(head(f), second, false, true);
        return tf.reshape(tf.matMul(tf.mul(dHidden, tf.sub(1, tf.square(h))) as tf.Tensor2D, first, false, true), x.shape) as Tensor4D;
      });
      return { logits: f, gradient };
    },
    forward: () => {
      throw new Error("not trained here");
    },
    dispose: () => tf.dispose([first, second]),
  };
}
