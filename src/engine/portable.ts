/**
 * Every operation of `EngineOps` in plain TensorFlow.js: the reference that faster engines are compared with, and what they
 * start from. It runs on any backend that has the kernels; on `cpu` it is exact and slow. Nothing here knows bfloat16:
 * `toPrecision` hands the same storage back.
 */

import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { invariant } from "../util/error.js";
import type { EngineOps } from "./ops.js";
import { activation, activationGrad } from "./portable/activation.js";
import { convolution } from "./portable/convolution.js";
import { groupNormalisation } from "./portable/group-norm.js";
import { noise } from "./portable/noise.js";

export const portableOps: EngineOps = {
  ...convolution,
  ...groupNormalisation,
  activation,
  activationGrad,
  noise,

  toPrecision<T extends Tensor>(x: T): T {
    return x.clone();
  },

  spatialMean(x) {
    return tf.mean(x, [1, 2]);
  },

  spatialMeanGrad(dy, inputShape) {
    const [batch = 0, height = 0, width = 0, channels = 0] = inputShape;
    return tf.tidy(() => tf.mul<Tensor4D>(tf.reshape(dy, [batch, 1, 1, channels]), tf.fill([...inputShape], 1 / (height * width))));
  },

  readInto(x, target) {
    invariant(x.dtype === "float32" && x.size === target.length, `readInto of ${x.dtype} [${x.shape}] into ${target.length} floats`);
    target.set(x.dataSync());
  },
};
