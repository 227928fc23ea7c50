/**
 * Group normalisation (Wu & He 2018) and its gradient in TensorFlow.js operations.
 *
 * With n = H W C/groups values in a group: mean = (1/n) sum x, rstd = 1 / sqrt((1/n) sum (x - mean)^2 + epsilon),
 * xhat = (x - mean) rstd, y = gamma xhat + beta. Both statistics are kept as [B, groups].
 */

import type { Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { EngineOps } from "../ops.js";

/** [B,H,W,C] as [B, H W, groups, C/groups]: a group's values are then axes 1 and 3. */
function grouped(x: Tensor4D, groups: number): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  return tf.reshape(x, [batch, height * width, groups, channels / groups]);
}

function groupMean(x: Tensor4D): Tensor4D {
  return tf.mean(x, [1, 3], true); // [B,1,groups,1]
}

export const groupNormalisation: Pick<EngineOps, "groupNorm" | "groupNormGrad"> = {
  groupNorm(x, gamma, beta, groups, epsilon) {
    return tf.tidy(() => {
      const xg = grouped(x, groups);
      const mean = groupMean(xg);
      const centred = tf.sub<Tensor4D>(xg, mean);
      const rstd = tf.rsqrt(tf.add<Tensor4D>(groupMean(tf.square(centred)), epsilon));
      const xhat = tf.reshape(tf.mul(centred, rstd), x.shape);
      const statistics: [number, number] = [x.shape[0], groups];
      return { y: tf.add<Tensor4D>(tf.mul(xhat, gamma), beta), mean: tf.reshape(mean, statistics), rstd: tf.reshape(rstd, statistics) };
    });
  },

  groupNormGrad(dy, x, mean, rstd, gamma, groups, want) {
    const statistics: [number, number, number, number] = [x.shape[0], 1, groups, 1];
    const scale = tf.reshape(rstd, statistics);
    const xhat = tf.tidy(() => tf.mul<Tensor4D>(tf.sub(grouped(x, groups), tf.reshape(mean, statistics)), scale));
    // With g = dL/dxhat = dy gamma: dx = rstd (g - mean(g) - xhat mean(g xhat)), means over the group
    const dx = tf.tidy(() => {
      const g = grouped(tf.mul<Tensor4D>(dy, gamma), groups);
      const parallel = tf.mul(xhat, groupMean(tf.mul<Tensor4D>(g, xhat)));
      return tf.reshape(tf.mul(scale, tf.sub(tf.sub(g, groupMean(g)), parallel)), x.shape) as Tensor4D;
    });
    const dgamma = want === "all" ? tf.tidy(() => sumOverPixels(tf.mul(dy, tf.reshape(xhat, x.shape)))) : null;
    const dbeta = want === "all" ? sumOverPixels(dy) : null;
    tf.dispose([scale, xhat]);
    return { dx, dgamma, dbeta };
  },
};

function sumOverPixels(x: Tensor): Tensor1D {
  return tf.sum(x, [0, 1, 2]); // [C]
}
