/** Precision and recall, nearest neighbours and probe images on hand-made sets. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { createMemorySamples } from "../../../src/data/samples.js";
import { startCpu } from "../../../src/engine/cpu.js";
import { gaussianNoise, interpolations, otherImages, uniformNoise } from "../../../src/evaluate/ood/probes.js";
import type { Features } from "../../../src/evaluate/quality/frechet.js";
import { nearestFigures, nearestSearch } from "../../../src/evaluate/quality/nearest.js";
import { precisionRecall, squaredRadii } from "../../../src/evaluate/quality/precision-recall.js";

beforeAll(async () => void (await startCpu()));

const line = (...values: number[]): Features => ({ numSamples: values.length, numFeatures: 1, values: Float64Array.from(values) });

describe("precision and recall", () => {
  it("count samples in balls as wide as the k-th neighbour", () => {
    const real = line(0, 1, 2, 3);
    expect([...squaredRadii(real, 1)]).toEqual([1, 1, 1, 1]);
    expect([...squaredRadii(real, 2)]).toEqual([4, 1, 1, 4]);
    // Real balls cover [-1, 4]; generated ones [9.5, 10.5] around 10 and 10.5's, and 3.5's reaches 10 - 3.5.
    const found = precisionRecall(real, line(3.5, 10, 10.5), { neighbours: 1 });
    expect(found).toEqual({ precision: 1 / 3, recall: 1, neighbours: 1, numReal: 4, numGenerated: 3 });
    expect(precisionRecall(real, line(9.9, 10, 10.1), { neighbours: 1 })).toMatchObject({ precision: 0, recall: 0 });
  });

  it("are 1 between a set and itself", () => {
    expect(precisionRecall(line(0, 5, 7, 20, 21), line(0, 5, 7, 20, 21))).toMatchObject({ precision: 1, recall: 1 });
  });
});

describe("nearest training samples", () => {
  it("are found over blocks, with exact distances", () => {
    const queries = { numSamples: 2, numFeatures: 2, values: Float32Array.of(0, 0, 3, 4) };
    const search = nearestSearch(queries);
    search.add({ numSamples: 2, numFeatures: 2, values: Float32Array.of(5, 5, 0, 1) });
    search.add({ numSamples: 2, numFeatures: 2, values: Float32Array.of(3, 4, 9, 9) });
    expect([...search.result.index]).toEqual([1, 2]);
    expect(search.result.distance[0]).toBeCloseTo(Math.sqrt(1 / 2), 12);
    expect(search.result.distance[1]).toBe(0); // a copy is at exactly 0, which |a|^2 + |b|^2 - 2ab would blur
    expect(search.numCandidates).toBe(4);
    expect(tf.memory().numTensors).toBe(0);
  });

  it("show copies as nearer than test samples are", () => {
    const test = Array.from({ length: 100 }, (_, i) => 1 + i / 100);
    expect(nearestFigures([0, 0, 2, 2], test)).toMatchObject({
      nearerThanTest: 0.5,
      generatedSmallest: 0,
      testSmallest: 1,
      numGenerated: 4,
      numTest: 100,
    });
    expect(nearestFigures(test, test).nearerThanTest).toBeLessThanOrEqual(0.02);
  });
});

describe("probe images", () => {
  const shape = [4, 4, 3] as const;
  it("are the same for the same seed and index, whatever the count", () => {
    expect(uniformNoise(shape, 2, 1n).data).toEqual(uniformNoise(shape, 5, 1n).data.slice(0, 96));
    expect(uniformNoise(shape, 2, 2n).data).not.toEqual(uniformNoise(shape, 2, 1n).data);
  });

  it("of normal noise have the data's mean by channel and stay in [0,1]", () => {
    const { data } = gaussianNoise([16, 16, 3], 20, 1n, { mean: [0.2, 0.5, 0.8], std: [0.05, 0.1, 0.05] });
    const means = [0, 0, 0];
    data.forEach((value, i) => {
      means[i % 3] = (means[i % 3] as number) + value / (data.length / 3);
    });
    for (const [c, wanted] of [0.2, 0.5, 0.8].entries()) expect(means[c]).toBeCloseTo(wanted, 2);
    expect(Math.min(...data)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...data)).toBeLessThanOrEqual(1);
  });

  it("of two images are their mean, never of one alone", () => {
    const images = { shape: [1, 1, 1] as const, numImages: 3, data: Uint8Array.of(0, 100, 255) };
    const { data, numImages } = interpolations(images, 3, 1n);
    expect(numImages).toBe(3);
    data.forEach((value, i) => {
      const others = [0, 100, 255].filter((_, j) => j !== i).map((other) => ((images.data[i] as number) + other) / 2 / 255);
      expect(others.some((other) => Math.abs(other - value) < 1e-6)).toBe(true);
    });
  });

  it("of another data set are resized, and grey becomes colour", async () => {
    const source = createMemorySamples({
      shape: { height: 2, width: 2, channels: 1 },
      numClasses: 1,
      samples: { images: Uint8Array.of(0, 255, 0, 255), labels: Int32Array.of(0) },
    });
    const { images, adapted } = await otherImages(source, shape, 9);
    expect(adapted).toBe("resized from 2x2 to 4x4, grey repeated over 3 channels");
    const row = [0, 0.25, 0.75, 1].flatMap((value) => [value, value, value]);
    Array.from(images.data).forEach((value, i) => {
      expect(value).toBeCloseTo(row[i % 12] as number, 6);
    });
    expect((await otherImages(source, [2, 2, 1], 1)).adapted).toBeNull();
  });
});
