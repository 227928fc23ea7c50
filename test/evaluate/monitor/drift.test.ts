/** Drift statistics against hand computations, and the bootstrap's alarms against the rate that it promises. */
import { describe, expect, it } from "vitest";
import { fillNormal } from "../../../src/engine/random/philox.js";
import { driftOf, driftThresholds, kolmogorovSmirnov, populationStability } from "../../../src/evaluate/monitor/drift.js";

function normals(count: number, position: number, shift = 0): Float64Array {
  const values = new Float32Array(count);
  fillNormal(values, { seed: 21n, purpose: 250, step: 0, position });
  return Float64Array.from(values, (value) => value + shift).sort();
}

describe("the population stability index", () => {
  it("is the sum over bins of equal reference shares", () => {
    const reference = Float64Array.from({ length: 8 }, (_, i) => i); // edges of 4 bins: 1.75, 3.5, 5.25
    const batch = Float64Array.of(0, 0.5, 1, 2, 2.5, 6); // shares 3/6, 2/6, none, 1/6
    const half = 0.5 / 6;
    const expected =
      (3 / 6 - 1 / 4) * Math.log(2) +
      (2 / 6 - 1 / 4) * Math.log(4 / 3) +
      (half - 1 / 4) * Math.log(4 * half) +
      (1 / 6 - 1 / 4) * Math.log(4 / 6);
    expect(populationStability(reference, batch, 4)).toBeCloseTo(expected, 12);
  });

  it("is 0 between a sample and itself", () => {
    expect(populationStability(normals(500, 1), normals(500, 1))).toBe(0);
  });
});

describe("the Kolmogorov-Smirnov distance", () => {
  it("is the largest step between distribution functions, ties taken together", () => {
    expect(kolmogorovSmirnov(Float64Array.of(1, 2, 3, 4), Float64Array.of(3, 4, 5, 6))).toBe(0.5);
    expect(kolmogorovSmirnov(Float64Array.of(1, 1, 1), Float64Array.of(1, 1))).toBe(0);
    expect(kolmogorovSmirnov(Float64Array.of(1, 2), Float64Array.of(3))).toBe(1);
    expect(kolmogorovSmirnov(Float64Array.of(0, 1, 1, 2), Float64Array.of(1, 3))).toBe(0.5);
  });

  it("of large normal samples a shift apart is 2 Phi(shift/2) - 1", () => {
    expect(kolmogorovSmirnov(normals(40_000, 1), normals(40_000, 2, 1))).toBeCloseTo(0.3829, 1.5);
  });
});

describe("thresholds from the bootstrap", () => {
  const RATE = 0.05;
  const reference = normals(1500, 5);
  const thresholds = driftThresholds(reference, { batchSize: 200, falseAlarmRate: RATE, seed: 1n, numResamples: 1000 });
  const alarmed = (batch: Float64Array): boolean => {
    const drift = driftOf(reference, batch);
    return drift.psi > thresholds.psi || drift.ks > thresholds.ks || drift.wasserstein > thresholds.wasserstein;
  };

  it("are the same for the same seed", () => {
    expect(driftThresholds(reference, { batchSize: 200, falseAlarmRate: RATE, seed: 1n, numResamples: 1000 })).toEqual(thresholds);
  });

  it("are near Smirnov's for two samples of these sizes", () => {
    // D_alpha = sqrt(-ln(alpha/2)/2) sqrt((n+m)/(n m)), alpha a third of the rate.
    const asymptotic = Math.sqrt(-Math.log(RATE / 3 / 2) / 2) * Math.sqrt(1700 / (1500 * 200));
    expect(thresholds.ks / asymptotic).toBeGreaterThan(0.9);
    expect(thresholds.ks / asymptotic).toBeLessThan(1.1);
  });

  it("raise no more alarms than promised over references and batches without drift", () => {
    // Over many references, since a single one has a rate of its own.
    let alarms = 0;
    const [numReferences, numBatches] = [20, 20];
    for (let r = 0; r < numReferences; r++) {
      const drawn = normals(300, 100 + r);
      const limits = driftThresholds(drawn, { batchSize: 100, falseAlarmRate: RATE, seed: BigInt(r), numResamples: 400 });
      for (let b = 0; b < numBatches; b++) {
        const drift = driftOf(drawn, normals(100, 10_000 + r * numBatches + b));
        if (drift.psi > limits.psi || drift.ks > limits.ks || drift.wasserstein > limits.wasserstein) alarms++;
      }
    }
    // 400 batches: 20 alarms at the promised rate; Bonferroni makes it fewer, and 32 would be three deviations above.
    expect(alarms).toBeLessThanOrEqual(32);
    expect(alarms).toBeGreaterThanOrEqual(2);
  });

  it("notice a shift of half a deviation in nearly every batch", () => {
    let noticed = 0;
    for (let b = 0; b < 20; b++) if (alarmed(normals(200, 500 + b, 0.5))) noticed++;
    expect(noticed).toBeGreaterThanOrEqual(19);
  });
});
