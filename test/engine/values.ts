/**
 * Numbers for the engine tests: reproducible random values that float32 holds exactly (so that an engine and the float64
 * oracle start from the same numbers), and the comparison of results in units of the largest expected value.
 */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";
import { fillNormal } from "../../src/engine/random/philox.js";

/** `length` normal values, a function of the seed. */
export function values(length: number, seed: number): Float64Array {
  const drawn = new Float32Array(length);
  fillNormal(drawn, { seed: BigInt(seed), purpose: 200, step: 0, position: 0 });
  return Float64Array.from(drawn);
}

export function tensor<T extends Tensor>(data: Float64Array, shape: readonly number[]): T {
  return tf.tensor(Float32Array.from(data), [...shape], "float32") as T;
}

/** The tensor's values; the tensor is disposed. */
export function take(x: Tensor): Float32Array {
  const data = x.dataSync() as Float32Array;
  const copy = data.slice();
  x.dispose();
  return copy;
}

/**
 * Every value within `tolerance` times the largest magnitude (at least 1): of the expected values, or of `magnitudes`. For long
 * sums these are the sums of the addends' magnitudes, because that is what their rounding grows with, however small they come out.
 */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance = 2e-6,
  magnitudes: ArrayLike<number> = expected,
): void {
  expect(actual.length).toBe(expected.length);
  let scale = 1;
  for (let i = 0; i < magnitudes.length; i++) scale = Math.max(scale, Math.abs(magnitudes[i] as number));
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs((actual[i] as number) - (expected[i] as number)) / scale;
    if (!(error <= worst)) worst = error; // a NaN is the worst error of all
  }
  expect(worst).toBeLessThanOrEqual(tolerance);
}
