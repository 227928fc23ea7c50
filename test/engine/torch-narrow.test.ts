/**
 * The first layer's input gradient has loops of its own (native/narrow_gradient.h): the same values as ATen's, in both
 * precisions, at every geometry it accepts. Skipped, with the reason, where there is no libtorch.
 */

import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { type ConvGeometry, ops, type Precision } from "../../src/engine/ops.js";
import * as fc from "../kit/property.js";
import { startTestTorch, torchMissing } from "./torch-kit.js";
import { expectClose, take, tensor, values } from "./values.js";

const missing = await torchMissing();

const geometries = fc
  .record({
    batch: fc.integer({ min: 1, max: 3 }),
    height: fc.integer({ min: 1, max: 13 }),
    width: fc.integer({ min: 1, max: 13 }),
    cin: fc.integer({ min: 1, max: 4 }),
    cout: fc.integer({ min: 1, max: 20 }),
    kernelHeight: fc.integer({ min: 1, max: 4 }),
    kernelWidth: fc.integer({ min: 1, max: 4 }),
    stride: fc.integer({ min: 1, max: 3 }),
    padding: fc.integer({ min: 0, max: 3 }),
  })
  .filter(
    (g) =>
      g.padding < Math.min(g.kernelHeight, g.kernelWidth) &&
      g.height + 2 * g.padding >= g.kernelHeight &&
      g.width + 2 * g.padding >= g.kernelWidth &&
      g.kernelHeight * g.kernelWidth * g.cin <= 32,
  );

if (missing) describe.skip("the input gradient of a narrow convolution", () => it.skip(`skipped: ${missing}`, () => {}));
else {
  describe("the input gradient of a narrow convolution", () => {
    beforeAll(async () => {
      await startTestTorch();
    });

    /** The same filter with channels of zeros beside it is too wide for the loops: ATen computes it. */
    const widened = (filter: Tensor4D): Tensor4D =>
      tf.pad(filter, [
        [0, 0],
        [0, 0],
        [0, 8],
        [0, 0],
      ]) as Tensor4D;

    it.each(["fp32", "bf16"] as const)("agrees with ATen in %s", (precision: Precision) => {
      fc.assert(
        fc.property(geometries, fc.nat(1000), (g, seed) => {
          const geometry: ConvGeometry = { stride: g.stride, padding: g.padding };
          const outHeight = Math.floor((g.height + 2 * g.padding - g.kernelHeight) / g.stride) + 1;
          const outWidth = Math.floor((g.width + 2 * g.padding - g.kernelWidth) / g.stride) + 1;
          const [narrow, wide] = tf.tidy(() => {
            const shape = [g.kernelHeight, g.kernelWidth, g.cin, g.cout];
            const filter = tensor<Tensor4D>(values(tf.util.sizeFromShape(shape), seed), shape);
            const dyShape = [g.batch, outHeight, outWidth, g.cout];
            const dy = ops().toPrecision(tensor<Tensor4D>(values(tf.util.sizeFromShape(dyShape), seed + 1), dyShape), precision);
            const size = [g.batch, g.height, g.width];
            const one = ops().conv2dInputGrad(dy, ops().layoutFilter(filter, precision), [...size, g.cin], geometry);
            const other = ops().conv2dInputGrad(dy, ops().layoutFilter(widened(filter), precision), [...size, g.cin + 8], geometry);
            return [take(one), take(tf.slice(other, [0, 0, 0, 0], [...size, g.cin] as [number, number, number, number]))];
          });
          expect(narrow?.length).toBe(g.batch * g.height * g.width * g.cin);
          expectClose(narrow as Float32Array, wide as Float32Array, precision === "fp32" ? 2e-6 : 1e-2);
        }),
        { numRuns: 60 },
      );
    });

    it("does not take over oneDNN's mistake: 1x1 filters in bf16 with an odd number of outputs", () => {
      for (const [cin, cout] of [
        [1, 1],
        [9, 1],
        [16, 3],
        [32, 5],
      ] as const) {
        const filter = tensor<Tensor4D>(values(cin * cout, 0), [1, 1, cin, cout]);
        const dy = tensor<Tensor4D>(values(60 * cout, 1), [1, 12, 5, cout]);
        const gradient = (precision: Precision): Float32Array =>
          take(
            tf.tidy(() => {
              const given = ops().toPrecision(dy, precision);
              return ops().conv2dInputGrad(given, ops().layoutFilter(filter, precision), [1, 12, 5, cin], { stride: 1, padding: 0 });
            }),
          );
        expectClose(gradient("bf16"), gradient("fp32"), 1e-2);
      }
    });
  });
}
