import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import { advanceChains } from "../../src/sampler/sgld.js";
import { gaussianModel, linearModel } from "../kit/analytic-model.js";

beforeAll(() => startCpu());

const key = (n: number) => ({ seed: 11n, purpose: 5, step: 2, positions: Int32Array.from({ length: n }, (_, i) => i) });

describe("Langevin dynamics", () => {
  it("reaches the known stationary variance of a Gaussian energy", () => {
    // x' = x - a (x - m)/v + s n is a first-order autoregression: variance s^2 / (1 - (1 - a/v)^2).
    const [variance, stepSize, noise] = [0.01, 0.002, 0.01];
    const before = tf.memory().numTensors;
    const start = tf.fill([400, 2, 2, 1], 0.5) as Tensor4D;
    const chains = advanceChains(start, {
      model: gaussianModel({ mean: 0.5, variance }),
      config: { stepSize, noise, clampGradient: null },
      steps: 40,
      key: key(400),
    });
    const values = Float32Array.from(chains.dataSync());
    chains.dispose();
    expect(tf.memory().numTensors).toBe(before);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const measured = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    const expected = noise ** 2 / (1 - (1 - stepSize / variance) ** 2);
    expect(mean).toBeCloseTo(0.5, 2);
    // 1,600 independent values: the variance's own standard error is expected * sqrt(2/1600) = 3.5 %.
    expect(Math.abs(measured / expected - 1)).toBeLessThan(0.12);
  });

  it("lowers the energy: without noise it descends to the mode", () => {
    const start = tf.tensor4d([0.1, 0.9, 0.3, 0.6], [1, 2, 2, 1]);
    const config = { stepSize: 0.005, noise: 0, clampGradient: null };
    const chains = advanceChains(start, { model: gaussianModel({ mean: 0.4, variance: 0.01 }), config, steps: 30, key: key(1) });
    for (const value of chains.dataSync()) expect(value).toBeCloseTo(0.4, 4);
    chains.dispose();
  });

  it("moves no pixel further than the clamp in one proximal step, worked by hand", () => {
    const model = linearModel([[5, -0.02, 1, 0]]); // one class: E(x) = -w.x, -dE/dx = w
    const start = tf.tensor4d([0.5, 0.5, 0.99, 0.5], [1, 2, 2, 1]);
    const chains = advanceChains(start, { model, config: { stepSize: 1, noise: 0, clampGradient: 0.03 }, steps: 1, key: key(1) });
    const values = chains.dataSync();
    [0.53, 0.48, 1, 0.5].forEach((v, i) => {
      expect(values[i]).toBeCloseTo(v, 6);
    });
    chains.dispose();
    model.dispose();
  });

  it("gives a chain the same path wherever the slice is cut, and goes on from an inner step", () => {
    const model = gaussianModel({ mean: 0.5, variance: 0.02 });
    const config = { stepSize: 0.001, noise: 0.02, clampGradient: null };
    const run = (positions: number[], steps: readonly number[]): number[] => {
      let chains = tf.fill([positions.length, 2, 2, 1], 0.4) as Tensor4D;
      let firstStep = 0;
      for (const n of steps) {
        chains = advanceChains(chains, { model, config, steps: n, firstStep, key: { ...key(0), positions: Int32Array.from(positions) } });
        firstStep += n;
      }
      const values = Array.from(chains.dataSync());
      chains.dispose();
      return values;
    };
    const whole = run([0, 1, 2], [6]);
    expect([...run([0], [6]), ...run([1, 2], [2, 4])]).toEqual(whole);
  });
});
