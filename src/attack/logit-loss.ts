/**
 * Losses that strong attacks ascend, as functions of one sample's logits: value and gradient in float64 on the host.
 *
 * | loss | L(z, y) | source |
 * | --- | --- | --- |
 * | cross-entropy | logsumexp z - z_y | |
 * | margin | max_{k != y} z_k - z_y | Carlini & Wagner 2017 |
 * | dlr | -(z_y - max_{k != y} z_k) / (z_(1) - z_(3)) | Croce & Hein 2020, eq. 6 |
 * | targeted dlr | -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) | Croce & Hein 2020, eq. 7 |
 *
 * z_(i) is the i-th largest logit. The last two do not change when logits are shifted or scaled. A network's own passes stay on
 * the engine; only the logits, a few numbers a sample, come to the host and go back as dL/dlogits.
 */
import type { Tensor2D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Head } from "../model/model.js";
import { invariant } from "../util/error.js";

/** The loss of one sample; writes dL/dlogits over `gradient` [K]. `sample` is its index in the slice under attack. */
export type LogitLoss = (logits: Float32Array, sample: number, gradient: Float64Array) => number;

/** Keeps the published code's denominators from zero; far below any difference of float32 logits that matters. */
const TINY = 1e-12;

export function crossEntropyLoss(labels: ArrayLike<number>): LogitLoss {
  return (logits, sample, gradient) => {
    const own = labels[sample] as number;
    const max = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    let sum = 0;
    for (let k = 0; k < logits.length; k++) sum += gradient[k] = Math.exp((logits[k] as number) - max);
    for (let k = 0; k < logits.length; k++) gradient[k] = (gradient[k] as number) / sum - (k === own ? 1 : 0);
    return max + Math.log(sum) - (logits[own] as number);
  };
}

export function marginLoss(labels: ArrayLike<number>): LogitLoss {
  return (logits, sample, gradient) => {
    const own = labels[sample] as number;
    const rival = rivalOf(logits, own);
    gradient.fill(0);
    gradient[rival] = 1;
    gradient[own] = -1;
    return (logits[rival] as number) - (logits[own] as number);
  };
}

/** Needs three classes or more. */
export function dlrLoss(labels: ArrayLike<number>): LogitLoss {
  return (logits, sample, gradient) => {
    invariant(logits.length >= 3, `the DLR loss needs 3 classes, not ${logits.length}`);
    const own = labels[sample] as number;
    const rival = rivalOf(logits, own);
    const [first, , third] = ranked(logits) as [number, number, number];
    return quotient(logits, gradient, { own, rival, denominator: { [first]: 1, [third]: -1 } });
  };
}

/** Towards `targets`. Needs four classes or more. */
export function targetedDlrLoss(labels: ArrayLike<number>, targets: ArrayLike<number>): LogitLoss {
  return (logits, sample, gradient) => {
    invariant(logits.length >= 4, `the targeted DLR loss needs 4 classes, not ${logits.length}`);
    const [first, , third, fourth] = ranked(logits) as [number, number, number, number];
    const denominator = { [first]: 1, [third]: -0.5, [fourth]: -0.5 };
    return quotient(logits, gradient, { own: labels[sample] as number, rival: targets[sample] as number, denominator });
  };
}

/** (z_rival - z_own) / sum_k c_k z_k, with its gradient. */
function quotient(
  logits: Float32Array,
  gradient: Float64Array,
  { own, rival, denominator }: { own: number; rival: number; denominator: Readonly<Record<number, number>> },
): number {
  const difference = (logits[rival] as number) - (logits[own] as number);
  let scale = TINY;
  for (const [k, factor] of Object.entries(denominator)) scale += factor * (logits[Number(k)] as number);
  gradient.fill(0);
  for (const [k, factor] of Object.entries(denominator)) gradient[Number(k)] = (-difference * factor) / scale ** 2;
  gradient[rival] = (gradient[rival] as number) + 1 / scale;
  gradient[own] = (gradient[own] as number) - 1 / scale;
  return difference / scale;
}

/** The class with the largest logit among those that are not `own`. */
function rivalOf(logits: Float32Array, own: number): number {
  let rival = own === 0 ? 1 : 0;
  for (let k = rival + 1; k < logits.length; k++) if (k !== own && (logits[k] as number) > (logits[rival] as number)) rival = k;
  return rival;
}

/** Classes from the largest logit to the smallest; equal logits keep the order of their classes. */
export function ranked(logits: ArrayLike<number>): number[] {
  return Array.from({ length: logits.length }, (_, k) => k).sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
}

/** The class that a classifier answers with: the first of the largest logits; -1 where none is a number. */
export function answerOf(logits: ArrayLike<number>): number {
  let best = -1;
  let bestValue = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < logits.length; k++) {
    const value = logits[k] as number;
    if (value > bestValue) [best, bestValue] = [k, value];
  }
  return best;
}

export interface LossPass {
  /** For `inputGradient`. */
  readonly head: Head;
  /** Of each row, once the pass has run. */
  readonly values: Float64Array;
  /** What the model answered for each row. */
  readonly answers: Int32Array;
}

/** A loss as a head on the engine's logits; `samples[row]` is the sample that stands in a row of the batch. */
export function lossPass(loss: LogitLoss, samples: ArrayLike<number>): LossPass {
  const numRows = samples.length;
  const values = new Float64Array(numRows);
  const answers = new Int32Array(numRows);
  const head: Head = (logits) => {
    const numClasses = logits.shape[1];
    const z = logits.dataSync<"float32">() as Float32Array;
    const gradient = new Float32Array(numRows * numClasses);
    const one = new Float64Array(numClasses);
    for (let row = 0; row < numRows; row++) {
      const own = z.subarray(row * numClasses, (row + 1) * numClasses);
      values[row] = loss(own, samples[row] as number, one);
      answers[row] = answerOf(own);
      gradient.set(one, row * numClasses);
    }
    return tf.tensor2d(gradient, [numRows, numClasses]) as Tensor2D;
  };
  return { head, values, answers };
}
