import { describe, expect, it } from "vitest";
import { draws } from "../../src/engine/random/philox.js";
import type { Job } from "../../src/sweep/job.js";
import { rungsOf } from "../../src/sweep/schedule/asha.js";
import type { Point } from "../../src/sweep/space.js";
import { createStrategy, sweepSchema } from "../../src/sweep/spec.js";
import * as fc from "../kit/property.js";
import { simulate, valued } from "./simulate.js";

const quality = (point: Point): number => point.a as number;

function asha(options: { trials: number; reduction?: number; min?: number; epochs?: number }) {
  const { trials, reduction = 3, min = 1, epochs = 9 } = options;
  const spec = sweepSchema.parse({
    experiment: "quickstart",
    space: { a: { uniform: [0, 1] } },
    search: { kind: "random", trials },
    schedule: { kind: "asha", reduction, min },
  });
  return createStrategy(spec, epochs);
}

/** The published get_job over the same stream of completions, written from the paper's pseudocode with sets. */
function publishedAsha(numTrials: number, points: readonly Point[], rungs: readonly number[], eta: number): [number, number][] {
  const results = rungs.map(() => new Map<number, number>());
  const promoted = rungs.map(() => new Set<number>());
  const issued: [number, number][] = [];
  let started = 0;
  for (;;) {
    let job: [number, number] | null = null;
    for (let k = rungs.length - 2; k >= 0 && !job; k--) {
      const done = results[k] as Map<number, number>;
      const top = [...done].sort((x, y) => y[1] - x[1]).slice(0, Math.floor(done.size / eta));
      const promotable = top.filter(([trial]) => !promoted[k]?.has(trial));
      const [first] = promotable;
      if (first) {
        promoted[k]?.add(first[0]);
        job = [first[0], k + 1];
      }
    }
    if (!job) {
      if (started === numTrials) return issued;
      job = [started++, 0];
    }
    issued.push(job);
    results[job[1]]?.set(job[0], quality(points[job[0]] as Point) + job[1] * 1e-3);
  }
}

describe("ASHA", () => {
  it("has the rungs of the paper, and the whole training as the last", () => {
    expect(rungsOf({ reduction: 3, min: 1, max: 9 })).toEqual([1, 3, 9]);
    expect(rungsOf({ reduction: 3, min: 1, max: 10 })).toEqual([1, 3, 9, 10]);
    expect(rungsOf({ reduction: 2, min: 0.5, max: 3 })).toEqual([0.5, 1, 2, 3]);
  });

  it("promotes what the published algorithm promotes, in its order", () => {
    for (const [trials, reduction] of [
      [9, 3],
      [24, 3],
      [40, 2],
      [27, 4],
    ] as const) {
      const strategy = asha({ trials, reduction });
      const rungs = rungsOf({ reduction, min: 1, max: 9 });
      const points = Array.from({ length: trials }, (_, i) => strategy.searcher.propose(i, []) as Point);
      const jobs = simulate({ strategy, parallel: 1, judge: (point, to) => valued(quality(point) + rungs.indexOf(to) * 1e-3) });
      expect(jobs.map((job) => [job.trial, rungs.indexOf(job.to)])).toEqual(publishedAsha(trials, points, rungs, reduction));
    }
  });

  it("decides the same whatever order jobs end in", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 5 }), (seed, parallel) => {
        const run = (endsNext: (running: readonly Job[]) => number) =>
          simulate({ strategy: asha({ trials: 20 }), parallel, judge: (p) => valued(quality(p)), endsNext }).map((job) => [
            job.trial,
            job.to,
          ]);
        const draw = draws({ seed: BigInt(seed), purpose: 200, step: 0, position: 0 });
        expect(run(() => draw.below(64))).toEqual(run(() => 0));
      }),
      { numRuns: 50 },
    );
  });

  it("never promotes a trial that failed, and goes on without it", () => {
    const strategy = asha({ trials: 12 });
    const jobs = simulate({
      strategy,
      parallel: 2,
      judge: (point, _to, job) => (job.trial % 2 === 0 ? { kind: "failed", reason: "diverged" } : valued(quality(point))),
    });
    expect(jobs.some((job) => job.to > 1)).toBe(true);
    expect(jobs.filter((job) => job.to > 1).every((job) => job.trial % 2 === 1)).toBe(true);
  });

  it("trains a third of the epochs of a full sweep, and still ends with the best trial", () => {
    const jobs = simulate({ strategy: asha({ trials: 27 }), parallel: 1, judge: (p) => valued(quality(p)) });
    const epochs = jobs.reduce((sum, job) => sum + job.to - job.from, 0);
    expect(epochs).toBeLessThan((27 * 9) / 3);
    const best = [...jobs].sort((a, b) => quality(b.point) - quality(a.point))[0];
    expect(jobs.some((job) => job.trial === best?.trial && job.to === 9)).toBe(true);
  });
});

describe("population-based training", () => {
  const strategy = () => {
    const spec = sweepSchema.parse({
      experiment: "quickstart",
      space: { lr: { "log-uniform": [1e-4, 1] }, mode: ["a", "b"] },
      search: { kind: "random", trials: 8 },
      schedule: { kind: "pbt", interval: 1, resample: 0 },
    });
    return createStrategy(spec, 6);
  };
  // The nearer lr is to 1e-2 the faster a member learns; what it has learnt it keeps, or copies.
  const study = (parallel: number) => {
    const learnt: number[] = [];
    const jobs = simulate({
      strategy: strategy(),
      parallel,
      judge(point, _to, job) {
        const before = job.from === 0 ? 0 : ((learnt[job.copyOf ?? lastIndex(jobsSoFar, job)] as number) ?? 0);
        learnt[job.index] = before + Math.exp(-(Math.log10((point.lr as number) / 1e-2) ** 2));
        jobsSoFar.push(job);
        return valued(learnt[job.index] as number);
      },
    });
    return { jobs, learnt };
  };
  const jobsSoFar: Job[] = [];
  const lastIndex = (jobs: readonly Job[], job: Job): number =>
    jobs.filter((j) => j.trial === job.trial && j.index < job.index).at(-1)?.index ?? -1;

  it("trains every member to the end, an interval at a time", () => {
    jobsSoFar.length = 0;
    const { jobs } = study(1);
    expect(jobs.length).toBe(8 * 6);
    for (let trial = 0; trial < 8; trial++)
      expect(jobs.filter((job) => job.trial === trial).map((job) => job.to)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("lets the worst copy the best and vary their settings a little", () => {
    jobsSoFar.length = 0;
    const { jobs } = study(1);
    const copies = jobs.filter((job) => job.copyOf !== null);
    expect(copies.length).toBeGreaterThan(4);
    for (const job of copies) {
      const source = jobs[job.copyOf as number] as Job;
      expect(source.to).toBe(job.from);
      const ratio = (job.point.lr as number) / (source.point.lr as number);
      expect(Math.min(Math.abs(ratio - 1.2), Math.abs(ratio - 1 / 1.2))).toBeLessThan(1e-9);
    }
  });

  it("ends ahead of the same population without copying", () => {
    jobsSoFar.length = 0;
    const { jobs, learnt } = study(1);
    const alone = jobs.slice(0, 8).map((job) => 6 * Math.exp(-(Math.log10((job.point.lr as number) / 1e-2) ** 2)));
    const finals = jobs.filter((job) => job.to === 6).map((job) => learnt[job.index] as number);
    const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
    expect(mean(finals)).toBeGreaterThan(mean(alone));
  });
});
