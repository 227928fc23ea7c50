/**
 * Convolutions with 3 x 3 filters and stride 1 multiply less on the CPU (native/winograd.h): the values of the definition in
 * float64, to float32's rounding, at every geometry they accept and with each instruction set; a sample's values are the same
 * bits in every batch. Skipped, with the reason, where there is no libtorch.
 */

import type { Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ops, type Precision } from "../../src/engine/ops.js";
import { bridge } from "../../src/engine/torch/bridge.js";
import * as fc from "../kit/property.js";
import { type Conv, conv2d, outSize } from "./reference.js";
import { startTestTorch, torchMissing } from "./torch-kit.js";
import { expectClose, take, tensor, values } from "./values.js";

const missing = await torchMissing();

const convs = fc
  .record({
    batch: fc.integer({ min: 1, max: 3 }),
    height: fc.integer({ min: 3, max: 13 }),
    width: fc.integer({ min: 3, max: 13 }),
    cin: fc.constantFrom(16, 32, 48),
    cout: fc.constantFrom(16, 32, 48),
    padding: fc.integer({ min: 0, max: 2 }),
  })
  .map((c): Conv => ({ ...c, kernel: 3, stride: 1 }));

interface Given {
  readonly x: Float64Array;
  readonly f: Float64Array;
  readonly bias: Float64Array;
  readonly dy: Float64Array;
}

function draw(c: Conv, seed: number): Given {
  return {
    x: values(c.batch * c.height * c.width * c.cin, seed),
    f: values(9 * c.cin * c.cout, seed + 1).map((value) => Math.fround(value / Math.sqrt(9 * c.cin))),
    bias: values(c.cout, seed + 2),
    dy: values(c.batch * outSize(c.height, c) * outSize(c.width, c) * c.cout, seed + 3),
  };
}

function convolve(c: Conv, { x, f, bias, dy }: Given, precision: Precision) {
  return tf.tidy(() => {
    const filter = ops().layoutFilter(tensor<Tensor4D>(f, [3, 3, c.cin, c.cout]), precision);
    const image = ops().toPrecision(tensor<Tensor4D>(x, [c.batch, c.height, c.width, c.cin]), precision);
    const shift = ops().toPrecision(tensor<Tensor1D>(bias, [c.cout]), precision);
    const gradient = ops().toPrecision(tensor<Tensor4D>(dy, [c.batch, outSize(c.height, c), outSize(c.width, c), c.cout]), precision);
    return {
      y: take(ops().conv2d(image, filter, shift, c)),
      dx: take(ops().conv2dInputGrad(gradient, filter, image.shape, c)),
      df: take(ops().conv2dFilterGrad(image, gradient, [3, 3, c.cin, c.cout], c)),
    };
  });
}

/** The definition in float64: the input's gradient is a convolution with the filter turned round, the filter's a sum over places. */
function exact(c: Conv, { x, f, bias, dy }: Given) {
  const [rows, columns] = [outSize(c.height, c), outSize(c.width, c)];
  const turned = new Float64Array(f.length);
  for (let place = 0; place < 9; place++)
    for (let i = 0; i < c.cin; i++)
      for (let o = 0; o < c.cout; o++) turned[((8 - place) * c.cout + o) * c.cin + i] = f[(place * c.cin + i) * c.cout + o] as number;
  const back: Conv = { ...c, height: rows, width: columns, cin: c.cout, cout: c.cin, padding: 2 - c.padding };
  const df = new Float64Array(f.length);
  for (let b = 0; b < c.batch; b++)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        for (let place = 0; place < 9; place++) {
          const i = row + Math.floor(place / 3) - c.padding;
          const j = column + (place % 3) - c.padding;
          if (i < 0 || j < 0 || i >= c.height || j >= c.width) continue;
          const pixel = ((b * c.height + i) * c.width + j) * c.cin;
          const gradient = ((b * rows + row) * columns + column) * c.cout;
          for (let n = 0; n < c.cin; n++)
            for (let o = 0; o < c.cout; o++) {
              const at = (place * c.cin + n) * c.cout + o;
              df[at] = (df[at] as number) + (x[pixel + n] as number) * (dy[gradient + o] as number);
            }
        }
  return { y: conv2d(x, f, c).map((y, i) => y + (bias[i % c.cout] as number)), dx: conv2d(dy, turned, back), df };
}

if (missing) describe.skip("convolutions by minimal filtering", () => it.skip(`skipped: ${missing}`, () => {}));
else {
  describe("convolutions by minimal filtering", () => {
    beforeAll(async () => {
      await startTestTorch();
    });
    let numBefore = 0;
    beforeEach(() => {
      numBefore = bridge().memory(-1).live;
    });
    afterEach(() => {
      bridge().limitWinograd(2);
      expect(bridge().memory(-1).live, "native tensors left behind").toBe(numBefore);
    });

    it.each([
      { level: 2, name: "the widest vectors", precision: "fp32", tolerance: 3e-6 },
      { level: 1, name: "AVX2", precision: "fp32", tolerance: 3e-6 },
      { level: 2, name: "the widest vectors", precision: "bf16", tolerance: 2e-2 },
      { level: 1, name: "AVX2", precision: "bf16", tolerance: 2e-2 },
    ] as const)("are what the definition says: $name, $precision", ({ level, precision, tolerance }) => {
      bridge().limitWinograd(level);
      fc.assert(
        fc.property(convs, fc.nat(1000), (c, seed) => {
          const given = draw(c, seed);
          const [got, expected] = [convolve(c, given, precision), exact(c, given)];
          for (const key of ["y", "dx", "df"] as const) expectClose(got[key], expected[key], tolerance);
        }),
        { numRuns: 12 },
      );
    });

    it("are taken for such filters, and change rounding alone against ATen's", () => {
      const c: Conv = { batch: 2, height: 12, width: 8, cin: 32, cout: 16, kernel: 3, stride: 1, padding: 1 };
      const given = draw(c, 3);
      const ours = convolve(c, given, "fp32");
      bridge().limitWinograd(0);
      const theirs = convolve(c, given, "fp32");
      for (const key of ["y", "dx", "df"] as const) {
        expectClose(ours[key], theirs[key], 3e-6);
        expect(ours[key], `${key} has ATen's bits: it was not computed here`).not.toEqual(theirs[key]);
      }
    });

    it("give a sample the same bits in every batch and with every number of threads", () => {
      const c: Conv = { batch: 70, height: 8, width: 8, cin: 32, cout: 32, kernel: 3, stride: 1, padding: 1 };
      const given = draw(c, 11);
      const whole = convolve(c, given, "fp32");
      const last = convolve({ ...c, batch: 1 }, { ...given, x: given.x.slice(-8 * 8 * 32), dy: given.dy.slice(-8 * 8 * 32) }, "fp32");
      expect(last.y).toEqual(whole.y.slice(-8 * 8 * 32));
      expect(last.dx).toEqual(whole.dx.slice(-8 * 8 * 32));
      bridge().setThreads(2);
      const shared = convolve(c, given, "fp32");
      bridge().setThreads(1);
      expect(shared.y).toEqual(whole.y);
      expect(shared.dx).toEqual(whole.dx);
      expectClose(shared.df, whole.df, 3e-6);
    });

    it("pass on what is not a number", () => {
      const c: Conv = { batch: 1, height: 8, width: 8, cin: 16, cout: 16, kernel: 3, stride: 1, padding: 1 };
      const given = draw(c, 1);
      given.x[5] = Number.NaN;
      for (const precision of ["fp32", "bf16"] as const) {
        const got = convolve(c, given, precision);
        expect(got.y.some(Number.isNaN)).toBe(true);
        expect(got.df.some(Number.isNaN)).toBe(true);
      }
    });

    it("free a filter's transforms with the filter", () => {
      const before = bridge().memory(-1).live;
      const weights = tensor<Tensor4D>(values(9 * 16 * 16, 1), [3, 3, 16, 16]);
      const filter = ops().layoutFilter(weights, "fp32");
      const x = tensor<Tensor4D>(values(2 * 8 * 8 * 16, 2), [2, 8, 8, 16]);
      for (let i = 0; i < 3; i++) {
        ops().conv2d(x, filter, null, { stride: 1, padding: 1 }).dispose();
        ops().conv2dInputGrad(x, filter, [2, 8, 8, 16], { stride: 1, padding: 1 }).dispose();
      }
      expect(bridge().memory(-1).live - before, "weights, filter, x, and a transform for each direction").toBe(5);
      tf.dispose([weights, filter, x]);
      expect(bridge().memory(-1).live).toBe(before);
    });
  });
}
