/**
 * Noise drawn on the host: each row of the result is the Philox stream of its own position, so that the values depend on
 * the key alone, never on which worker draws them or beside which other rows.
 */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { NoiseKey } from "../ops.js";
import { fillNormalRows, fillUniformRows } from "../random/philox.js";

export function noise(kind: "uniform" | "normal", key: NoiseKey, sampleShape: readonly number[]): Tensor {
  const shape = [key.positions.length, ...sampleShape];
  const values = new Float32Array(tf.util.sizeFromShape(shape));
  if (kind === "normal") fillNormalRows(values, key);
  else fillUniformRows(values, key);
  return tf.tensor(values, shape);
}
