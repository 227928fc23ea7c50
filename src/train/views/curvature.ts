/**
 * Probes for CURE: z of length `cure.distance` along the sign of grad L(x), n = unit(grad L(x+z) - grad L(x)), and the points
 * s ahead and s behind along n at x + z (far) and at x (near).
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { lossGradient, unit } from "./input-gradient.js";
import { aroundClean } from "./maker.js";
import { probesAlong } from "./probes.js";

export const curvature = aroundClean(["cure-far-ahead", "cure-far-behind", "cure-near-ahead", "cure-near-behind"], (input, x, total) => {
  const { cure, "difference-step": step } = input.config.objective;
  const gradient = lossGradient(input, x);
  const point = tf.tidy(() => tf.add(x, tf.mul(unit(tf.sign(gradient)), cure.distance)) as Tensor4D);
  const gradientThere = lossGradient(input, point);
  const n = tf.tidy(() => unit(tf.sub(gradientThere, gradient)));
  const far = probesAlong(point, n, step);
  const near = probesAlong(x, n, step);
  tf.dispose([gradient, point, gradientThere, n]);
  return {
    "cure-far-ahead": { x: far.ahead, total, constants: { scale: far.scale } },
    "cure-far-behind": { x: far.behind, total },
    "cure-near-ahead": { x: near.ahead, total },
    "cure-near-behind": { x: near.behind, total },
  };
});
