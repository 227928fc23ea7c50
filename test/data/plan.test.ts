import { describe, expect, it } from "vitest";
import { batchOf, createPlan, numSteps, type PlanOptions, slice, stepsPerEpoch } from "../../src/data/plan.js";
import * as fc from "../kit/property.js";

const anyPlan: fc.Arbitrary<PlanOptions> = fc.record({
  numSamples: fc.integer({ min: 1, max: 400 }),
  shuffleBlock: fc.integer({ min: 1, max: 500 }),
  batchSize: fc.integer({ min: 1, max: 150 }),
  seed: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
});

function idsOfEpoch(options: PlanOptions, epoch: number): number[] {
  const plan = createPlan(options);
  return Array.from({ length: plan.stepsPerEpoch }, (_, i) => [...plan.batchOf(epoch * plan.stepsPerEpoch + i).ids]).flat();
}

describe("plan", () => {
  it("takes every sample exactly once in each epoch, whatever the sizes", () => {
    fc.assert(
      fc.property(anyPlan, fc.nat(50), (options, epoch) => {
        const all = Array.from({ length: options.numSamples }, (_, id) => id);
        expect(idsOfEpoch(options, epoch).sort((a, b) => a - b)).toEqual(all);
      }),
    );
  });

  it("makes only the last batch of an epoch smaller and never an empty one", () => {
    fc.assert(
      fc.property(anyPlan, (options) => {
        const plan = createPlan(options);
        for (let i = 0; i < plan.stepsPerEpoch; i++) {
          const { ids, epoch, indexInEpoch } = plan.batchOf(plan.stepsPerEpoch + i);
          expect([epoch, indexInEpoch]).toEqual([1, i]);
          if (i < plan.stepsPerEpoch - 1) expect(ids.length).toBe(options.batchSize);
          else expect(ids.length).toBe(options.numSamples - i * options.batchSize);
          expect(ids.length).toBeGreaterThan(0);
        }
      }),
    );
  });

  it("depends on the step alone: asked in any order, it answers the same", () => {
    fc.assert(
      fc.property(anyPlan, fc.array(fc.nat(60), { minLength: 1, maxLength: 12 }), (options, steps) => {
        const plan = createPlan(options);
        for (const step of steps) expect(plan.batchOf(step)).toEqual(batchOf(options, step));
      }),
    );
  });

  it("keeps a block's samples together, so that few shards are open at a time", () => {
    const options = { numSamples: 1000, shuffleBlock: 100, batchSize: 50, seed: 3n };
    const order = idsOfEpoch(options, 2);
    for (let from = 0; from < 1000; from += 100) {
      // Blocks are consecutive around the end of the data set: the largest gap between sorted neighbours is outside the block.
      const ids = order.slice(from, from + 100).sort((a, b) => a - b);
      const gaps = ids.map((id, i) => ((ids[(i + 1) % 100] as number) - id + 1000) % 1000).sort((a, b) => b - a);
      expect(gaps[0]).toBe(901);
      expect(gaps[1]).toBe(1);
    }
  });

  it("orders each epoch and each seed anew, and shuffles well", () => {
    const options = { numSamples: 5000, shuffleBlock: 5000, batchSize: 128, seed: 3n };
    const orders = [idsOfEpoch(options, 0), idsOfEpoch(options, 1), idsOfEpoch({ ...options, seed: 4n }, 0)];
    for (const [i, a] of orders.entries()) {
      // A random permutation keeps about one sample in its place.
      expect(a.filter((id, place) => id === place).length).toBeLessThan(8);
      for (const b of orders.slice(i + 1)) expect(a.filter((id, place) => id === b[place]).length).toBeLessThan(8);
      const mean = a.reduce((sum, id, place) => sum + (id - 2499.5) * (place - 2499.5), 0) / 5000;
      expect(Math.abs(mean / (5000 ** 2 / 12))).toBeLessThan(5 / Math.sqrt(5000));
    }
  });

  it("gives each order of a small data set about as often as any other", () => {
    const counts = new Map<string, number>();
    const numEpochs = 6000;
    const plan = createPlan({ numSamples: 4, shuffleBlock: 4, batchSize: 4, seed: 1n });
    for (let epoch = 0; epoch < numEpochs; epoch++) {
      const key = plan.batchOf(epoch).ids.join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - numEpochs / 24) ** 2 / (numEpochs / 24), 0);
    expect(chiSquare).toBeLessThan(23 + 5 * Math.sqrt(2 * 23));
  });

  it("counts the steps of an epoch and of a training", () => {
    const sizes = { numSamples: 50_000, batchSize: 128 };
    expect(stepsPerEpoch(sizes)).toBe(391);
    expect(numSteps(sizes, 3)).toBe(1173);
    expect(numSteps(sizes, 0.5)).toBe(196);
    expect(numSteps(sizes, 1e-9)).toBe(1);
  });

  it("is the same in every version: a run that is resumed must go on with the plan it began with", () => {
    const { ids } = batchOf({ numSamples: 50_000, shuffleBlock: 4096, batchSize: 128, seed: 1n }, 0);
    expect([...ids.subarray(0, 8)]).toEqual([16989, 16876, 17044, 16600, 16940, 17289, 17047, 17264]);
    expect([...batchOf({ numSamples: 10, shuffleBlock: 4, batchSize: 10, seed: 1n }, 1).ids]).toEqual([3, 4, 5, 6, 1, 2, 8, 7, 9, 0]);
  });

  it("costs a step little, even in a large data set", () => {
    const plan = createPlan({ numSamples: 100_000_000, shuffleBlock: 4096, batchSize: 256, seed: 1n });
    plan.batchOf(0);
    const before = process.cpuUsage(); // of this process: whatever else the machine does
    for (let step = 1; step <= 160; step++) plan.batchOf(step);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000 / 160).toBeLessThan(5);
  });
});

describe("slice", () => {
  const anyWeights = fc
    .array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 1, maxLength: 16 })
    .filter((w) => w.some((v) => v > 1e-6));

  it("cuts all positions into contiguous ranges, in proportion to the weights", () => {
    fc.assert(
      fc.property(fc.nat(2000), anyWeights, (total, weights) => {
        const sum = weights.reduce((a, b) => a + b, 0);
        let next = 0;
        for (const [rank, weight] of weights.entries()) {
          const { from, to } = slice(total, rank, weights);
          expect(from).toBe(next);
          expect(Math.abs(to - from - (total * weight) / sum)).toBeLessThanOrEqual(1 + 1e-6);
          next = to;
        }
        expect(next).toBe(total);
      }),
    );
  });

  it("cuts between groups only, in proportion as far as they allow", () => {
    fc.assert(
      fc.property(fc.nat(2000), fc.integer({ min: 1, max: 64 }), anyWeights, (total, groupSize, weights) => {
        const sum = weights.reduce((a, b) => a + b, 0);
        let next = 0;
        for (const [rank, weight] of weights.entries()) {
          const { from, to } = slice(total, rank, weights, groupSize);
          expect(from).toBe(next);
          expect(to === total || to % groupSize === 0).toBe(true);
          expect(Math.abs(to - from - (total * weight) / sum)).toBeLessThanOrEqual(2 * groupSize + 1e-6);
          next = to;
        }
        expect(next).toBe(total);
      }),
    );
  });

  it("may be empty, and is the whole for one rank", () => {
    expect([0, 1, 2].map((rank) => slice(2, rank, [1, 1, 1]))).toEqual([
      { from: 0, to: 1 },
      { from: 1, to: 1 },
      { from: 1, to: 2 },
    ]);
    expect(slice(7, 0, [0.3])).toEqual({ from: 0, to: 7 });
    expect(slice(7, 1, [1, 0, 1])).toEqual({ from: 4, to: 4 });
    expect(() => slice(7, 0, [0, 0])).toThrow(/zero/);
    expect(() => slice(7, 2, [1, 1])).toThrow(/rank 2 of 2/);
    expect(() => slice(7, 0, [1, -1])).toThrow(/weight -1/);
  });

  it("hands the same global batch out at every world size", () => {
    fc.assert(
      fc.property(anyPlan, fc.nat(20), anyWeights, (options, step, weights) => {
        const { ids } = batchOf(options, step);
        const parts = weights.map((_, rank) => {
          const { from, to } = slice(ids.length, rank, weights);
          return [...ids.subarray(from, to)];
        });
        expect(parts.flat()).toEqual([...ids]);
      }),
    );
  });
});
