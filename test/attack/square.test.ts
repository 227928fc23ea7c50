import { beforeAll, describe, expect, it } from "vitest";
import { energyAdaptiveLoss } from "../../src/attack/energy-adaptive.js";
import { batchOf, distanceOf } from "../../src/attack/fab.js";
import { randomNoise } from "../../src/attack/random-noise.js";
import { shareOf, square } from "../../src/attack/square.js";
import { pyramids } from "../../src/attack/square-painter.js";
import { startCpu } from "../../src/engine/cpu.js";
import { draws } from "../../src/engine/random/philox.js";
import { linearModel } from "../kit/analytic-model.js";
import * as fc from "../kit/property.js";
import { expectNoTensorsLeft } from "../kit/tensors.js";

beforeAll(() => startCpu());
expectNoTensorsLeft();

const SHAPE = [6, 6, 2] as const;
const SIZE = 72;
const drawOf = (position: number) => draws({ seed: 5n, purpose: 200, step: 0, position });
const weights = [0, 1, 2].map((k) => {
  const draw = drawOf(1000 + k);
  return Array.from({ length: SIZE }, () => draw.uniform() - 0.5);
});
const sample = (index: number): Float32Array => {
  const draw = drawOf(index);
  return Float32Array.from({ length: SIZE }, () => draw.uniform());
};

function answer(x: Float32Array): number {
  const logits = weights.map((w) => w.reduce((sum, wi, i) => sum + wi * (x[i] as number), 0));
  return logits.indexOf(Math.max(...logits));
}

function run(indices: readonly number[], norm: "linf" | "l2", eps: number, queries: number) {
  const model = linearModel(weights);
  const samples = indices.map(sample);
  const found = square({
    model,
    x: Float32Array.from(samples.flatMap((x) => [...x])),
    shape: SHAPE,
    labels: Int32Array.from(samples, answer),
    numClasses: 3,
    norm,
    eps,
    queries,
    key: { seed: 3n, purpose: 8, step: 5, positions: Int32Array.from(indices) },
  });
  model.dispose();
  return found;
}

describe("Square", () => {
  it("covers 0.8 of the image, halved after 10, 50, 200, 500, 1000, 2000 and 4000 queries", () => {
    const bounds = [10, 50, 200, 500, 1000, 2000, 4000];
    expect(shareOf(0)).toBe(0.8);
    bounds.forEach((bound, i) => {
      expect(shareOf(bound)).toBe(0.8 / 2 ** i);
      expect(shareOf(bound + 1)).toBe(0.8 / 2 ** (i + 1));
    });
  });

  it.each(["linf", "l2"] as const)("stays within the budget in %s and within [0,1]", (norm) => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 3, noNaN: true }), fc.integer({ min: 0, max: 40 }), fc.nat(50), (eps, queries, index) => {
        const { adversarial } = run([index], norm, eps, queries);
        expect(distanceOf(adversarial, sample(index), norm)).toBeLessThanOrEqual(eps * (1 + 1e-5) + 1e-6);
        expect(adversarial.every((value) => value >= 0 && value <= 1)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it("starts Linf from vertical stripes at the edge of the ball", () => {
    const { adversarial } = run([4], "linf", 0.001, 0);
    const clean = sample(4);
    for (let column = 0; column < 6; column++) {
      for (let channel = 0; channel < 2; channel++) {
        const signs = Array.from({ length: 6 }, (_, row) => {
          const at = (row * 6 + column) * 2 + channel;
          return Math.sign((adversarial[at] as number) - (clean[at] as number));
        });
        expect(new Set(signs).size).toBe(1);
      }
    }
  });

  it.each(["linf", "l2"] as const)("gives a sample the same result alone and among others in %s", (norm) => {
    const all = run([0, 1, 2, 3], norm, norm === "linf" ? 0.05 : 0.4, 60);
    [0, 1, 2, 3].forEach((index) => {
      const alone = run([index], norm, norm === "linf" ? 0.05 : 0.4, 60);
      expect([...alone.adversarial]).toEqual([...all.adversarial.subarray(index * SIZE, (index + 1) * SIZE)]);
      expect(alone.fooled[0]).toBe(all.fooled[index]);
      expect(alone.queries[0]).toBe(all.queries[index]);
    });
  });

  it.each(["linf", "l2"] as const)("finds what there is to find in %s: with enough budget every sample, with none no sample", (norm) => {
    const indices = [0, 1, 2, 3, 4, 5];
    expect([...run(indices, norm, norm === "linf" ? 0.3 : 3, 200).fooled]).toEqual(indices.map(() => 1));
    expect([...run(indices, norm, 1e-6, 20).fooled]).toEqual(indices.map(() => 0));
  });

  it("paints pyramids of norm one whose halves have opposite signs", () => {
    for (const side of [3, 5, 6, 9]) {
      const values = pyramids(side, drawOf(side));
      expect(Math.hypot(...values)).toBeCloseTo(1, 12);
      expect(values.some((value) => value > 0) && values.some((value) => value < 0)).toBe(true);
    }
  });
});

describe("random noise", () => {
  it("fools where most of the ball is misclassified, nowhere where none is", () => {
    const model = linearModel(weights);
    const x = batchOf(sample(0), [0], SHAPE);
    const label = answer(sample(0));
    const common = {
      model,
      x,
      numClasses: 3,
      norm: "linf" as const,
      draws: 20,
      key: { seed: 1n, purpose: 8, step: 9, positions: Int32Array.of(0) },
    };
    expect([...randomNoise({ ...common, labels: Int32Array.of(label), eps: 1e-6 })]).toEqual([0]);
    expect([...randomNoise({ ...common, labels: Int32Array.of((label + 1) % 3), eps: 1e-6 })]).toEqual([1]);
    x.dispose();
    model.dispose();
  });
});

describe("the energy-adaptive loss", () => {
  it("is CE + lambda (E(x*) - E(x))^2, with the gradient that finite differences give", () => {
    const z = Float32Array.of(1, -0.5, 2);
    const logZ = Math.log(Math.exp(1) + Math.exp(-0.5) + Math.exp(2));
    for (const lambda of [1.5, -0.7]) {
      const loss = energyAdaptiveLoss([1], [-1], lambda);
      const gradient = new Float64Array(3);
      expect(loss(z, 0, gradient)).toBeCloseTo(logZ + 0.5 + lambda * (1 - logZ) ** 2, 6);
      const step = 2 ** -9;
      const unused = new Float64Array(3);
      z.forEach((value, k) => {
        const [up, down] = [z.slice(), z.slice()];
        up[k] = value + step;
        down[k] = value - step;
        expect(gradient[k]).toBeCloseTo((loss(up, 0, unused) - loss(down, 0, unused)) / (2 * step), 4);
      });
    }
  });
});
