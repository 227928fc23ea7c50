/**
 * Derivatives of the cross-entropy by the input, for makers that look for a neighbour with them; and the vector algebra of
 * samples that they need. All by sample: [n,H,W,C] in, [n,H,W,C] or [n,1,1,1] out.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { crossEntropyHead, targetsOf } from "../../model/heads.js";
import type { Range } from "../../util/range.js";
import { byChunks } from "../micro-batch.js";
import type { StepInput } from "../step-input.js";

/** grad L(x), L the cross-entropy of the slice's labels, in the precision of the inner loops. */
export function lossGradient(input: StepInput, x: Tensor4D): Tensor4D {
  return byChunks(x, input.config.memory.microBatch, (chunk, range) => lossGradientOf(input, chunk, range));
}

/** The same of the samples `from..to` of the slice, in one pass. */
export function lossGradientOf({ inner, clean, numClasses }: StepInput, x: Tensor4D, { from, to }: Range): Tensor4D {
  const targets = targetsOf(clean.labels.subarray(from, to), numClasses);
  const { logits, gradient } = inner.inputGradient(x, crossEntropyHead(targets));
  tf.dispose([targets, logits]);
  return gradient;
}

/** Inner products [n,1,1,1]. */
export function innerProducts(a: Tensor4D, b: Tensor4D): Tensor4D {
  return tf.sum(tf.mul(a, b), [1, 2, 3], true) as Tensor4D;
}

/** L2 norms [n,1,1,1]. */
export function norms(x: Tensor4D): Tensor4D {
  return tf.sqrt(innerProducts(x, x)) as Tensor4D;
}

/** x / |x|; a sample of zeros stays one. */
export function unit(x: Tensor4D): Tensor4D {
  return tf.div(x, tf.maximum(norms(x), 1e-30)) as Tensor4D;
}

/** A value a sample, on the host. */
export function perSample(x: Tensor4D): Float64Array {
  return Float64Array.from(x.dataSync<"float32">());
}
