/** Group norm on bfloat16 images (native/group_norm.h): statistics and parameters stay float32. Skipped where there is no libtorch. */

import type { Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { ops, type Precision } from "../../src/engine/ops.js";
import { startTestTorch, torchMissing } from "./torch-kit.js";
import { expectClose, take, tensor, values } from "./values.js";

const missing = await torchMissing();

if (missing) describe.skip("group norm in the torch engine", () => it.skip(`skipped: ${missing}`, () => {}));
else {
  describe("group norm in the torch engine", () => {
    beforeAll(async () => {
      await startTestTorch();
    });

    const run = (precision: Precision, shape: readonly [number, number, number, number], groups: number, seed: number) =>
      tf.tidy(() => {
        const size = tf.util.sizeFromShape([...shape]);
        // Both precisions start from what bfloat16 holds, far from zero mean.
        const stored = (offset: number, at: number) =>
          ops().toPrecision(tf.add(tensor<Tensor4D>(values(size, at), shape), offset) as Tensor4D, "bf16");
        const x = ops().toPrecision(stored(3, seed), precision);
        const dy = ops().toPrecision(stored(0, seed + 1), precision);
        const gamma = tensor<Tensor1D>(values(shape[3], seed + 2), [shape[3]]);
        const beta = tensor<Tensor1D>(values(shape[3], seed + 3), [shape[3]]);
        const { y, mean, rstd } = ops().groupNorm(x, gamma, beta, groups, 1e-5);
        const { dx, dgamma, dbeta } = ops().groupNormGrad(dy, x, mean, rstd, gamma, groups, "all");
        return [y, dx, mean, rstd, dgamma as Tensor1D, dbeta as Tensor1D].map(take);
      });

    it.each([
      [[3, 5, 7, 12], 4],
      [[2, 8, 8, 64], 8],
      [[1, 1, 3, 1], 1],
    ] as const)("agrees with float32 on %j in %d groups", (shape, groups) => {
      const [y, dx, ...exact] = run("fp32", shape, groups, 11);
      const [halfY, halfDx, ...half] = run("bf16", shape, groups, 11);
      expectClose(halfY as Float32Array, y as Float32Array, 5e-3);
      expectClose(halfDx as Float32Array, dx as Float32Array, 5e-3);
      // What is computed in float32 from the same values is the same.
      for (const [i, one] of half.entries()) expectClose(one, exact[i] as Float32Array, 1e-6);
    });

    it("gives a constant image back as beta, without dividing by zero", () => {
      const x = tf.fill([1, 4, 4, 6], 1000) as Tensor4D;
      const beta = tf.tensor1d([1, 2, 3, 4, 5, 6]);
      const { y, mean, rstd } = ops().groupNorm(x, tf.onesLike(beta), beta, 2, 1e-5);
      expect([...take(y).slice(0, 6)]).toEqual([1, 2, 3, 4, 5, 6]);
      expect([...take(mean)]).toEqual([1000, 1000]);
      tf.dispose([x, beta, rstd]);
    });
  });
}
