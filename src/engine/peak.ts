/**
 * The fastest matrix product that an engine reaches on this machine, in GFLOP/s: the yardstick that a training step's speed is
 * a share of. Square float32 (or bfloat16) matrices of growing size; the best counts, since everything else only slows it down.
 */
import type { Tensor, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { ops, type Precision } from "./ops.js";

export interface PeakOptions {
  readonly precision: Precision;
  /** Stop after so long; at least two products are timed. */
  readonly budgetMs: number;
  readonly nowMs: () => number;
}

/** @returns GFLOP/s, a multiplication and an addition counting as two. */
export function measurePeak({ precision, budgetMs, nowMs }: PeakOptions): number {
  const start = nowMs();
  let best = 0;
  let size = 64;
  do {
    for (const multiply of [matrixProduct(size, precision), pointwiseConvolution(size, precision)]) {
      const timed = [1, 2, 3].map(() => {
        const before = nowMs();
        multiply.run();
        return nowMs() - before;
      });
      multiply.dispose();
      best = Math.max(best, (2 * size ** 3) / Math.min(...timed) / 1e6);
    }
    size *= 2;
  } while (nowMs() - start < budgetMs / 8 && size <= 8192); // the next size takes eight times as long
  return best;
}

interface Multiplication {
  run(): void;
  dispose(): void;
}

function matrixProduct(size: number, precision: Precision): Multiplication {
  const a = operand([size, size], precision) as Tensor2D;
  return { run: () => finish(tf.matMul(a, a)), dispose: () => a.dispose() };
}

/** The same product as a 1x1 convolution: some libraries keep their better code for it. */
function pointwiseConvolution(size: number, precision: Precision): Multiplication {
  const image = operand([size / 64, 8, 8, size], precision) as Tensor4D;
  const weights = operand([1, 1, size, size], "fp32") as Tensor4D;
  const filter = ops().layoutFilter(weights, precision);
  weights.dispose();
  return {
    run: () => finish(ops().conv2d(image, filter, null, { stride: 1, padding: 0 })),
    dispose: () => tf.dispose([image, filter]),
  };
}

/** Waits for a device that computes on its own, by reading one value. */
function finish(product: Tensor): void {
  const one = tf.tidy(() => tf.slice(tf.reshape(product, [product.size]), 0, 1));
  one.dataSync();
  tf.dispose([product, one]);
}

function operand(shape: number[], precision: Precision): Tensor {
  const exact = tf.tensor(
    Float32Array.from({ length: tf.util.sizeFromShape(shape) }, (_, i) => Math.sin(i)),
    shape,
  );
  const stored = ops().toPrecision(exact, precision);
  exact.dispose();
  return stored;
}
