/** A study without training: values come from a function of the point and the epochs, jobs end in any order one likes. */
import { decide } from "../../src/sweep/decide.js";
import type { Job, Result } from "../../src/sweep/job.js";
import type { Point } from "../../src/sweep/space.js";
import type { Strategy } from "../../src/sweep/spec.js";

export interface Simulation {
  readonly strategy: Strategy;
  readonly parallel: number;
  readonly judge: (point: Point, to: number, job: Job) => Result;
  /** Which of the running jobs ends next. */
  readonly endsNext?: (running: readonly Job[]) => number;
}

/** Runs a study to its end and returns its jobs in the order of decisions. */
export function simulate({ strategy, parallel, judge, endsNext = () => 0 }: Simulation): readonly Job[] {
  const jobs: Job[] = [];
  for (;;) {
    const next = decide(jobs, { ...strategy, parallel });
    if (next.kind === "done") return jobs;
    if (next.kind === "run") {
      jobs.push({ index: jobs.length, ...next.job, result: null });
      continue;
    }
    const running = jobs.filter((job) => job.result === null);
    const job = running[endsNext(running) % running.length];
    if (!job) throw new Error(`nothing runs, and yet: ${next.reason}`);
    jobs[job.index] = { ...job, result: judge(job.point, job.to, job) };
  }
}

export const valued = (value: number): Result => ({ kind: "value", value, bySeed: [value] });
