/** Energies by hand, and the direction of each head: what moves along it changes the energy the documented way. */

import type { Tensor2D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { energies, jointEnergies, logSumExp } from "../../src/model/energy.js";
import { crossEntropyHead, energyHead, jointEnergyHead, marginHead, targetsOf } from "../../src/model/heads.js";
import type { Head } from "../../src/model/model.js";
import { testedEngines, titleOn } from "../kit/engines.js";

describe("energies", () => {
  const logits = Float32Array.of(0, 0, Math.log(2), 1, -2, 0.5);

  it("E(x) = -logsumexp f(x)", () => {
    const [a, b] = energies(logits, 3) as unknown as [number, number];
    expect(a).toBeCloseTo(-Math.log(1 + 1 + 2), 6);
    expect(b).toBeCloseTo(-Math.log(Math.E + Math.exp(-2) + Math.exp(0.5)), 12);
  });

  it("E(x,y) = -f_y(x)", () => {
    expect([...jointEnergies(logits, [2, 1], 3)]).toEqual([-Math.fround(Math.log(2)), 2]);
  });

  it("neither overflow nor vanish for large logits", () => {
    expect([...energies(Float32Array.of(1e4, 1e4, -1e4, -1e4), 2)]).toEqual([-1e4 - Math.LN2, 1e4 - Math.LN2]);
  });

  it("tell that something isn't finite", () => {
    expect(energies(Float32Array.of(Number.NaN, 0), 2)[0]).toBeNaN();
    expect(energies(Float32Array.of(Number.POSITIVE_INFINITY, 0), 2)[0]).toBe(Number.NEGATIVE_INFINITY);
  });

  it("refuse a wrong number of logits or labels", () => {
    expect(() => energies(new Float32Array(5), 2)).toThrow("no rows of 2");
    expect(() => jointEnergies(new Float32Array(4), [1], 2)).toThrow("1 labels for 2 samples");
  });
});

describe.each(await testedEngines())("$name", (engine) => {
  beforeAll(async () => {
    if (!engine.missing) await engine.use();
  });

  describe.skipIf(engine.missing)(titleOn(engine, "heads"), () => {
    const K = 4;
    const labels = [3, 0, 1];
    const logits = Float32Array.of(0.3, -1.2, 2, 0.1, 1.5, 1.4, -3, 0, 0.2, 0.9, 0.4, -0.7);
    const sum = (each: (f: Float32Array, y: number) => number) => (values: Float32Array) =>
      labels.reduce((total, y, row) => total + each(values.subarray(row * K, (row + 1) * K), y), 0);
    const lse = (f: Float32Array) => logSumExp(f, 0, K);
    const others = (f: Float32Array, y: number) => Math.max(...f.filter((_, k) => k !== y));

    const heads: [string, (targets: Tensor2D) => Head, (values: Float32Array) => number][] = [
      ["crossEntropyHead: -log p(y|x)", crossEntropyHead, sum((f, y) => lse(f) - (f[y] as number))],
      ["marginHead: max_{k != y} f_k - f_y", marginHead, sum((f, y) => others(f, y) - (f[y] as number))],
      ["energyHead: E(x)", () => energyHead(), sum((f) => -lse(f))],
      ["jointEnergyHead: E(x,y)", jointEnergyHead, sum((f, y) => -(f[y] as number))],
    ];

    it.each(heads)("%s, its derivative by differences", (_, head, loss) => {
      const before = tf.memory().numTensors;
      const targets = targetsOf(labels, K);
      const x = tf.tensor2d(logits, [3, K]);
      const gradient = tf.tidy(() => head(targets)(x));
      const found = [...gradient.dataSync()];
      tf.dispose([gradient, x, targets]);
      expect(tf.memory().numTensors).toBe(before);
      const h = 1e-3;
      for (const [i, value] of found.entries()) {
        const moved = (t: number) => loss(logits.map((v, j) => (j === i ? v + t : v)));
        expect(value).toBeCloseTo((moved(h) - moved(-h)) / (2 * h), 3);
      }
    });
  });
});
