import { describe, expect, it } from "vitest";
import { createClassGaussianSums, createClassGaussianTransform, decodeClassGaussians } from "../../src/data/class-gaussians.js";
import { createDct2d } from "../../src/data/dct.js";
import { pixelsOf, type SampleShape, type Samples } from "../../src/data/samples.js";
import { fillNormal, fillUniform } from "../../src/engine/random/philox.js";
import * as fc from "../kit/property.js";
import { toySamples } from "./toy.js";

/** X = C x R^T from the definition. */
function dctByDefinition(x: Float64Array, height: number, width: number): number[] {
  const c = (k: number, i: number, n: number): number => Math.sqrt((k === 0 ? 1 : 2) / n) * Math.cos((Math.PI * (i + 0.5) * k) / n);
  return Array.from(x, (_, uv) => {
    const [u, v] = [Math.floor(uv / width), uv % width];
    return x.reduce((sum, value, yx) => sum + value * c(u, Math.floor(yx / width), height) * c(v, yx % width, width), 0);
  });
}

describe("dct", () => {
  it("is the orthonormal DCT-II, and its inverse undoes it, for even and odd sizes", () => {
    const sizes = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(sizes, sizes, fc.nat(), (height, width, position) => {
        const random = new Float32Array(height * width);
        fillNormal(random, { seed: 1n, purpose: 255, step: 0, position });
        const x = new Float64Array(height * width + 2);
        x.set(random, 2);
        const dct = createDct2d(height, width);
        const out = new Float64Array(x.length);
        dct.forward(x, out, 2);
        for (const [i, expected] of dctByDefinition(x.subarray(2), height, width).entries()) expect(out[i + 2]).toBeCloseTo(expected, 10);
        dct.inverse(out, out, 2);
        for (const [i, expected] of x.entries()) expect(out[i]).toBeCloseTo(expected, 10);
      }),
      { numRuns: 60 },
    );
  });
});

function gaussiansOf(samples: Samples, shape: SampleShape, numClasses: number) {
  const sums = createClassGaussianSums(shape, numClasses);
  const half = samples.labels.length >> 1;
  sums.add({ images: samples.images.subarray(0, half * pixelsOf(shape)), labels: samples.labels.subarray(0, half) });
  sums.add({ images: samples.images.subarray(half * pixelsOf(shape)), labels: samples.labels.subarray(half) });
  const { bytes, lowHeight, lowWidth } = sums.encode();
  return { bytes, lowHeight, lowWidth, stats: decodeClassGaussians(bytes, { shape, numClasses, lowHeight, lowWidth }) };
}

function covariance(rows: readonly ArrayLike<number>[]): { mean: number[]; matrix: number[][] } {
  const size = rows[0]?.length ?? 0;
  const mean = Array.from({ length: size }, (_, i) => rows.reduce((sum, row) => sum + (row[i] as number), 0) / rows.length);
  const matrix = mean.map((mi, i) =>
    mean.map((mj, j) => rows.reduce((sum, row) => sum + ((row[i] as number) - mi) * ((row[j] as number) - mj), 0) / rows.length),
  );
  return { mean, matrix };
}

/** Draws of a component, without the clamp getting in the way: the samples below stay well inside [0,1]. */
function drawsOf(stats: ReturnType<typeof gaussiansOf>["stats"], component: (typeof stats)["all"], n: number): Float32Array[] {
  const transform = createClassGaussianTransform(stats);
  return Array.from({ length: n }, (_, position) => {
    const out = new Float32Array(pixelsOf(stats.shape));
    fillNormal(out, { seed: 5n, purpose: 255, step: 1, position });
    transform(component, out);
    return out;
  });
}

describe("class Gaussians", () => {
  it("are exact where every frequency is a low one: mean and full covariance of each class", () => {
    const shape = { height: 3, width: 2, channels: 2 };
    const size = pixelsOf(shape);
    // Correlated on purpose: each pixel leans on the one before, and classes differ.
    const samples = toySamples(400, 8, shape, 2);
    for (let n = 0; n < 400; n++) {
      const base = 90 + 40 * (samples.labels[n] as number);
      for (let i = 0; i < size; i++) {
        const before = i === 0 ? base : (samples.images[n * size + i - 1] as number);
        samples.images[n * size + i] = Math.round(0.7 * before + 0.3 * base + ((samples.images[n * size + i] as number) - 128) / 10);
      }
    }
    const { stats } = gaussiansOf(samples, shape, 2);
    const rowsOf = (label: number | null) =>
      Array.from(samples.labels, (of, n) =>
        label === null || of === label ? Array.from(samples.images.subarray(n * size, (n + 1) * size), (v) => v / 255) : null,
      ).filter((row) => row !== null);
    for (const [component, rows] of [
      [stats.classes[0], rowsOf(0)],
      [stats.classes[1], rowsOf(1)],
      [stats.all, rowsOf(null)],
    ] as const) {
      const truth = covariance(rows);
      const n = 20_000;
      const drawn = covariance(drawsOf(stats, component as (typeof stats)["all"], n));
      const scale = Math.max(...truth.matrix.map((row, i) => row[i] as number)) + 2.5e-5;
      for (let i = 0; i < size; i++) {
        expect(Math.abs((drawn.mean[i] as number) - (truth.mean[i] as number))).toBeLessThan(5 * Math.sqrt(scale / n));
        for (let j = 0; j < size; j++) {
          const expected = (truth.matrix[i]?.[j] as number) + (i === j ? 2.5e-5 : 0);
          expect(Math.abs((drawn.matrix[i]?.[j] as number) - expected)).toBeLessThan(5 * scale * Math.sqrt(2 / n));
        }
      }
    }
  });

  it("keep each pixel's mean and the whole variance at sizes with high frequencies", () => {
    const shape = { height: 10, width: 9, channels: 3 };
    const size = pixelsOf(shape);
    const samples = toySamples(300, 9, shape, 1);
    for (let i = 0; i < samples.images.length; i++) samples.images[i] = 100 + (i % 50) + Math.round((samples.images[i] as number) / 12);
    const { stats, lowHeight, lowWidth } = gaussiansOf(samples, shape, 1);
    expect([lowHeight, lowWidth]).toEqual([8, 8]);
    const rows = Array.from({ length: 300 }, (_, n) => Array.from(samples.images.subarray(n * size, (n + 1) * size), (v) => v / 255));
    const drawn = drawsOf(stats, stats.classes[0] as (typeof stats)["all"], 2000);
    const meanOf = (of: readonly ArrayLike<number>[], i: number): number =>
      of.reduce((sum, row) => sum + (row[i] as number), 0) / of.length;
    let [variance, expectedVariance] = [0, 0];
    for (let i = 0; i < size; i++) {
      const [mean, expectedMean] = [meanOf(drawn, i), meanOf(rows, i)];
      expect(Math.abs(mean - expectedMean)).toBeLessThan(0.01);
      variance += drawn.reduce((sum, row) => sum + ((row[i] as number) - mean) ** 2, 0) / drawn.length;
      expectedVariance += rows.reduce((sum, row) => sum + ((row[i] as number) - expectedMean) ** 2, 0) / rows.length + 2.5e-5;
    }
    expect(variance / expectedVariance).toBeCloseTo(1, 1);
    expect(Math.abs(variance / expectedVariance - 1)).toBeLessThan(0.02);
  });

  it("stay in [0,1] and give a class without samples the middle", () => {
    const shape = { height: 4, width: 4, channels: 1 };
    const samples = toySamples(20, 10, shape, 1);
    const { stats } = gaussiansOf(samples, shape, 2);
    const transform = createClassGaussianTransform(stats);
    const out = new Float32Array(16);
    fillUniform(out, { seed: 1n, purpose: 255, step: 0, position: 0 });
    for (let i = 0; i < 16; i++) out[i] = (out[i] as number) * 200 - 100;
    transform(stats.all, out);
    expect(Math.min(...out)).toBe(0);
    expect(Math.max(...out)).toBe(1);
    out.fill(0);
    transform(stats.classes[1] as (typeof stats)["all"], out);
    for (const value of out) expect(value).toBeCloseTo(0.5, 6);
  });

  it("are refused when their bytes are not of the data set's size", () => {
    const shape = { height: 4, width: 4, channels: 1 };
    const { bytes } = gaussiansOf(toySamples(20, 10, shape, 2), shape, 2);
    const meta = { shape, numClasses: 2, lowHeight: 4, lowWidth: 4 };
    expect(() => decodeClassGaussians(bytes.subarray(1), meta)).toThrow(/class Gaussians of \d+ bytes where \d+ are due/);
    expect(() => decodeClassGaussians(bytes, { ...meta, lowHeight: 5 })).toThrow(/class Gaussians/);
    // Any byte offset will do.
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    const whole = decodeClassGaussians(bytes, meta);
    expect(decodeClassGaussians(shifted.subarray(1), meta)).toEqual(whole);
    expect(decodeClassGaussians(Buffer.from(shifted.buffer, 1), meta)).toEqual(whole);
  });
});
