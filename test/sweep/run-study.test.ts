import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { draws } from "../../src/engine/random/philox.js";
import type { Job, Result } from "../../src/sweep/job.js";
import { openStudy } from "../../src/sweep/journal.js";
import { runStudy } from "../../src/sweep/run-study.js";
import type { Runner } from "../../src/sweep/runner.js";
import { createStrategy, sweepSchema } from "../../src/sweep/spec.js";
import { halfInterval, summarise } from "../../src/sweep/summary.js";
import { valued } from "./simulate.js";

const spec = sweepSchema.parse({
  experiment: "quickstart",
  space: { a: { uniform: [0, 1] } },
  search: { kind: "tpe", trials: 24, startup: 6 },
  schedule: { kind: "asha", min: 1 },
});
const newFolder = () => mkdtempSync(join(tmpdir(), "isoerg-study-"));

interface Ran {
  readonly started: number[];
  readonly jobs: readonly Job[];
}

/** Runs the study in the folder; jobs end in an order drawn from `seed`, and after `killAfter` results everything stops. */
async function work(folder: string, options: { seed: number; killAfter?: number; fail?: (job: Job) => boolean }): Promise<Ran> {
  const study = openStudy(folder, { sweep: "s", digest: "d", now: () => new Date(0) });
  const draw = draws({ seed: BigInt(options.seed), purpose: 200, step: 0, position: 0 });
  const kill = new AbortController();
  const started: number[] = [];
  let numResults = 0;
  const runner: Runner = {
    async run({ job }, signal): Promise<Result> {
      started.push(job.index);
      for (let turns = draw.below(20); turns > 0; turns--) await Promise.resolve();
      signal.throwIfAborted();
      if (++numResults > (options.killAfter ?? Number.POSITIVE_INFINITY)) {
        kill.abort(new Error("killed"));
        throw new Error("killed");
      }
      return options.fail?.(job) ? { kind: "failed", reason: "diverged" } : valued((job.point.a as number) + job.to / 100);
    },
  };
  try {
    await runStudy({ study, ...createStrategy(spec, 9), parallel: 3, runner, signal: kill.signal });
  } catch (error) {
    if ((error as Error).message !== "killed") throw error;
  }
  study.close();
  return { started, jobs: study.jobs };
}

const decisions = (jobs: readonly Job[]) => jobs.map((job) => [job.trial, job.from, job.to, job.point]);

describe("a study", () => {
  it("killed twice ends with the promotions and results of an undisturbed one, though its jobs ended in another order", async () => {
    const whole = await work(newFolder(), { seed: 1 });
    expect(new Set(whole.jobs.map((job) => job.trial)).size).toBe(24);
    for (let seed = 2; seed < 12; seed++) {
      const folder = newFolder();
      await work(folder, { seed, killAfter: 5 });
      await work(folder, { seed: seed + 100, killAfter: 9 });
      const { jobs } = await work(folder, { seed: seed + 200 });
      expect(decisions(jobs)).toEqual(decisions(whole.jobs));
      expect(jobs).toEqual(whole.jobs);
    }
  });

  it("runs only those jobs again whose results were not recorded", async () => {
    const folder = newFolder();
    await work(folder, { seed: 3, killAfter: 7 });
    const before = openStudy(folder, { sweep: "s", digest: "d", now: () => new Date(0) });
    const finished = before.jobs.filter((job) => job.result !== null).map((job) => job.index);
    before.close();
    expect(finished.length).toBeGreaterThanOrEqual(7);
    const { started } = await work(folder, { seed: 4 });
    expect(started.filter((index) => finished.includes(index))).toEqual([]);
    expect(new Set(started).size).toBe(started.length);
  });

  it("takes a failed trial as a result and goes on to the end", async () => {
    const { jobs } = await work(newFolder(), { seed: 5, fail: (job) => job.trial % 5 === 0 });
    const trials = summarise(jobs, spec);
    expect(trials.length).toBe(24);
    expect(trials.filter((trial) => trial.failure !== null).map((trial) => trial.trial % 5)).toEqual([0, 0, 0, 0, 0]);
    expect(trials[0]?.epochs).toBe(9);
    expect(trials.at(-1)?.failure).toBe("diverged");
  });
});

describe("an interval over seeds", () => {
  it("is Student's", () => {
    // 3 values with standard deviation 1: 4.303 / sqrt(3).
    expect(halfInterval([1, 2, 3])).toBeCloseTo(2.484, 3);
    expect(halfInterval([5])).toBe(0);
    // t_{0.975} of 9, 10, 19 and 29 degrees of freedom, from tables.
    for (const [n, t] of [
      [10, 2.262],
      [11, 2.228],
      [20, 2.093],
      [30, 2.045],
    ] as const) {
      const values = Array.from({ length: n }, (_, i) => (i % 2 === 0 ? 1 : -1));
      const mean = values.reduce((sum, v) => sum + v, 0) / n;
      const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1);
      expect(halfInterval(values) / Math.sqrt(variance / n)).toBeCloseTo(t, 3);
    }
  });
});
