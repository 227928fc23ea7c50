/** Saliency against the closed form of a linear model, and its picture pixel by pixel. */
import * as tf from "@tensorflow/tfjs-core";
import { PNG } from "pngjs";
import { beforeAll, describe, expect, it } from "vitest";
import { startCpu } from "../../../src/engine/cpu.js";
import { type Explanation, explain } from "../../../src/evaluate/explain/saliency.js";
import { saliencyPng } from "../../../src/evaluate/explain/saliency-png.js";
import { linearModel } from "../../kit/analytic-model.js";

beforeAll(async () => void (await startCpu()));

describe("saliency", () => {
  const weights = [
    [1, 0, 2, -1],
    [0, 3, -2, 0],
    [0.5, 0.5, 0, 1],
  ];
  const x = [0.2, 0.4, 0.6, 0.8];

  it("of a linear model is w_y - sum_k p_k w_k for log p(y|x), and -sum_k p_k w_k for E(x), summed over channels", () => {
    const model = linearModel(weights);
    const input = tf.tensor4d(x, [1, 1, 2, 2]);
    const before = tf.memory().numTensors;
    const found = explain(model, input, 3);
    expect(tf.memory().numTensors).toBe(before);
    const f = weights.map((row) => row.reduce((sum, w, i) => sum + w * (x[i] as number), 0));
    const total = f.reduce((sum, value) => sum + Math.exp(value), 0);
    const p = f.map((value) => Math.exp(value) / total);
    expect(found.decision).toBe(f.indexOf(Math.max(...f)));
    expect(found.energy).toBeCloseTo(-Math.log(total), 5);
    const mean = [0, 1, 2, 3].map((i) => weights.reduce((sum, row, k) => sum + (p[k] as number) * (row[i] as number), 0));
    const own = weights[found.decision] as number[];
    const logP = mean.map((m, i) => (own[i] as number) - m) as [number, number, number, number];
    expect(found.logProbability.values[0]).toBeCloseTo(logP[0] + logP[1], 5);
    expect(found.logProbability.values[1]).toBeCloseTo(logP[2] + logP[3], 5);
    expect(found.logProbability.norm).toBeCloseTo(Math.hypot(...logP), 5);
    expect(found.energyGradient.values[0]).toBeCloseTo(-(mean[0] as number) - (mean[1] as number), 5);
    expect(found.energyGradient.scale).toBeCloseTo(Math.max(...[...found.energyGradient.values].map(Math.abs)), 12);
    expect(explain(model, input, 3, 1).decision).toBe(1);
    tf.dispose(input);
    model.dispose();
  });

  it("is drawn red where it raises, blue where it lowers, white where it does nothing", () => {
    const map = (...values: number[]) => ({ values: Float64Array.from(values), scale: 2, norm: 1 });
    const explanation: Explanation = {
      decision: 0,
      probabilities: [1],
      energy: 0,
      logProbability: map(2, -2, 0, 1),
      energyGradient: map(0, 0, 0, 0),
    };
    const png = PNG.sync.read(saliencyPng(Float32Array.of(1, 0, 0.5, 0.25), [2, 2, 1], explanation, 20));
    const at = (x: number, y: number) => [...png.data.subarray((y * png.width + x) * 4, (y * png.width + x) * 4 + 3)];
    expect([at(9, 9), at(19, 9), at(9, 19)]).toEqual([
      [255, 255, 255],
      [0, 0, 0],
      [128, 128, 128],
    ]);
    const left = 8 + 20 + 8;
    expect([at(left + 1, 9), at(left + 11, 9), at(left + 1, 19), at(left + 11, 19)]).toEqual([
      [178, 24, 43],
      [33, 102, 172],
      [255, 255, 255],
      [217, 140, 149],
    ]);
  });
});
