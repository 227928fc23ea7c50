/** The cost model against a simulation of each algorithm's messages, its fit against constants that are known, and the choice. */

import { describe, expect, it } from "vitest";
import {
  ALGORITHMS,
  type Algorithm,
  type CostConstants,
  costTerms,
  DEFAULT_COST,
  fastest,
  fitCost,
  predictMs,
} from "../../src/collective/cost-model.js";
import { coreSize, partnersOf, planPeers } from "../../src/collective/peer-plan.js";
import { ringArrivals } from "../../src/collective/ring-plan.js";
import * as fc from "../kit/property.js";

const constants = fc.record({
  latencyUs: fc.double({ min: 1, max: 500, noNaN: true }),
  perValueNs: fc.double({ min: 0.1, max: 20, noNaN: true }),
  perSumNs: fc.double({ min: 0.05, max: 5, noNaN: true }),
});

describe("the terms of the model", () => {
  it("are those that the busiest rank's plan has, for the exchanges", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("doubling" as const, "halving" as const),
        fc.integer({ min: 0, max: 6 }),
        fc.nat(20),
        (algorithm, lg, factor) => {
          const worldSize = 2 ** lg;
          const numValues = factor * worldSize;
          const plan = planPeers(algorithm, { rank: 0, worldSize, numValues });
          const received = plan.map((move) => (move.kind === "exchange" ? move.receive.to - move.receive.from : 0));
          const added = plan.map((move, i) => (move.kind === "exchange" && move.action === "add" ? (received[i] as number) : 0));
          const total = (values: number[]) => values.reduce((sum, value) => sum + value, 0);
          expect(costTerms(algorithm, numValues, worldSize)).toEqual({
            messages: plan.length,
            values: total(received),
            sums: total(added),
          });
        },
      ),
    );
  });

  it("are those that the plan has, for the ring", () => {
    for (const worldSize of [2, 3, 4, 7]) {
      const numValues = 120 * worldSize;
      const arrivals = [...ringArrivals({ rank: 0, worldSize, numValues, chunkLength: numValues })];
      const values = arrivals.reduce((sum, { from, to }) => sum + to - from, 0);
      expect(costTerms("ring", numValues, worldSize)).toEqual({ messages: arrivals.length, values, sums: 0 });
    }
  });
});

describe("the plan of exchanges", () => {
  it("gives every rank every rank's value once, and pairs all that is sent with what is received", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("doubling" as const, "halving" as const),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(30),
        (algorithm, worldSize, numValues) => {
          const plans = Array.from({ length: worldSize }, (_, rank) => [...planPeers(algorithm, { rank, worldSize, numValues })]);
          // Each value is the list of ranks whose share it contains.
          const held = plans.map((_, rank) => Array.from({ length: numValues }, () => [rank]));
          const mail = new Map<string, number[][][]>();
          const box = (from: number, to: number) => {
            const key = `${from} ${to}`;
            if (!mail.has(key)) mail.set(key, []);
            return mail.get(key) as number[][][];
          };
          const sent = plans.map(() => false);
          for (let moved = true; moved; ) {
            moved = false;
            for (const [rank, plan] of plans.entries()) {
              const move = plan[0];
              if (!move) continue;
              const mine = held[rank] as number[][];
              expect(partnersOf(rank, worldSize)).toContain(move.partner);
              if (move.kind !== "receive" && !sent[rank]) {
                const { from, to } = move.kind === "send" ? move.range : move.send;
                box(rank, move.partner).push(mine.slice(from, to).map((ranks) => [...ranks]));
                sent[rank] = true;
              }
              if (move.kind !== "send") {
                const came = box(move.partner, rank).shift();
                if (!came) continue;
                const { from, to } = move.kind === "receive" ? move.range : move.receive;
                expect(came.length).toBe(to - from);
                came.forEach((ranks, i) => {
                  mine[from + i] = move.action === "add" ? [...(mine[from + i] as number[]), ...ranks] : ranks;
                });
              }
              plan.shift();
              sent[rank] = false;
              moved = true;
            }
          }
          expect(plans.every((plan) => plan.length === 0)).toBe(true);
          expect([...mail.values()].every((left) => left.length === 0)).toBe(true);
          const everyone = Array.from({ length: worldSize }, (_, rank) => rank);
          for (const values of held) for (const ranks of values) expect(ranks.toSorted((a, b) => a - b)).toEqual(everyone);
        },
      ),
    );
  });

  it("has its core among the powers of two", () => {
    expect([1, 2, 3, 4, 5, 7, 8, 9, 1000].map(coreSize)).toEqual([1, 2, 2, 4, 4, 4, 8, 8, 512]);
  });
});

describe("the fit", () => {
  it("finds constants that the timings were made with", () => {
    fc.assert(
      fc.property(constants, (truth) => {
        const timings = ALGORITHMS.flatMap((algorithm) =>
          [2, 4, 8].flatMap((worldSize) =>
            [100, 10_000, 1_000_000].map((numValues) => ({
              algorithm,
              worldSize,
              numValues,
              ms: predictMs(algorithm, numValues, worldSize, truth),
            })),
          ),
        );
        const found = fitCost(timings);
        for (const key of Object.keys(truth) as (keyof CostConstants)[]) expect(found[key] / truth[key]).toBeCloseTo(1, 5);
      }),
    );
  });

  it("has no constant below zero, whatever was measured", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            algorithm: fc.constantFrom<Algorithm>("whole", "ring"),
            worldSize: fc.integer({ min: 2, max: 8 }),
            numValues: fc.integer({ min: 1, max: 10_000_000 }),
            ms: fc.double({ min: 0.01, max: 1000, noNaN: true }),
          }),
          { minLength: 1, maxLength: 20 },
        ),
        (timings) => {
          for (const value of Object.values(fitCost(timings))) expect(value).toBeGreaterThanOrEqual(0);
        },
      ),
    );
  });
});

describe("the choice", () => {
  it("is never slower than another by the model", () => {
    fc.assert(
      fc.property(constants, fc.integer({ min: 1, max: 50_000_000 }), fc.integer({ min: 2, max: 5000 }), (cost, numValues, worldSize) => {
        const chosen = predictMs(fastest(numValues, worldSize, { constants: cost }), numValues, worldSize, cost);
        for (const algorithm of ALGORITHMS) expect(chosen).toBeLessThanOrEqual(predictMs(algorithm, numValues, worldSize, cost));
      }),
    );
  });

  it("takes exchanges for short vectors and large worlds, and the ring for long vectors", () => {
    expect(fastest(64, 256)).toBe("doubling");
    expect(fastest(300_000, 1024)).toBe("halving");
    expect(fastest(40_000_000, 8)).toBe("ring");
    expect(fastest(64, 2, { among: ["whole", "ring"] })).toBe("whole");
    expect(fastest(1 << 22, 2, { among: ["whole", "ring"], constants: DEFAULT_COST })).toBe("ring");
  });
});
