/**
 * The virtual adversarial neighbour of each clean sample (Miyato et al. 2018): x + eps d, where d is found from a random
 * direction by the power method, d <- unit(grad_d KL(p(x) || p(x + xi d))). No labels. Kept inside [0,1].
 */
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { ops } from "../../engine/ops.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { byChunks } from "../micro-batch.js";
import type { StepInput } from "../step-input.js";
import { unit } from "./input-gradient.js";
import { aroundClean } from "./maker.js";
import { DRAW } from "./neighbours.js";

export const virtualAdversarial = aroundClean(["virtual-adversarial"], (input, x, total) => {
  const { positions } = input.clean;
  const moved = byChunks(x, input.config.memory.microBatch, (chunk, { from, to }) => search(input, chunk, positions.subarray(from, to)));
  return { "virtual-adversarial": { x: moved, total } };
});

function search({ config, inner, seed, step }: StepInput, x: Tensor4D, positions: Int32Array): Tensor4D {
  const { eps, probe, iterations } = config.objective.vat;
  const key = { seed, purpose: PURPOSE.neighbour, step, positions, inner: DRAW.vat };
  const clean = inner.logits(x);
  const target = tf.softmax(clean) as Tensor2D;
  let direction = tf.tidy(() => unit(ops().noise("normal", key, x.shape.slice(1)) as Tensor4D));
  for (let i = 0; i < iterations; i++) {
    const probed = tf.tidy(() => tf.add(x, tf.mul(direction, probe)) as Tensor4D);
    const { logits, gradient } = inner.inputGradient(probed, (f) => tf.sub(tf.softmax(f), target));
    const next = tf.tidy(() => unit(gradient));
    tf.dispose([probed, logits, gradient, direction]);
    direction = next;
  }
  const moved = tf.tidy(() => tf.clipByValue(tf.add(x, tf.mul(direction, eps)), 0, 1) as Tensor4D);
  tf.dispose([clean, target, direction]);
  return moved;
}
