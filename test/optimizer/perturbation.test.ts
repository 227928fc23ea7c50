/** Perturbed weights by their definitions, and the plain mean of late weights by hand. Whole steps: test/train/steps-pytorch.test.ts. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import type { Parameter } from "../../src/model/model.js";
import { globalNorm } from "../../src/optimizer/clip.js";
import { perturb } from "../../src/optimizer/perturbation.js";
import { Swa } from "../../src/optimizer/swa.js";
import { normalValues } from "../model/finite-differences.js";

const parameter = (name: string, shape: number[], offset: number): Parameter => ({
  name,
  shape,
  offset,
  size: shape.reduce((a, b) => a * b, 1),
  decay: true,
});
const PARAMETERS = [parameter("a.weight", [4, 5], 0), parameter("a.bias", [5], 20), parameter("b.weight", [5, 2], 25)];
const values = normalValues(35, 1);
const gradient = normalValues(35, 2);

const moved = (perturbation: Parameters<typeof perturb>[3]["perturbation"], progress = 0.5) =>
  perturb(values, gradient, PARAMETERS, { perturbation, progress });
const difference = (after: Float32Array, { offset, size }: Parameter) =>
  after.slice(offset, offset + size).map((v, i) => v - (values[offset + i] as number));

describe("adversarial weight perturbation", () => {
  const after = moved({ kind: "awp", gamma: 0.1, from: 0 }) as Float32Array;

  it("moves each weight tensor up the gradient by gamma of its own norm", () => {
    for (const p of [PARAMETERS[0], PARAMETERS[2]] as Parameter[]) {
      const d = difference(after, p);
      const [w, g] = [values, gradient].map((all) => all.subarray(p.offset, p.offset + p.size)) as [Float32Array, Float32Array];
      expect(globalNorm(d)).toBeCloseTo(0.1 * globalNorm(w), 5);
      const cosine = d.reduce((sum, v, i) => sum + v * (g[i] as number), 0) / (globalNorm(d) * globalNorm(g));
      expect(cosine).toBeCloseTo(1, 5);
    }
  });

  it("leaves biases, and the weights that it was given", () => {
    expect(difference(after, PARAMETERS[1] as Parameter).every((v) => v === 0)).toBe(true);
    expect(values).toEqual(normalValues(35, 1));
  });
});

describe("SAM", () => {
  it("moves all parameters together, rho along the gradient", () => {
    const after = moved({ kind: "sam", rho: 0.7, adaptive: false, from: 0 }) as Float32Array;
    const d = after.map((v, i) => v - (values[i] as number));
    expect(globalNorm(d)).toBeCloseTo(0.7, 5);
    expect(d.reduce((sum, v, i) => sum + v * (gradient[i] as number), 0)).toBeCloseTo(0.7 * globalNorm(gradient), 4);
  });

  it("adaptive, in units of each weight's size", () => {
    const after = moved({ kind: "sam", rho: 0.7, adaptive: true, from: 0 }) as Float32Array;
    expect(globalNorm(after.map((v, i) => (v - (values[i] as number)) / Math.abs(values[i] as number)))).toBeCloseTo(0.7, 4);
  });
});

describe("a perturbation", () => {
  it("sets in when it is told to", () => {
    expect(moved({ kind: "sam", rho: 1, adaptive: true, from: 0.5 }, 0.49)).toBeNull();
    expect(moved({ kind: "sam", rho: 1, adaptive: true, from: 0.5 }, 0.5)).not.toBeNull();
    expect(moved({ kind: "none" })).toBeNull();
  });

  it("of a gradient of zero is none", () => {
    for (const perturbation of [
      { kind: "awp", gamma: 0.1, from: 0 },
      { kind: "sam", rho: 1, adaptive: true, from: 0 },
    ] as const) {
      expect(perturb(values, new Float32Array(35), PARAMETERS, { perturbation, progress: 1 })).toEqual(values);
    }
  });
});

describe("stochastic weight averaging", () => {
  beforeAll(() => startCpu());

  it("is the mean of every n-th weights from a share of the training on", () => {
    const swa = new Swa({ from: 0.5, everyUpdates: 2 });
    const weights = Array.from({ length: 10 }, (_, i) => tf.tensor1d([i, i * i]));
    for (let i = 1; i < 10; i++) {
      swa.update({ before: weights[i - 1] as tf.Tensor1D, after: weights[i] as tf.Tensor1D, progress: (i - 0.5) / 9, numUpdates: i });
      if (i < 6) expect(swa.value).toBeNull();
    }
    // Updates 6 and 8: progress from .5 is update 5 on.
    const [a, b] = Array.from(swa.value?.dataSync() ?? []);
    expect(a).toBeCloseTo((6 + 8) / 2, 6);
    expect(b).toBeCloseTo((36 + 64) / 2, 5);
    swa.dispose();
    tf.dispose(weights);
  });
});
