/**
 * Probes for GradAlign: with a = grad L(x) and b = grad L(x + u) at a random neighbour, along v = (a/|a| - cos(a,b) b/|b|) / |b|,
 * the derivative of the cosine by b. Where one of the gradients is zero the cosine is taken as 1 and the sample says nothing.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { innerProducts, lossGradient, norms, perSample, unit } from "./input-gradient.js";
import { aroundClean } from "./maker.js";
import { DRAW, neighbour } from "./neighbours.js";
import { probesAlong } from "./probes.js";

export const gradientAlignment = aroundClean(["grad-align-ahead", "grad-align-behind"], (input, x, total) => {
  const at = neighbour(input, x, input.clean.positions, DRAW.gradAlign);
  const a = lossGradient(input, x);
  const b = lossGradient(input, at);
  const [v, cosines, valid] = tf.tidy(() => {
    const size = tf.maximum(norms(b), 1e-30);
    const cos = innerProducts(unit(a), unit(b));
    const nonzero = tf.cast(tf.greater(tf.minimum(norms(a), norms(b)), 0), "float32") as Tensor4D;
    return [tf.mul(nonzero, tf.div(tf.sub(unit(a), tf.mul(unit(b), cos)), size)) as Tensor4D, cos, nonzero] as const;
  });
  const defined = perSample(valid);
  const cosine = perSample(cosines).map((cos, i) => (defined[i] === 1 ? cos : 1));
  const { ahead, behind, scale } = probesAlong(at, v, input.config.objective["difference-step"]);
  tf.dispose([at, a, b, v, cosines, valid]);
  return { "grad-align-ahead": { x: ahead, total, constants: { scale, cosine } }, "grad-align-behind": { x: behind, total } };
});
