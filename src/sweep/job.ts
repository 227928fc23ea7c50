/**
 * A job trains one trial from one amount of training to another and judges it there. A study is the list of its jobs in the order
 * in which they were decided; trials, rungs and populations are read from that list, so that there is one truth.
 */
import type { Point } from "./space.js";

export type Result =
  /**
   * `value`: larger is better, the mean over the seeds; `bySeed` in the order of the seeds. `measured`: every metric as it is, its mean
   * over the seeds, the ones that were not asked for included; missing in older journals.
   */
  | {
      readonly kind: "value";
      readonly value: number;
      readonly bySeed: readonly number[];
      readonly measured?: Readonly<Record<string, number>> | undefined;
    }
  /** A result like any other, worse than every value. `how` is missing in journals of before it was told apart. */
  | { readonly kind: "failed"; readonly reason: string; readonly how?: Failure | undefined };

/** diverged: the training's figures stopped being numbers. broke: its process or its engine failed. */
export type Failure = "diverged" | "broke";

export interface JobPlan {
  readonly trial: number;
  readonly point: Point;
  /** Amount of training before and after, in epochs; `from` above 0 goes on from what the trial's last job left. */
  readonly from: number;
  readonly to: number;
  /** The index of another trial's job: goes on from what that left instead (population-based training). */
  readonly copyOf: number | null;
}

export interface Job extends JobPlan {
  /** Place in the order of decisions, from 0. */
  readonly index: number;
  readonly result: Result | null;
}

export type FinishedJob = Job & { readonly result: Result };

/** Larger is better. */
export function scoreOf(result: Result): number {
  return result.kind === "value" && Number.isFinite(result.value) ? result.value : Number.NEGATIVE_INFINITY;
}

export function isFinished(job: Job): job is FinishedJob {
  return job.result !== null;
}

/** Each trial's last job, by trial. */
export function lastJobs<J extends Job>(jobs: readonly J[]): ReadonlyMap<number, J> {
  return new Map(jobs.map((job) => [job.trial, job]));
}
