/** The figures against closed forms and published values, and properties for all inputs. */

import { describe, expect, it } from "vitest";
import { accuracyOf } from "../../src/evaluate/figures/accuracy.js";
import { energyGap, overlap, wasserstein1 } from "../../src/evaluate/figures/energy-gap.js";
import { histogram, sharedBins } from "../../src/evaluate/figures/histogram.js";
import { quantile } from "../../src/util/quantile.js";
import * as fc from "../kit/property.js";

/** Quantiles of N(mean, std^2): samples without sampling noise. Acklam's approximation is not needed: bisection on erf is plain. */
function gaussian(mean: number, std: number, n: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => mean + std * normalQuantile((i + 0.5) / n));
}

function normalCdf(z: number): number {
  // Integral of the density by Simpson's rule from 0: an oracle that shares nothing with the code under test.
  const steps = 400;
  const h = z / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) sum += (i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2) * Math.exp(-((i * h) ** 2) / 2);
  return 0.5 + (sum * h) / 3 / Math.sqrt(2 * Math.PI);
}

function normalQuantile(p: number): number {
  let [low, high] = [-6, 6];
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (normalCdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

const energies = fc.array(fc.double({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 30 });

describe("wasserstein1", () => {
  it("equals the shift between two copies and the mean distance to a point", () => {
    expect(wasserstein1([1, 2, 5], [3, 4, 7])).toBeCloseTo(2, 12);
    expect(wasserstein1([3], [1, 2, 7, 10])).toBeCloseTo((2 + 1 + 4 + 7) / 4, 12);
  });

  it("is exact for unequal sizes", () => {
    expect(wasserstein1([0, 1], [0, 0, 1])).toBeCloseTo(1 / 6, 12);
    expect(wasserstein1([0, 0, 1, 1], [0, 1])).toBe(0);
  });

  it("equals the closed form of two Gaussians of equal mean: (s2 - s1) sqrt(2/pi)", () => {
    expect(wasserstein1(gaussian(0, 1, 1500), gaussian(0, 3, 1500))).toBeCloseTo(2 * Math.sqrt(2 / Math.PI), 2);
  });

  it("is a distance", () => {
    fc.assert(
      fc.property(energies, energies, energies, (a, b, c) => {
        expect(wasserstein1(a, a)).toBe(0);
        expect(wasserstein1(a, b)).toBeCloseTo(wasserstein1(b, a), 9);
        expect(wasserstein1(a, c)).toBeLessThanOrEqual(wasserstein1(a, b) + wasserstein1(b, c) + 1e-9);
      }),
    );
  });
});

describe("overlap", () => {
  it.each([0.5, 1, 2, 4])("equals 2 Phi(-d/2) of two unit Gaussians %d apart", (d) => {
    const result = overlap(gaussian(0, 1, 3000), gaussian(d, 1, 3000));
    expect(result.coefficient).toBeCloseTo(2 * normalCdf(-d / 2), 1.5);
    expect(result.numBins).toBeGreaterThan(30);
  });

  it("is 1 for the same samples, 0 for distant ones, and between for all", () => {
    expect(overlap([1, 2, 3], [1, 2, 3]).coefficient).toBeCloseTo(1, 12);
    expect(overlap([5, 5], [5]).coefficient).toBe(1);
    expect(overlap([0, 1, 2], [100, 101]).coefficient).toBe(0);
    fc.assert(
      fc.property(energies, energies, (a, b) => {
        const { coefficient } = overlap(a, b);
        expect(coefficient).toBeGreaterThanOrEqual(0);
        expect(coefficient).toBeLessThanOrEqual(1 + 1e-9);
        expect(coefficient).toBeCloseTo(overlap(b, a).coefficient, 9);
      }),
    );
  });

  it("sees a narrow distribution beside a wide one", () => {
    expect(overlap(gaussian(-4, 0.2, 500), gaussian(-290, 90, 500)).coefficient).toBeLessThan(0.01);
  });
});

describe("energyGap", () => {
  it("is positive where the other samples have higher energy", () => {
    const gap = energyGap([-4, -6], [-3, -4], { paired: true });
    expect(gap).toMatchObject({
      meanClean: -5,
      meanOther: -3.5,
      signedMean: 1.5,
      meanAbsolute: 1.5,
      stdClean: 1,
      wasserstein: 1.5,
      wassersteinOverStd: 1.5,
    });
  });

  it("tells apart what the mean hides", () => {
    const gap = energyGap([0, 0, 0, 0], [-2, 2, -2, 2], { paired: true });
    expect(gap).toMatchObject({ signedMean: 0, meanAbsolute: 2, wasserstein: 2, wassersteinOverStd: null });
    expect(energyGap([1, 2], [3], { paired: false }).meanAbsolute).toBeNull();
  });
});

describe("accuracyOf", () => {
  // Newcombe 1998, table I, method 3 (score interval without continuity correction).
  it.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])("gives the published interval of %d of %d", (correct, total, low, high) => {
    const { accuracy, interval } = accuracyOf(correct, total);
    expect(accuracy).toBe(correct / total);
    expect(interval[0]).toBeCloseTo(low, 4);
    expect(interval[1]).toBeCloseTo(high, 4);
  });

  it("holds the share and stays inside [0,1]", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0, max: 1, noNaN: true }), (total, share) => {
        const { accuracy, interval } = accuracyOf(Math.round(share * total), total);
        expect(interval[0]).toBeLessThanOrEqual(accuracy);
        expect(interval[1]).toBeGreaterThanOrEqual(accuracy);
        expect(interval[0]).toBeGreaterThanOrEqual(0);
        expect(interval[1]).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("histogram", () => {
  it("counts every value once, outside ones apart", () => {
    fc.assert(
      fc.property(energies, fc.integer({ min: 1, max: 40 }), (values, numBins) => {
        const { counts, below, above } = histogram(values, { from: -20, to: 20, numBins });
        expect(counts.reduce((a, b) => a + b, 0) + below + above).toBe(values.length);
        expect(counts).toHaveLength(numBins);
        expect(below).toBe(values.filter((value) => value < -20).length);
      }),
    );
    expect(histogram([0, 0.5, 1, 2], { from: 0, to: 2, numBins: 2 }).counts).toEqual([2, 2]);
  });

  it("spreads bins over all distributions, and over a constant one", () => {
    const bins = sharedBins([gaussian(0, 1, 1000), gaussian(10, 1, 1000)], 40);
    expect(bins.from).toBeLessThan(-2.5);
    expect(bins.to).toBeGreaterThan(12.5);
    const constant = sharedBins([[3, 3, 3]], 40);
    expect(histogram([3, 3, 3], constant).counts.reduce((a, b) => a + b, 0)).toBe(3);
    expect(sharedBins([[]], 4)).toEqual({ from: 0, to: 1, numBins: 4 });
  });

  it("interpolates quantiles", () => {
    expect(quantile([0, 10], 0.25)).toBe(2.5);
    expect(quantile([4], 0.9)).toBe(4);
  });
});
