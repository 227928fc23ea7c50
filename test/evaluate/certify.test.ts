/** Statistics against published values and sums term by term, certificates against the closed form of a smoothed linear classifier. */
import type { Tensor2D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import { draws } from "../../src/engine/random/philox.js";
import {
  erfc,
  fairCoinPValue,
  incompleteBeta,
  inverseIncompleteBeta,
  lnGamma,
  lowerBound,
  normalDistribution,
  normalQuantile,
  upperBound,
} from "../../src/evaluate/certify/binomial.js";
import { ABSTAIN, certificateFrom, certifySample, countAnswers, predictionFrom, radiusCap } from "../../src/evaluate/certify/smoothing.js";
import type { Slice } from "../../src/evaluate/robustness/attacks.js";
import { linearModel } from "../kit/analytic-model.js";
import * as fc from "../kit/property.js";

describe("the incomplete beta function", () => {
  it("is the binomial's tail, summed term by term", () => {
    // I_p(k, n - k + 1) = P(X >= k), X ~ Binomial(n, p); all terms are exact enough in float64 for small n.
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.nat(), fc.double({ min: 0.01, max: 0.99, noNaN: true }), (n, pick, p) => {
        const k = 1 + (pick % n);
        let tail = 0;
        for (let x = k; x <= n; x++) {
          let choose = 1;
          for (let i = 0; i < x; i++) choose = (choose * (n - i)) / (i + 1);
          tail += choose * p ** x * (1 - p) ** (n - x);
        }
        expect(Math.abs(incompleteBeta(p, k, n - k + 1) - tail)).toBeLessThan(1e-12);
      }),
    );
  });

  it("has a gamma function below it: factorials, and the square root of pi", () => {
    let factorial = 1;
    for (let n = 1; n <= 20; n++) {
      expect(Math.abs(lnGamma(n) - Math.log(factorial))).toBeLessThan(1e-12 * Math.max(1, Math.log(factorial)));
      factorial *= n;
    }
    expect(lnGamma(0.5)).toBeCloseTo(Math.log(Math.sqrt(Math.PI)), 13);
  });

  it("is turned around", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1, max: 1e5, noNaN: true }),
        fc.double({ min: 1, max: 1e5, noNaN: true }),
        fc.double({ min: 1e-6, max: 1 - 1e-6, noNaN: true }),
        (a, b, share) => {
          expect(incompleteBeta(inverseIncompleteBeta(share, a, b), a, b)).toBeCloseTo(share, 8);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("Clopper-Pearson bounds", () => {
  it("are alpha^(1/n) where all hit, and 0 where none did", () => {
    for (const [n, alpha] of [
      [100, 0.05],
      [100_000, 0.001],
    ] as const) {
      expect(lowerBound(n, n, alpha)).toBeCloseTo(alpha ** (1 / n), 12);
      expect(lowerBound(0, n, alpha)).toBe(0);
      expect(upperBound(0, n, alpha)).toBeCloseTo(1 - alpha ** (1 / n), 12);
    }
  });

  it("are the published two-sided 95 % ones", () => {
    // Exact intervals as tabulated by Newcombe 1998 (method 5): 81 of 263, 15 of 148, 1 of 29.
    for (const [hits, total, low, high] of [
      [81, 263, 0.2527, 0.3676],
      [15, 148, 0.0578, 0.1617],
      [1, 29, 0.0009, 0.1776],
    ] as const) {
      expect(lowerBound(hits, total, 0.025)).toBeCloseTo(low, 4);
      expect(upperBound(hits, total, 0.025)).toBeCloseTo(high, 4);
    }
  });

  it("hold their level: exactly alpha of the distribution lies beyond", () => {
    const p = lowerBound(99_000, 100_000, 0.001);
    expect(1 - incompleteBeta(1 - p, 1001, 99_000)).toBeCloseTo(0.001, 9); // P(X >= 99000) under p
  });
});

describe("the fair coin's test", () => {
  it.each([
    [5, 10, 1],
    [9, 10, 0.021484375],
    [0, 10, 0.001953125],
    [60, 100, 0.05688793364098078],
  ])("%i of %i has the p-value %f", (hits, total, p) => {
    expect(fairCoinPValue(hits, total)).toBeCloseTo(p, 10);
    expect(fairCoinPValue(total - hits, total)).toBeCloseTo(p, 10);
  });
});

describe("the normal distribution", () => {
  it("has the tabulated values", () => {
    for (const [x, p] of [
      [0, 0.5],
      [1, 0.8413447460685429],
      [1.959963984540054, 0.975],
      [-3, 0.0013498980316300933],
      [-6, 9.865876450376946e-10],
    ] as const) {
      expect(Math.abs(normalDistribution(x) / p - 1)).toBeLessThan(1e-12);
      expect(normalQuantile(p)).toBeCloseTo(x, 9);
    }
    expect(erfc(0)).toBe(1);
    expect(erfc(5) / 1.5374597944280349e-12).toBeCloseTo(1, 10);
  });

  it("is turned around by its quantile, far into the tails", () => {
    fc.assert(
      fc.property(fc.double({ min: -7, max: 7, noNaN: true }), (x) => {
        // Above, 1 - p has lost digits before the quantile begins.
        expect(Math.abs(normalQuantile(normalDistribution(x)) - x)).toBeLessThan(x < 4 ? 1e-9 : 1e-4);
      }),
    );
  });
});

describe("certificates", () => {
  const settings = { sigma: 0.5, select: 100, estimate: 1000, alpha: 0.001 };

  it("are sigma times the quantile of the lower bound, for the class that the first draws chose", () => {
    const { answer, radius } = certificateFrom([10, 90], [40, 960], settings);
    expect(answer).toBe(1);
    expect(radius).toBeCloseTo(0.5 * normalQuantile(lowerBound(960, 1000, 0.001)), 12);
    // The second draws may see it otherwise: then there is no certificate, never one for another class.
    expect(certificateFrom([10, 90], [900, 100], settings)).toEqual({ answer: ABSTAIN, radius: 0 });
    expect(certificateFrom([10, 90], [490, 510], settings)).toEqual({ answer: ABSTAIN, radius: 0 });
  });

  it("reach the radii that the paper's numbers of draws allow", () => {
    expect(radiusCap({ sigma: 1, select: 100, estimate: 100_000, alpha: 0.001 })).toBeCloseTo(3.811, 3);
    expect(radiusCap({ sigma: 0.25, select: 100, estimate: 100_000, alpha: 0.001 })).toBeCloseTo(0.953, 3);
    expect(certificateFrom([0, 100], [0, 1000], settings).radius).toBeCloseTo(radiusCap(settings), 10);
  });

  it("predict where the two most frequent answers differ for sure", () => {
    expect(predictionFrom([3, 60, 37], 0.05)).toBe(1); // 60 of 97: p = 0.025
    expect(predictionFrom([3, 60, 37], 0.001)).toBe(ABSTAIN);
  });
});

describe("a smoothed linear classifier", () => {
  const SIZE = 48;
  const draw = draws({ seed: 21n, purpose: 202, step: 0, position: 0 });
  const direction = Array.from({ length: SIZE }, () => draw.uniform() - 0.5);
  const length = Math.hypot(...direction);
  const x = Float32Array.from({ length: SIZE }, () => 0.5);
  const distance = 0.3;
  // f_1 - f_0 = direction . (x - 0.5) + distance * |direction|: the boundary is `distance` away in L2.
  const slice = (): Slice => ({
    model: withBias(distance * length),
    shape: [4, 4, 3],
    numClasses: 2,
    x,
    labels: Int32Array.of(1),
    ids: Int32Array.of(17),
    seed: 4n,
  });
  function withBias(bias: number) {
    // As x sums to a constant along `direction`, a bias is a multiple of it at x = 0.5.
    const inner = linearModel([direction.map(() => 0), direction]);
    const shift = direction.reduce((sum, w) => sum + 0.5 * w, 0);
    return { ...inner, logits: (z: Parameters<typeof inner.logits>[0]) => shiftSecond(inner.logits(z), bias - shift) };
  }

  function shiftSecond(logits: Tensor2D, by: number): Tensor2D {
    const shifted = tf.add(logits, tf.tensor2d([[0, by]])) as Tensor2D;
    logits.dispose();
    return shifted;
  }

  beforeAll(() => startCpu());

  it("is certified as far as its boundary, whatever sigma, but for what the bound costs", () => {
    for (const sigma of [0.1, 0.3]) {
      const [answer, radius, prediction, hits, correct] = certifySample(slice(), 1, { sigma, select: 50, estimate: 4000, alpha: 0.001 });
      expect([answer, prediction, correct]).toEqual([1, 1, 1]);
      const probability = normalDistribution(distance / sigma);
      expect(Math.abs((hits as number) / 4000 - probability)).toBeLessThan(
        4 * Math.sqrt((probability * (1 - probability)) / 4000) + 1 / 4000,
      );
      expect(radius).toBeLessThan(distance * 1.01);
      expect(radius).toBeGreaterThan(Math.min(distance, radiusCap({ sigma, select: 50, estimate: 4000, alpha: 0.001 })) * 0.85);
    }
  });

  it("draws the same noise in any cut, other noise for another sample", () => {
    const sigma = 0.3;
    const whole = countAnswers(slice(), sigma, 0, 700);
    const parts = [countAnswers(slice(), sigma, 0, 333), countAnswers(slice(), sigma, 333, 700)];
    expect([...whole]).toEqual([...(parts[0] as Int32Array)].map((count, k) => count + (parts[1]?.[k] as number)));
    expect([...countAnswers({ ...slice(), ids: Int32Array.of(18) }, sigma, 0, 700)]).not.toEqual([...whole]);
  });
});
