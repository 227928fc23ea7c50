/** Calibration against hand-made examples, and the temperature against the one that the logits were made with. */
import { describe, expect, it } from "vitest";
import { draws, fillNormal } from "../../../src/engine/random/philox.js";
import { calibration, fitTemperature } from "../../../src/evaluate/calibration/calibration.js";

/** Two-class logits whose softmax is p for class 0. */
const row = (p: number): number[] => [Math.log(p), Math.log(1 - p)];

describe("calibration", () => {
  it("of four decisions is what can be counted by hand", () => {
    // Confidences 0.9 (right), 0.9 (wrong), 0.7 (right), 0.6 (wrong), in ten bins.
    const found = calibration([row(0.9), row(0.9), row(0.7), row(0.4)].flat(), [0, 1, 0, 0], 2, { numBins: 10 });
    expect(found.ece).toBeCloseTo((2 * Math.abs(0.5 - 0.9) + Math.abs(1 - 0.7) + Math.abs(0 - 0.6)) / 4, 12);
    expect(found.mce).toBeCloseTo(0.6, 12);
    expect(found).toMatchObject({ numSamples: 4, numBins: 10, accuracy: 0.5, meanConfidence: expect.closeTo(0.775, 12) });
    expect(found.nll).toBeCloseTo(-(Math.log(0.9) + Math.log(0.1) + Math.log(0.7) + Math.log(0.4)) / 4, 12);
    expect(found.brier).toBeCloseTo((2 * 0.01 + 2 * 0.81 + 2 * 0.09 + 2 * 0.36) / 4, 12);
    expect(found.bins.map(({ count }) => count)).toEqual([0, 0, 0, 0, 0, 1, 1, 0, 2, 0]);
    expect(found.bins[0]).toEqual({ from: 0, to: 0.1, count: 0, confidence: null, accuracy: null });
    expect(found.bins[8]).toMatchObject({ accuracy: 0.5, confidence: expect.closeTo(0.9, 12) });
  });

  it("puts certainty into the last bin, and 15 bins are the default", () => {
    const found = calibration([1000, 0, 1000, 0], [0, 0], 2);
    expect(found).toMatchObject({ numBins: 15, ece: 0, nll: 0, brier: 0 });
    expect(found.bins[14]?.count).toBe(2);
  });

  it("finds the temperature that logits were multiplied by", () => {
    const n = 20_000;
    const normal = new Float32Array(n * 5);
    fillNormal(normal, { seed: 3n, purpose: 250, step: 0, position: 0 });
    const random = draws({ seed: 4n, purpose: 250, step: 0, position: 0 });
    const labels = Int32Array.from({ length: n }, (_, i) => {
      const weights = Array.from(normal.subarray(i * 5, i * 5 + 5), Math.exp);
      const at = random.uniform() * weights.reduce((sum, w) => sum + w, 0);
      const sums = weights.map((_, k) => weights.slice(0, k + 1).reduce((sum, w) => sum + w, 0));
      return Math.max(
        0,
        sums.findIndex((sum) => at < sum),
      );
    });
    const scaled = normal.map((value) => 2.5 * value);
    const temperature = fitTemperature(scaled, labels, 5);
    expect(temperature).toBeGreaterThan(2.4);
    expect(temperature).toBeLessThan(2.6);
    expect(calibration(scaled, labels, 5, { temperature }).ece).toBeLessThan(0.02);
    expect(calibration(scaled, labels, 5).ece).toBeGreaterThan(0.1);
    // The slope is 0 there: neighbours are no better.
    const nll = (t: number) => calibration(scaled, labels, 5, { temperature: t }).nll;
    expect(nll(temperature)).toBeLessThanOrEqual(Math.min(nll(temperature * 1.01), nll(temperature * 0.99)));
  });

  it("has a temperature at the end of the range where no other is best", () => {
    expect(fitTemperature([5, 0, 3, 0], [0, 0], 2)).toBe(1e-3);
    expect(fitTemperature([5, 0, 3, 0], [1, 1], 2)).toBe(1e3);
  });
});
