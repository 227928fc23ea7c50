/** The Fréchet distance and its linear algebra against closed forms and PyTorch's float64 routines. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fillNormal } from "../../../src/engine/random/philox.js";
import { type Features, frechetDistance, frechetOfMoments, momentsOf } from "../../../src/evaluate/quality/frechet.js";
import { classifierScore } from "../../../src/evaluate/quality/inception-score.js";
import { pivotedCholesky, symmetricEigenvalues } from "../../../src/evaluate/quality/symmetric.js";
import { packageRoot } from "../../../src/util/package.js";
import { encode, hasPyTorch, pyTorchNote, runPyTorch } from "../../kit/pytorch.js";

const script = join(packageRoot, "test/evaluate/quality/linalg_reference.py");

function normals(count: number, position: number): Float32Array {
  const values = new Float32Array(count);
  fillNormal(values, { seed: 5n, purpose: 250, step: 0, position });
  return values;
}

/** Correlated features of very different scales, as a network's are. */
function features(numSamples: number, numFeatures: number, position: number, shift = 0): Features {
  const raw = normals(numSamples * numFeatures, position);
  const mix = normals(numFeatures * numFeatures, 1000 + (position % 2));
  const values = new Float32Array(numSamples * numFeatures);
  for (let i = 0; i < numSamples; i++) {
    for (let f = 0; f < numFeatures; f++) {
      let sum = shift;
      for (let g = 0; g < numFeatures; g++) {
        sum += ((raw[i * numFeatures + g] as number) * (mix[f * numFeatures + g] as number)) / (1 + g);
      }
      values[i * numFeatures + f] = Math.fround(sum);
    }
  }
  return { numSamples, numFeatures, values };
}

describe("the Fréchet distance", () => {
  it("of one-dimensional features is the closed form (m1 - m2)^2 + (s1 - s2)^2", () => {
    const a = { numSamples: 4, numFeatures: 1, values: Float64Array.of(0, 2, 4, 6) };
    const b = { numSamples: 3, numFeatures: 1, values: Float64Array.of(10, 11, 12) };
    expect(frechetDistance(a, b)).toBeCloseTo((3 - 11) ** 2 + (Math.sqrt(20 / 3) - 1) ** 2, 12);
  });

  it("of diagonal covariances adds up over the features", () => {
    const diagonal = (...values: number[]) => Float64Array.from({ length: 9 }, (_, i) => (i % 4 === 0 ? (values[i / 4] as number) : 0));
    const a = { numSamples: 9, mean: Float64Array.of(1, 2, 3), covariance: diagonal(4, 9, 0) };
    const b = { numSamples: 9, mean: Float64Array.of(1, 0, 3), covariance: diagonal(1, 9, 16) };
    expect(frechetOfMoments(a, b)).toBeCloseTo(4 + 1 + 0 + 16, 12);
  });

  it("is 0 between a set and itself, and the same in both directions", () => {
    const a = features(300, 20, 1);
    const b = features(200, 20, 2, 0.3);
    expect(frechetDistance(a, a)).toBeLessThan(1e-6);
    expect(frechetDistance(a, b)).toBeCloseTo(frechetDistance(b, a), 6);
  });

  it("refuses a single sample and features that are not numbers", () => {
    const one = { numSamples: 1, numFeatures: 2, values: Float32Array.of(1, 2) };
    expect(() => momentsOf(one)).toThrow(/1 samples have no covariance/);
    expect(() => momentsOf({ numSamples: 2, numFeatures: 1, values: Float32Array.of(1, Number.NaN) })).toThrow(/feature 0 is not a finite/);
  });

  it.skipIf(!hasPyTorch)(`is PyTorch's in float64 within 1e-6, full rank and not${pyTorchNote}`, () => {
    const pairs: [Features, Features][] = [
      [features(500, 64, 1), features(400, 64, 2, 0.1)],
      [features(500, 64, 3), features(400, 64, 5)],
      [features(40, 96, 1), features(50, 96, 2)], // fewer samples than features: singular covariances
      [features(1000, 8, 7), features(1000, 8, 9, 2)],
    ];
    const asked = pairs.map((pair) =>
      pair.map(({ numSamples, numFeatures, values }) => ({ shape: [numSamples, numFeatures], values: encode(values as Float32Array) })),
    );
    const { frechet } = runPyTorch(script, { pairs: asked }) as { frechet: number[] };
    for (const [i, [a, b]] of pairs.entries()) {
      const expected = frechet[i] as number;
      expect(Math.abs(frechetDistance(a, b) - expected) / expected, `pair ${i}`).toBeLessThan(1e-6);
    }
  });
});

describe("symmetric matrices", () => {
  it("have the eigenvalues of the second difference, 2 - 2 cos(k pi / (n+1))", () => {
    const n = 50;
    const matrix = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      matrix[i * n + i] = 2;
      if (i > 0) matrix[i * n + i - 1] = matrix[(i - 1) * n + i] = -1;
    }
    const found = symmetricEigenvalues(matrix, n);
    found.forEach((value, k) => {
      expect(value).toBeCloseTo(2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1)), 12);
    });
  });

  it.each([1, 2, 3, 17])("keep trace and sum of squares at size %i", (n) => {
    const raw = normals(n * n, 3);
    const matrix = Float64Array.from(raw, (_, i) => (raw[i] as number) + (raw[(i % n) * n + Math.floor(i / n)] as number));
    const trace = matrix.reduce((sum, value, i) => sum + (i % (n + 1) === 0 ? value : 0), 0);
    const squares = matrix.reduce((sum, value) => sum + value * value, 0);
    const found = symmetricEigenvalues(matrix.slice(), n);
    expect(found.reduce((sum, value) => sum + value, 0)).toBeCloseTo(trace, 9);
    expect(found.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(squares, 8);
  });

  it("are rebuilt by their pivoted Cholesky factor, whose rank is theirs", () => {
    const n = 12;
    const half = normals(n * 5, 4); // rank 5
    const matrix = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let k = 0; k < 5; k++)
          matrix[i * n + j] = (matrix[i * n + j] as number) + (half[i * 5 + k] as number) * (half[j * 5 + k] as number);
    const { values, rank } = pivotedCholesky(matrix, n);
    expect(rank).toBe(5);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += (values[i * rank + k] as number) * (values[j * rank + k] as number);
        expect(sum).toBeCloseTo(matrix[i * n + j] as number, 10);
      }
    }
  });

  it("of zeros have rank 0", () => {
    expect(pivotedCholesky(new Float64Array(9), 3).rank).toBe(0);
  });

  it.skipIf(!hasPyTorch)(`have PyTorch's eigenvalues${pyTorchNote}`, () => {
    const n = 120;
    const raw = normals(n * n, 6);
    const values = Float32Array.from(raw, (_, i) => Math.fround((raw[i] as number) + (raw[(i % n) * n + Math.floor(i / n)] as number)));
    const { eigenvalues } = runPyTorch(script, { symmetric: { shape: [n, n], values: encode(values) } }) as { eigenvalues: number[] };
    symmetricEigenvalues(Float64Array.from(values), n).forEach((value, i) => {
      expect(value).toBeCloseTo(eigenvalues[i] as number, 10);
    });
  });
});

describe("a classifier's score", () => {
  it("is 1 for samples that look alike and K for certain, even classes", () => {
    const alike = Array.from({ length: 40 }, () => [2, 0, 1]).flat();
    expect(classifierScore(alike, 3)).toMatchObject({ mean: expect.closeTo(1, 12), std: expect.closeTo(0, 12), numSplits: 10 });
    const certain = Array.from({ length: 40 }, (_, i) => [0, 1, 2, 3].map((k) => (k === i % 4 ? 1000 : 0))).flat();
    expect(classifierScore(certain, 4).mean).toBeCloseTo(4, 9);
  });

  it.skipIf(!hasPyTorch)(`is the published formula in PyTorch${pyTorchNote}`, () => {
    const logits = normals(333 * 10, 8).map((value) => 3 * value);
    const { score } = runPyTorch(script, { logits: { shape: [333, 10], values: encode(logits) } }) as { score: [number, number] };
    const { mean, std } = classifierScore(logits, 10);
    expect(mean).toBeCloseTo(score[0], 9);
    expect(std).toBeCloseTo(score[1], 9);
  });
});
