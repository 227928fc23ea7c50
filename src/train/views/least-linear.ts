/**
 * The neighbour x + d of the training attack's ball where the loss is least linear (LLR, Qin et al. 2019): signed ascent on
 * |L(x+d) - L(x) - d . grad L(x)|, whose gradient by d is sign(...) (grad L(x+d) - grad L(x)); and the probes for d . grad L(x).
 */
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { crossEntropyHead, targetsOf } from "../../model/heads.js";
import { byChunks } from "../micro-batch.js";
import type { StepInput } from "../step-input.js";
import { innerProducts, norms } from "./input-gradient.js";
import { aroundClean } from "./maker.js";
import { DRAW, neighbour } from "./neighbours.js";
import { probesAlong } from "./probes.js";

export const leastLinear = aroundClean(["llr", "llr-ahead", "llr-behind"], (input, x, total) => {
  const { labels, positions } = input.clean;
  const moved = byChunks(x, input.config.memory.microBatch, (chunk, { from, to }) =>
    search(input, chunk, labels.subarray(from, to), positions.subarray(from, to)),
  );
  const d = tf.sub(moved, x) as Tensor4D;
  const { ahead, behind, scale } = probesAlong(x, d, input.config.objective["difference-step"]);
  d.dispose();
  return {
    llr: { x: moved, total },
    "llr-ahead": { x: ahead, total, constants: { scale } },
    "llr-behind": { x: behind, total },
  };
});

function search(input: StepInput, x: Tensor4D, labels: Int32Array, positions: Int32Array): Tensor4D {
  const { inner, numClasses } = input;
  const { norm, eps } = input.config.attack;
  const { steps, stepSize } = input.config.objective.llr;
  const targets = targetsOf(labels, numClasses);
  const head = crossEntropyHead(targets);
  const lossOf = (f: Tensor2D): Tensor4D => tf.reshape(tf.sub(tf.logSumExp(f, 1), tf.sum(tf.mul(f, targets), 1)), [-1, 1, 1, 1]);
  const { logits, gradient } = inner.inputGradient(x, head);
  const loss = tf.tidy(() => lossOf(logits));
  logits.dispose();
  let current = neighbour(input, x, positions, DRAW.llr);
  for (let step = 0; step < steps; step++) {
    const there = inner.inputGradient(current, head);
    const next = tf.tidy(() => {
      const d = tf.sub(current, x) as Tensor4D;
      const departure = tf.sub(tf.sub(lossOf(there.logits), loss), innerProducts(d, gradient));
      const ascent = tf.mul(tf.sign(departure), tf.sub(there.gradient, gradient)) as Tensor4D;
      const moved = tf.add(d, norm === "linf" ? tf.mul(tf.sign(ascent), stepSize) : along(ascent, stepSize)) as Tensor4D;
      const inside = norm === "linf" ? tf.clipByValue(moved, -eps, eps) : tf.mul(moved, tf.minimum(tf.div(eps, safe(norms(moved))), 1));
      return tf.clipByValue(tf.add(x, inside), 0, 1) as Tensor4D;
    });
    tf.dispose([current, there.logits, there.gradient]);
    current = next;
  }
  tf.dispose([targets, gradient, loss]);
  return current;
}

const safe = (x: Tensor4D): Tensor4D => tf.maximum(x, 1e-12) as Tensor4D;
const along = (x: Tensor4D, length: number): Tensor4D => tf.mul(tf.div(x, safe(norms(x))), length) as Tensor4D;
