/** The model of a step's time: against closed forms, the simulation, planted constants and its own limits. */

import { describe, expect, it } from "vitest";
import { simulateFailures } from "../../bench/scaling/failure-simulation.js";
import { fitCompute, fitHost, fitNonNegative, fitVote } from "../../bench/scaling/fit.js";
import { dalyMs, expectedMs, goodput, type Recovery, youngMs } from "../../bench/scaling/goodput.js";
import { simulate } from "../../bench/scaling/simulation.js";
import { type Cluster, exposed, hostMs, type StepModel, stepTime } from "../../bench/scaling/step-time.js";
import { deviationOf, expectedMaximum, meanOf, normalMaximum, quantileOf } from "../../bench/scaling/stragglers.js";
import * as fc from "../kit/property.js";

const model: StepModel = {
  numParameters: 3 * 2 ** 20,
  compute: { fixedMs: 20, perSampleMs: 3 },
  overlapShare: 0.2,
  aheadShare: 0,
  jitter: [1],
  host: { latencyUs: 30, perValueNs: 0.5, perSumNs: 0 },
  vote: { fixedMs: 1, perWorkerMs: 0.02, perSampleMs: 0.0002 },
  sampleBytes: 3072,
};
const jitter = Array.from({ length: 100 }, (_, i) => 0.9 + 0.002 * (i + 0.5));
const link = { gigabitsPerSecond: 25, latencyUs: 40, utilisation: 0.8, perSumNs: 0.25 };
const cluster: Cluster = { workers: 8, workersPerHost: 1, link, feed: "workers" };
const sizes = fc.integer({ min: 1, max: 4096 });

describe("the slowest of n workers", () => {
  it("takes what order statistics say", () => {
    expect(expectedMaximum([1, 2, 3], 1)).toBeCloseTo(2, 12);
    // Of two draws from {1, 2, 3}: 1 in 1 of 9 cases, 2 in 3, 3 in 5.
    expect(expectedMaximum([1, 2, 3], 2)).toBeCloseTo((1 + 2 * 3 + 3 * 5) / 9, 12);
    expect(expectedMaximum([1, 2, 3], 1000)).toBeCloseTo(3, 12);
    // Of n uniform values: n / (n + 1).
    const uniform = Array.from({ length: 10_000 }, (_, i) => (i + 0.5) / 10_000);
    for (const n of [2, 5, 20]) expect(expectedMaximum(uniform, n)).toBeCloseTo(n / (n + 1), 3);
  });

  it("takes, with normal times, what tables of normal order statistics say (Harter 1961)", () => {
    const standard = { mean: 0, deviation: 1 };
    for (const [n, mean] of [
      [2, 0.56419],
      [10, 1.53875],
      [100, 2.50759],
      [1000, 3.24144],
    ] as const)
      expect(Math.abs(normalMaximum(standard, n) / mean - 1)).toBeLessThan(n === 2 ? 0.05 : 0.01);
    expect(normalMaximum(standard, 1)).toBe(0);
  });

  it("is described by quantiles and moments", () => {
    expect(quantileOf([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(quantileOf([1, 2, 3, 4], 1)).toBe(4);
    expect([meanOf([1, 3]), deviationOf([1, 3])]).toEqual([2, Math.SQRT2]);
  });
});

describe("the time of a step", () => {
  it("is a lone worker's own time and the vote, without a link", () => {
    const alone = stepTime(model, { ...cluster, workers: 1 }, 64);
    expect(alone).toMatchObject({ computeMs: 212, stragglerMs: 0, exposedMs: 0, waitMs: 0, sumMs: 0, algorithm: null });
    expect(alone.totalMs).toBeCloseTo(212 + 1 + 0.02 + 0.0002 * 64, 9);
  });

  it("never falls with more workers of equal slices, and never rises with a faster link", () => {
    fc.assert(
      fc.property(
        sizes,
        sizes,
        fc.double({ min: 1, max: 400, noNaN: true }),
        fc.double({ min: 1, max: 8, noNaN: true }),
        (a, b, rate, faster) => {
          const at = (workers: number, gigabitsPerSecond: number) =>
            stepTime({ ...model, jitter }, { ...cluster, workers, workersPerHost: 4096, link: { ...link, gigabitsPerSecond } }, 32);
          expect(at(Math.min(a, b), rate).totalMs).toBeLessThanOrEqual(at(Math.max(a, b), rate).totalMs + 1e-9);
          const over = (gigabitsPerSecond: number) =>
            stepTime(model, { ...cluster, workers: a, link: { ...link, gigabitsPerSecond } }, 32).totalMs;
          expect(over(rate * faster)).toBeLessThanOrEqual(over(rate) + 1e-9);
        },
      ),
    );
  });

  it("hides the vote behind what a worker can do without the verdict", () => {
    const ahead = { ...model, aheadShare: 0.5 };
    expect(stepTime(ahead, { ...cluster, workers: 1 }, 64)).toMatchObject({ voteMs: 0, totalMs: 212 });
    const slow = { ...ahead, vote: { fixedMs: 1, perWorkerMs: 1, perSampleMs: 0 } };
    const large = { ...cluster, workers: 256 };
    const { voteMs, totalMs } = stepTime(slow, large, 64);
    expect(voteMs).toBeCloseTo(1 + 256 - 106, 9);
    const { stepMs } = simulate({ model: slow, cluster: large, batchSize: 64 * 256, steps: 2, seed: 1n });
    for (const each of stepMs) expect(each).toBeCloseTo(totalMs, 6);
  });

  it("comes to the own time as the link, the vote and the spread vanish", () => {
    const ideal = { ...model, vote: { fixedMs: 0, perWorkerMs: 0, perSampleMs: 0 } };
    const fast = { ...link, gigabitsPerSecond: 1e9, latencyUs: 0, perSumNs: 0 };
    expect(stepTime(ideal, { ...cluster, workers: 4096, link: fast }, 64).totalMs).toBeCloseTo(212, 4);
  });

  it("comes to the bandwidth bound 2 (n-1)/n S/B where nothing hides the sum", () => {
    const bare = { ...model, numParameters: 2 ** 28, overlapShare: 0 };
    const { sumMs, exposedMs } = stepTime(bare, { ...cluster, link: { ...link, latencyUs: 0, perSumNs: 0 } }, 1);
    const bound = ((2 * 7) / 8) * ((2 ** 28 * 32) / (25e6 * 0.8));
    expect(sumMs / bound).toBeCloseTo(1, 6);
    expect(exposedMs).toBeCloseTo(sumMs, 6);
  });

  it("is that of the feeding where one coordinator feeds too many", () => {
    const fed = stepTime(model, { ...cluster, workers: 4096, feed: "coordinator", link: { ...link, gigabitsPerSecond: 10 } }, 64);
    expect(fed.totalMs).toBeCloseTo((4096 * 64 * 3072 * 8) / (10e6 * 0.8), 6);
    expect(fed.waitMs).toBeGreaterThan(0);
    expect(stepTime(model, { ...cluster, feed: "coordinator" }, 64).waitMs).toBe(0);
  });

  it("hides sums behind the backward pass as a schedule of buckets does", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1e4, noNaN: true }),
        fc.integer({ min: 1, max: 60 }),
        fc.double({ min: 0, max: 1e4, noNaN: true }),
        (sumMs, buckets, windowMs) => {
          let done = 0;
          for (let i = 1; i <= buckets; i++) done = Math.max(done, (windowMs * i) / buckets) + sumMs / buckets;
          expect(exposed(sumMs, buckets, windowMs)).toBeCloseTo(done - windowMs, 6);
        },
      ),
    );
    expect(hostMs(model.host, 1e6, 1)).toBe(0);
  });
});

describe("the simulation", () => {
  const batchSize = 512;
  const samples = batchSize / cluster.workers;

  it("equals the closed form where nothing varies, at any size, link and feed", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 600 }),
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom("coordinator", "workers"),
        (workers, workersPerHost, feed) => {
          const place: Cluster = { ...cluster, workers, workersPerHost, feed };
          const { wallMs, failures } = simulate({ model, cluster: place, batchSize: 32 * workers, steps: 7, seed: 1n });
          expect(wallMs / (7 * stepTime(model, place, 32).totalMs)).toBeCloseTo(1, 9);
          expect(failures).toBe(0);
        },
      ),
    );
  });

  it("comes to the closed form of the slowest worker in the mean", () => {
    for (const workers of [1, 4, 64]) {
      const place = { ...cluster, workers };
      const { stepMs } = simulate({ model: { ...model, jitter }, cluster: place, batchSize: 32 * workers, steps: 3000, seed: 7n });
      const error = (4 * deviationOf(stepMs)) / Math.sqrt(stepMs.length);
      expect(Math.abs(meanOf(stepMs) - stepTime({ ...model, jitter }, place, 32).totalMs)).toBeLessThan(error);
    }
  });

  it.each<Recovery>([
    { kind: "elastic", recoveryMs: 400 },
    { kind: "checkpoint", everySteps: 20, checkpointMs: 300, restartMs: 2000 },
  ])("comes to the closed form of failures in the mean: $kind", (recovery) => {
    const { totalMs } = stepTime(model, cluster, samples);
    const reliability = { workerMtbfMs: 40 * totalMs * cluster.workers, recovery, repairMs: 0 };
    const runs = Array.from({ length: 60 }, (_, i) => simulate({ model, cluster, batchSize, steps: 400, seed: BigInt(i), reliability }));
    const shares = runs.map(({ wallMs }) => (400 * totalMs) / wallMs);
    const error = (4 * deviationOf(shares)) / Math.sqrt(shares.length);
    expect(Math.abs(meanOf(shares) - goodput(totalMs, cluster.workers, reliability))).toBeLessThan(error + 0.003); // a mean of ratios
    expect(meanOf(runs.map(({ failures }) => failures))).toBeGreaterThan(5);
    if (recovery.kind === "checkpoint") expect(meanOf(runs.map(({ stepsLost }) => stepsLost))).toBeGreaterThan(20);
  });

  it("goes on with fewer workers, slower, until the lost one is back; all steps are done", () => {
    const { totalMs } = stepTime(model, cluster, samples);
    const reliability = {
      workerMtbfMs: 200 * totalMs * cluster.workers,
      recovery: { kind: "elastic", recoveryMs: 100 },
      repairMs: 30 * totalMs,
    } as const;
    const run = simulate({ model, cluster, batchSize, steps: 1000, seed: 3n, reliability });
    const atOnce = simulate({ model, cluster, batchSize, steps: 1000, seed: 3n, reliability: { ...reliability, repairMs: 0 } });
    expect(run.stepMs).toHaveLength(1000);
    expect(run.fewestWorkers).toBeLessThan(8);
    expect(run.wallMs).toBeGreaterThan(atOnce.wallMs);
    expect(Math.max(...run.stepMs)).toBeGreaterThanOrEqual(stepTime(model, { ...cluster, workers: 7 }, batchSize / 7).totalMs - 1e-9);
  });

  it.each<Recovery>([
    { kind: "elastic", recoveryMs: 10_000 },
    { kind: "checkpoint", everySteps: 500, checkpointMs: 30_000, restartMs: 300_000 },
  ])("follows thousands of failures to the closed form, where lost workers are replaced at once: $kind", (recovery) => {
    const reliability = { workerMtbfMs: 3.6e6 * 64, recovery, repairMs: 0 };
    const history = (seed: bigint) => simulateFailures({ workers: 64, stepMs: () => 300, reliability, failures: 20_000, seed });
    expect(history(1n).goodput / goodput(300, 64, reliability)).toBeCloseTo(1, 2);
    expect(history(1n)).toEqual(history(1n));
    expect(history(1n).wallMs).not.toBe(history(2n).wallMs);
    expect(history(1n).fewestWorkers).toBe(64);
  });

  it("loses what the missing workers would have done, and no more, where steps have no fixed part", () => {
    const stepMs = (alive: number) => (300 * 64) / alive;
    const base = { workerMtbfMs: 3.6e6 * 64, recovery: { kind: "elastic", recoveryMs: 1 } as const };
    const history = simulateFailures({ workers: 64, stepMs, reliability: { ...base, repairMs: 600_000 }, failures: 20_000, seed: 4n });
    // A worker is away for the share r / (M + r) of the time (steps and recoveries take next to nothing of it).
    expect(history.goodput).toBeCloseTo((3.6e6 * 64) / (3.6e6 * 64 + 600_000), 3);
    expect(history.fewestWorkers).toBeLessThan(63);
    const never = { workerMtbfMs: 1, recovery: { kind: "elastic", recoveryMs: 1e6 }, repairMs: 0 } as const;
    expect(() => simulateFailures({ workers: 1, stepMs, reliability: never, failures: 1, seed: 1n })).toThrow(/no step is ever finished/);
  });

  it("is the same for the same seed, and another for another", () => {
    const run = (seed: bigint) => simulate({ model: { ...model, jitter }, cluster, batchSize, steps: 20, seed });
    expect(run(5n)).toEqual(run(5n));
    expect(run(5n).wallMs).not.toBe(run(6n).wallMs);
  });

  it("says so where no step can ever be finished", () => {
    const reliability = { workerMtbfMs: 1, recovery: { kind: "elastic", recoveryMs: 1e6 }, repairMs: 0 } as const;
    expect(() => simulate({ model, cluster, batchSize, steps: 1, seed: 1n, reliability })).toThrow(/no step is ever finished/);
  });
});

describe("failures", () => {
  it("cost nothing where they never come, and more the more often they come", () => {
    const recovery = { kind: "elastic", recoveryMs: 1000 } as const;
    expect(goodput(200, 64, { workerMtbfMs: Number.POSITIVE_INFINITY, recovery, repairMs: 0 })).toBe(1);
    fc.assert(
      fc.property(
        sizes,
        fc.double({ min: 1e3, max: 1e12, noNaN: true }),
        fc.double({ min: 1, max: 10, noNaN: true }),
        (workers, mtbf, longer) => {
          const at = (workerMtbfMs: number) => goodput(200, workers, { workerMtbfMs, recovery, repairMs: 0 });
          expect(at(mtbf)).toBeLessThanOrEqual(at(mtbf * longer) + 1e-12);
          expect(at(mtbf)).toBeLessThanOrEqual(1);
        },
      ),
    );
    expect(expectedMs(100, 10, 1e12)).toBeCloseTo(100, 4);
  });

  it("make checkpoints best at Daly's interval, and Young's is close", () => {
    const [checkpointMs, mtbfMs] = [60_000, 4 * 3_600_000];
    expect(youngMs(checkpointMs, mtbfMs)).toBeCloseTo(Math.sqrt(2 * 60_000 * 14_400_000), 6);
    const loss = (intervalMs: number) => expectedMs(intervalMs + checkpointMs, 120_000, mtbfMs) / intervalMs;
    const best = loss(dalyMs(checkpointMs, mtbfMs));
    for (const factor of [0.5, 0.8, 0.95, 1.05, 1.25, 2]) expect(loss(factor * dalyMs(checkpointMs, mtbfMs))).toBeGreaterThan(best - 1e-6);
    expect(loss(youngMs(checkpointMs, mtbfMs)) / best).toBeLessThan(1.001);
    expect(dalyMs(3 * mtbfMs, mtbfMs)).toBe(mtbfMs);
  });
});

describe("the fit", () => {
  const constant = fc.double({ min: 0.01, max: 100, noNaN: true });

  it("finds planted constants", () => {
    fc.assert(
      fc.property(constant, constant, constant, (a, b, c) => {
        const compute = fitCompute([8, 32, 64, 128].map((samples) => ({ samples, ms: a + b * samples })));
        expect(compute.fixedMs).toBeCloseTo(a, 4);
        expect(compute.perSampleMs).toBeCloseTo(b, 4);
        const host = { latencyUs: a, perValueNs: b, perSumNs: 0 };
        const sums = [2, 4].flatMap((workers) =>
          [1e3, 1e5, 1e6].map((numValues) => ({ workers, numValues, ms: hostMs(host, numValues, workers) })),
        );
        expect(fitHost(sums).latencyUs / a).toBeCloseTo(1, 4);
        expect(fitHost(sums).perValueNs / b).toBeCloseTo(1, 4);
        const votes = [8, 64, 256].flatMap((workers) =>
          [1, 16].map((each) => ({ workers, batchSize: workers * each, ms: a + b * workers + c * workers * each })),
        );
        const vote = fitVote(votes);
        expect(vote.fixedMs / a + vote.perWorkerMs / b + vote.perSampleMs / c).toBeCloseTo(3, 2);
      }),
    );
  });

  it("keeps constants at zero that would go below, and needs no second size", () => {
    const [slope = 0, offset = 0] = fitNonNegative(
      [
        [1, 1],
        [2, 1],
      ],
      [1, 3],
    );
    expect(offset).toBe(0);
    expect(slope).toBeGreaterThan(1);
    expect(fitCompute([{ samples: 32, ms: 64 }])).toEqual({ fixedMs: 0, perSampleMs: 2 });
    // Too few steps timed: the larger slice was not slower. No worker computes for nothing.
    const reversed = fitCompute([
      { samples: 5, ms: 55 },
      { samples: 10, ms: 45 },
    ]);
    expect(reversed.fixedMs).toBe(0);
    expect(reversed.perSampleMs).toBeGreaterThan(4);
    expect(reversed.perSampleMs).toBeLessThan(11);
  });
});
