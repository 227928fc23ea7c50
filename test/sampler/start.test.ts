import { describe, expect, it } from "vitest";
import { createClassGaussianSums, decodeClassGaussians } from "../../src/data/class-gaussians.js";
import { PURPOSE } from "../../src/engine/random/purpose.js";
import { createStart } from "../../src/sampler/start.js";
import { toySamples, toyShape } from "../data/toy.js";

const size = 60;
const samples = toySamples(200, 11);
for (let n = 0; n < 200; n++) {
  // Class c is bright in channel c.
  for (let i = 0; i < size; i++)
    samples.images[n * size + i] = (i % 3 === samples.labels[n] ? 150 : 60) + Math.round((samples.images[n * size + i] as number) / 10);
}
const sums = createClassGaussianSums(toyShape, 3);
sums.add(samples);
const { bytes, ...low } = sums.encode();
const stats = decodeClassGaussians(bytes, { shape: toyShape, numClasses: 3, ...low });
const key = (position: number, inner = 0) => ({ seed: 1n, purpose: PURPOSE.chainStart, step: 4, inner, position });

describe.each(["uniform", "gaussian", "class-gaussian"] as const)("start: %s", (kind) => {
  const start = createStart({ kind, shape: toyShape, numClasses: 3, stats });

  it("is a function of its key: the same in any order, another at another key, in [0,1]", () => {
    const one = new Float32Array(size);
    const again = new Float32Array(size);
    const other = new Float32Array(size);
    const first = start(one, key(5));
    start(other, key(6));
    expect(start(again, key(5))).toEqual(first);
    expect(again).toEqual(one);
    expect(other).not.toEqual(one);
    start(other, key(5, 1));
    expect(other).not.toEqual(one);
    expect(one.every((v) => v >= 0 && v <= 1)).toBe(true);
    expect(() => start(one, key(5, 2 ** 23))).toThrow(/below 2\^23/);
    expect(() => start(new Float32Array(7), key(0))).toThrow(/7/);
  });

  it("draws each class about as often, or only the one asked for", () => {
    const counts = [0, 0, 0];
    const out = new Float32Array(size);
    for (let position = 0; position < 3000; position++) {
      const { classIndex } = start(out, key(position));
      counts[classIndex] = (counts[classIndex] ?? Number.NaN) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(5 * Math.sqrt(1000 * (2 / 3)));
    const only = createStart({ kind, shape: toyShape, numClasses: 3, stats, classIndex: 2 });
    expect([0, 1, 2, 3].map((position) => only(out, key(position)).classIndex)).toEqual([2, 2, 2, 2]);
  });
});

describe("start", () => {
  const brightest = (out: Float32Array): number => {
    const means = [0, 1, 2].map((c) => out.filter((_, i) => i % 3 === c).reduce((a, b) => a + b, 0));
    return means.indexOf(Math.max(...means));
  };

  it("of a class looks like that class", () => {
    const start = createStart({ kind: "class-gaussian", shape: toyShape, numClasses: 3, stats });
    const out = new Float32Array(size);
    for (let position = 0; position < 100; position++) expect(start(out, key(position)).classIndex).toBe(brightest(out));
  });

  it("of kind gaussian knows no class: its mean is that of all data", () => {
    const start = createStart({ kind: "gaussian", shape: toyShape, numClasses: 3, stats });
    const out = new Float32Array(size);
    let sum = 0;
    for (let position = 0; position < 500; position++) {
      start(out, key(position));
      sum += out.reduce((a, b) => a + b, 0) / size;
    }
    const mean = samples.images.reduce((a, b) => a + b, 0) / samples.images.length / 255;
    expect(sum / 500).toBeCloseTo(mean, 2);
  });

  it("needs the Gaussians of this data set", () => {
    expect(() => createStart({ kind: "gaussian", shape: toyShape, numClasses: 3 })).toThrow(/without the data set's Gaussians/);
    expect(() => createStart({ kind: "gaussian", shape: toyShape, numClasses: 4, stats })).toThrow(/another data set/);
  });
});
