/**
 * The contract of an engine's operations: what every engine must compute, whatever computes it. Values are compared with
 * float64 loops (`reference.ts`), gradients with finite differences of those, and both with the `cpu` engine. Shapes are
 * random and odd; strides that do not divide the image and empty batches are included.
 */

import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import type { Engine } from "../../src/engine/engine.js";
import { type Activation, type EngineOps, type NoiseKey, ops } from "../../src/engine/ops.js";
import { fillNormal, fillUniform } from "../../src/engine/random/philox.js";
import * as fc from "../kit/property.js";
import { activation, type Conv, conv2d, groupNorm, type Norm, outSize, slope } from "./reference.js";
import { expectClose, take, tensor, values } from "./values.js";

const activations: readonly Activation[] = [
  { kind: "relu" },
  { kind: "silu" },
  { kind: "gelu" },
  { kind: "elu" },
  { kind: "leaky-relu", slope: 0.2 },
  { kind: "softplus", sharpness: 10 },
  { kind: "smooth-relu", sharpness: 400 },
];

const convs = fc
  .record({
    batch: fc.integer({ min: 1, max: 3 }),
    height: fc.integer({ min: 1, max: 11 }),
    width: fc.integer({ min: 1, max: 11 }),
    cin: fc.integer({ min: 1, max: 9 }),
    cout: fc.integer({ min: 1, max: 9 }),
    kernel: fc.constantFrom(1, 2, 3, 5),
    stride: fc.constantFrom(1, 2, 3),
    padding: fc.integer({ min: 0, max: 2 }),
  })
  .filter((c) => Math.min(c.height, c.width) + 2 * c.padding >= c.kernel && c.padding < c.kernel);

const norms = fc
  .record({ batch: fc.integer({ min: 1, max: 3 }), height: fc.integer({ min: 2, max: 6 }), width: fc.integer({ min: 1, max: 6 }) })
  .chain((size) =>
    fc.record({ groups: fc.integer({ min: 1, max: 4 }), perGroup: fc.integer({ min: 1, max: 4 }) }).map((g) => ({ ...size, ...g })),
  );

/** A few coordinates of an array, spread over it. */
const someOf = (length: number, count = 12): number[] => [...new Set(Array.from({ length: count }, (_, i) => (i * 7919) % length))];

export function opsContract(name: string, start: () => Promise<Engine>): void {
  describe(`operations of the ${name} engine`, () => {
    let engine: Engine;
    let numBefore = 0;
    beforeAll(async () => {
      await startCpu();
      engine = await start();
      expect(tf.getBackend()).toBe(engine.name === "tensorflow" ? "tensorflow" : engine.name);
    });
    beforeEach(() => {
      numBefore = tf.memory().numTensors;
    });
    afterEach(() => {
      expect(tf.memory().numTensors, "live tensors left behind").toBe(numBefore);
    });

    /** The same call on the cpu engine. */
    const onCpu = <T>(run: (ops: EngineOps) => T): T => {
      tf.setBackend("cpu");
      try {
        return run(ops());
      } finally {
        tf.setBackend(engine.name);
      }
    };

    /** Runs a convolution and its gradients; all results as plain arrays. */
    const convolve = (
      o: EngineOps,
      c: Conv,
      x: Float64Array,
      f: Float64Array,
      bias: Float64Array | null,
      dy: Float64Array,
      precision: "fp32" | "bf16" = "fp32",
    ) =>
      tf.tidy(() => {
        const shape = [c.batch, c.height, c.width, c.cin];
        const filterShape = [c.kernel, c.kernel, c.cin, c.cout];
        const filter = o.layoutFilter(tensor<Tensor4D>(f, filterShape), precision);
        const image = o.toPrecision(tensor<Tensor4D>(x, shape), precision);
        const biases = bias ? o.toPrecision(tensor<Tensor1D>(bias, [c.cout]), precision) : null;
        const gradient = o.toPrecision(tensor<Tensor4D>(dy, [c.batch, outSize(c.height, c), outSize(c.width, c), c.cout]), precision);
        const y = o.conv2d(image, filter, biases, c);
        const dx = o.conv2dInputGrad(gradient, filter, shape, c);
        const df = o.conv2dFilterGrad(image, gradient, filterShape, c);
        expect([y.shape, dx.shape, df.shape]).toEqual([gradient.shape, shape, filterShape]);
        return { y: take(y), dx: take(dx), df: take(df) };
      });

    const drawConv = (c: Conv, seed: number) => ({
      x: values(c.batch * c.height * c.width * c.cin, seed),
      f: values(c.kernel ** 2 * c.cin * c.cout, seed + 1),
      bias: values(c.cout, seed + 2),
      dy: values(c.batch * outSize(c.height, c) * outSize(c.width, c) * c.cout, seed + 3),
    });

    it("convolves as the definition says, and its gradients are its slopes", () => {
      fc.assert(
        fc.property(convs, fc.nat(1000), (c, seed) => {
          const { x, f, bias, dy } = drawConv(c, seed);
          const got = convolve(ops(), c, x, f, bias, dy);
          expectClose(
            got.y,
            conv2d(x, f, c).map((y, i) => y + (bias[i % c.cout] as number)),
            5e-6,
          );
          for (const i of someOf(x.length)) expectClose([got.dx[i] as number], [slope((v) => conv2d(v, f, c), dy, x, i)], 2e-5);
          for (const i of someOf(f.length)) expectClose([got.df[i] as number], [slope((v) => conv2d(x, v, c), dy, f, i)], 2e-5);
        }),
        { numRuns: 25 },
      );
    });

    it("agrees with the cpu engine on every value of a convolution and its gradients", () => {
      fc.assert(
        fc.property(convs, fc.nat(1000), (c, seed) => {
          const { x, f, dy } = drawConv(c, seed);
          const got = convolve(ops(), c, x, f, null, dy);
          const expected = onCpu((o) => convolve(o, c, x, f, null, dy));
          for (const key of ["y", "dx", "df"] as const) expectClose(got[key], expected[key], 5e-6);
        }),
        { numRuns: 40 },
      );
    });

    it("takes bf16 where it can and stays within its rounding", () => {
      const c: Conv = { batch: 2, height: 9, width: 7, cin: 8, cout: 16, kernel: 3, stride: 1, padding: 1 };
      const { x, f, dy } = drawConv(c, 5);
      const got = convolve(ops(), c, x, f, null, dy, "bf16");
      const exact = onCpu((o) => convolve(o, c, x, f, null, dy));
      for (const key of ["y", "dx", "df"] as const) expectClose(got[key], exact[key], engine.bf16.supported ? 2e-2 : 5e-6);
    });

    it("keeps a laid-out filter alive after the weights are disposed", () => {
      const filter = tensor<Tensor4D>(values(3 * 3 * 2 * 4, 1), [3, 3, 2, 4]);
      const laidOut = ops().layoutFilter(filter, "fp32");
      filter.dispose();
      const x = tensor<Tensor4D>(values(5 * 5 * 2, 2), [1, 5, 5, 2]);
      const once = take(ops().conv2d(x, laidOut, null, { stride: 1, padding: 1 }));
      const again = take(ops().conv2d(x, laidOut, null, { stride: 1, padding: 1 }));
      expect(again).toEqual(once);
      tf.dispose([x, laidOut]);
    });

    it.each(activations)("computes $kind and its derivative, far from zero too", (f) => {
      const x = Float64Array.from([...values(40, 3), -100, -30, -8, -1e-3, 1e-3, 8, 30, 100], Math.fround);
      const dy = values(x.length, 4);
      const run = (o: EngineOps) =>
        tf.tidy(() => {
          const at = tensor<Tensor2D>(x, [6, x.length / 6]);
          return { y: take(o.activation(at, f)), dx: take(o.activationGrad(at, tensor<Tensor2D>(dy, at.shape), f)) };
        });
      const got = run(ops());
      const h = 1e-6;
      const slopes = x.map((v, i) => ((dy[i] as number) * (activation(v + h, f) - activation(v - h, f))) / (2 * h));
      for (let i = 0; i < x.length; i++) {
        expectClose([got.y[i] as number], [activation(x[i] as number, f)], 2e-6);
        expectClose([got.dx[i] as number], [slopes[i] as number], 5e-6);
      }
      const expected = onCpu(run);
      expectClose(got.y, expected.y);
      expectClose(got.dx, expected.dx);
    });

    it.each(activations)("lets a NaN through $kind, so that divergence is seen", (f) => {
      const x = tf.tensor1d([1, Number.NaN, -1]);
      const y = take(ops().activation(x, f));
      expect([...y].map(Number.isNaN)).toEqual([false, true, false]);
      x.dispose();
    });

    it("normalises groups, and its gradients are its slopes", () => {
      fc.assert(
        fc.property(norms, fc.nat(1000), (size, seed) => {
          const { batch, height, width, groups, perGroup } = size;
          const n: Norm = { batch, pixels: height * width, channels: groups * perGroup, groups, epsilon: 1e-3 };
          const shape = [batch, height, width, n.channels];
          const [x, dy] = [values(tf.util.sizeFromShape(shape), seed), values(tf.util.sizeFromShape(shape), seed + 1)];
          const [gamma, beta] = [values(n.channels, seed + 2), values(n.channels, seed + 3)];
          const got = tf.tidy(() => {
            const [xt, dyt, gammaT] = [tensor<Tensor4D>(x, shape), tensor<Tensor4D>(dy, shape), tensor<Tensor1D>(gamma, [n.channels])];
            const { y, mean, rstd } = ops().groupNorm(xt, gammaT, tensor<Tensor1D>(beta, [n.channels]), groups, n.epsilon);
            const all = ops().groupNormGrad(dyt, xt, mean, rstd, gammaT, groups, "all");
            const input = ops().groupNormGrad(dyt, xt, mean, rstd, gammaT, groups, "input");
            expect([input.dgamma, input.dbeta]).toEqual([null, null]);
            expectClose(take(input.dx), all.dx.dataSync());
            return { y: take(y), dx: take(all.dx), dgamma: take(all.dgamma as Tensor), dbeta: take(all.dbeta as Tensor) };
          });
          expectClose(got.y, groupNorm(x, gamma, beta, n), 1e-5);
          for (const i of someOf(x.length))
            expectClose([got.dx[i] as number], [slope((v) => groupNorm(v, gamma, beta, n), dy, x, i)], 1e-4);
          for (const i of someOf(n.channels)) {
            expectClose([got.dgamma[i] as number], [slope((v) => groupNorm(x, v, beta, n), dy, gamma, i)], 2e-5);
            expectClose([got.dbeta[i] as number], [slope((v) => groupNorm(x, gamma, v, n), dy, beta, i)], 2e-5);
          }
        }),
        { numRuns: 20 },
      );
    });

    it("takes the mean over pixels and hands its gradient back to each", () => {
      const shape = [3, 5, 7, 2];
      const x = values(210, 6);
      const dy = values(6, 7);
      const mean = Float64Array.from(dy, (_, i) => {
        let sum = 0;
        for (let p = 0; p < 35; p++) sum += x[(Math.floor(i / 2) * 35 + p) * 2 + (i % 2)] as number;
        return sum / 35;
      });
      const [xt, dyt] = [tensor<Tensor4D>(x, shape), tensor<Tensor2D>(dy, [3, 2])];
      expectClose(take(ops().spatialMean(xt)), mean);
      expectClose(
        take(ops().spatialMeanGrad(dyt, shape)),
        x.map((_, i) => (dy[Math.floor(i / 70) * 2 + (i % 2)] as number) / 35),
      );
      tf.dispose([xt, dyt]);
    });

    it("draws the noise of a key, row by row, whatever stands beside it", () => {
      const at = { seed: 2n ** 63n + 5n, purpose: 5, step: 70_000, inner: 3 };
      const key = (...positions: number[]): NoiseKey => ({ ...at, positions: Int32Array.from(positions) });
      for (const [kind, fill] of [
        ["normal", fillNormal],
        ["uniform", fillUniform],
      ] as const) {
        const drawn = ops().noise(kind, key(9, 2_000_000), [3, 3, 3]);
        expect(drawn.shape).toEqual([2, 3, 3, 3]);
        const got = take(drawn);
        const row = new Float32Array(27);
        fill(row, { ...at, position: 2_000_000 });
        expectClose(got.subarray(27), row, 1e-6);
        expect(take(ops().noise(kind, key(2_000_000), [3, 3, 3]))).toEqual(got.slice(27));
      }
    });

    it("reads into shared memory of the caller's, and refuses the wrong size", () => {
      const x = tensor<Tensor2D>(values(12, 8), [3, 4]);
      const target = new Float32Array(new SharedArrayBuffer(48));
      ops().readInto(x, target);
      expect([...target]).toEqual([...x.dataSync()]);
      expect(() => ops().readInto(x, new Float32Array(11))).toThrow(/readInto/);
      x.dispose();
    });

    it("hands out handles that live on their own", () => {
      const x = tensor<Tensor1D>(values(5, 9), [5]);
      const same = ops().toPrecision(x, "fp32");
      const before = [...x.dataSync()];
      x.dispose();
      expect([...take(same)]).toEqual(before);
    });

    it("computes empty batches: an empty slice is a worker's right", () => {
      const c: Conv = { batch: 0, height: 6, width: 5, cin: 3, cout: 4, kernel: 3, stride: 2, padding: 1 };
      const { x, f, bias, dy } = drawConv(c, 1);
      const got = convolve(ops(), c, x, f, bias, dy);
      expect([got.y.length, got.dx.length]).toEqual([0, 0]);
      expect([...got.df]).toEqual(new Array(108).fill(0));
      tf.tidy(() => {
        const none = tf.zeros([0, 6, 5, 4]) as Tensor4D;
        for (const f of activations) expect(ops().activationGrad(ops().activation(none, f), none, f).shape).toEqual(none.shape);
        const gamma = tf.ones([4]) as Tensor1D;
        const { y, mean, rstd } = ops().groupNorm(none, gamma, gamma, 2, 1e-5);
        const { dx, dgamma } = ops().groupNormGrad(y, none, mean, rstd, gamma, 2, "all");
        expect([y.shape, dx.shape]).toEqual([none.shape, none.shape]);
        expect([...(dgamma as Tensor).dataSync()]).toEqual([0, 0, 0, 0]);
        expect(ops().spatialMeanGrad(ops().spatialMean(none), none.shape).shape).toEqual(none.shape);
        expect(ops().noise("normal", { seed: 1n, purpose: 1, step: 0, inner: 0, positions: new Int32Array(0) }, [6, 5, 4]).shape).toEqual([
          0, 6, 5, 4,
        ]);
      });
    });
  });
}
