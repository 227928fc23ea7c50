/**
 * silu's own loops on the CPU (native/activation.h, native/silu_avx512.h): the function and its derivative in float64, to the
 * rounding of the storage, at every bfloat16 number there is and at odd lengths; infinities and NaN as the definition's limits.
 * Skipped, with the reason, where there is no libtorch.
 */
import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { ops, type Precision } from "../../src/engine/ops.js";
import { bridge } from "../../src/engine/torch/bridge.js";
import { startTestTorch, torchMissing } from "./torch-kit.js";
import { take, values } from "./values.js";

const missing = await torchMissing();

/** Unit of the last place, over the number, at most. */
const units = { fp32: 2 ** -23, bf16: 2 ** -7 };

function computed(x: Float32Array, dy: Float32Array, precision: "fp32" | "bf16") {
  return tf.tidy(() => {
    const input = ops().toPrecision(tf.tensor1d(x) as Tensor1D, precision as Precision);
    const gradient = ops().toPrecision(tf.tensor1d(dy) as Tensor1D, precision as Precision);
    return {
      y: take(ops().activation(input, { kind: "silu" })),
      dx: take(ops().activationGrad(input, gradient, { kind: "silu" })),
    };
  });
}

/** 1 - s is taken as 1 / (1 + exp(x)): the difference would have no digits left at large x. */
function exact(x: number): { y: number; slope: number } {
  const [s, rest] = [1 / (1 + Math.exp(-x)), 1 / (1 + Math.exp(x))];
  return { y: x * s, slope: s * (1 + x * rest) };
}

/** Every finite bfloat16 number of a size that the exponential's range holds. */
function bfloats(): Float32Array {
  const bits = Uint32Array.from({ length: 2 ** 16 }, (_, i) => i << 16);
  return new Float32Array(bits.buffer).filter((x) => Math.abs(x) < 80 && (x === 0 || Math.abs(x) > 1e-30));
}

if (missing) describe.skip("silu", () => it.skip(`skipped: ${missing}`, () => {}));
else {
  describe("silu", () => {
    beforeAll(async () => {
      await startTestTorch();
    });
    afterEach(() => bridge().limitWinograd(2));

    it.each([
      { level: 2, name: "the widest vectors", precision: "fp32", last: 4, slope: 16 },
      { level: 1, name: "AVX2", precision: "fp32", last: 4, slope: 16 },
      { level: 2, name: "the widest vectors", precision: "bf16", last: 0.52, slope: 0.52 },
      { level: 1, name: "AVX2", precision: "bf16", last: 0.52, slope: 0.52 },
    ] as const)("is the function, to the rounding of its storage: $name, $precision", ({ level, precision, last, slope: lastSlope }) => {
      bridge().limitWinograd(level);
      const x = precision === "bf16" ? bfloats() : Float32Array.from(values(40_001, 5), (value) => 12 * value);
      const dy = new Float32Array(x.length).fill(-3);
      const { y, dx } = computed(x, dy, precision);
      let [worstValue, worstSlope] = [0, 0];
      x.forEach((given, i) => {
        const { y: value, slope } = exact(given);
        worstValue = Math.max(worstValue, Math.abs((y[i] as number) - value) / Math.max(Math.abs(value), 1e-30));
        // The slope crosses zero at -1.28, where a relative error means nothing.
        worstSlope = Math.max(
          worstSlope,
          Math.abs((dx[i] as number) + 3 * slope) / Math.max(3 * Math.abs(slope), precision === "bf16" ? 0.03 : 0.3),
        );
      });
      expect(worstValue / units[precision]).toBeLessThan(last);
      // 1 - s has an error of one unit of 1, which x multiplies: up to 48 here.
      expect(worstSlope / units[precision]).toBeLessThan(lastSlope);
    });

    it.each([1, 2, 15, 16, 17, 33, 257])("has no value left over or too many at length %i", (length) => {
      const x = Float32Array.from(values(length, length));
      const dy = Float32Array.from(values(length, length + 1));
      for (const precision of ["fp32", "bf16"] as const) {
        const { y, dx } = computed(x, dy, precision);
        expect([y.length, dx.length]).toEqual([length, length]);
        for (let i = 0; i < length; i++) {
          const { y: value, slope } = exact(x[i] as number);
          expect(y[i]).toBeCloseTo(value, precision === "bf16" ? 1 : 5);
          expect(dx[i]).toBeCloseTo((dy[i] as number) * slope, precision === "bf16" ? 1 : 5);
        }
      }
    });

    it.each(["fp32", "bf16"] as const)("has its limits at the ends, and passes on what is not a number: %s", (precision) => {
      const x = Float32Array.from([Number.NaN, 200, 3e38, -200, 0]);
      for (const level of [2, 1]) {
        bridge().limitWinograd(level);
        const { y, dx } = computed(x, new Float32Array(5).fill(1), precision);
        expect([y[0], dx[0]]).toEqual([Number.NaN, Number.NaN]);
        expect([y[1], dx[1]]).toEqual([200, 1]);
        expect((y[2] as number) / 3e38).toBeCloseTo(1, 2);
        expect(Math.abs(y[3] as number)).toBeLessThan(1e-30);
        expect(Math.abs(dx[3] as number)).toBeLessThan(1e-30);
        expect([y[4], dx[4]]).toEqual([0, 0.5]);
      }
    });
  });
}
