/** A schedule decides which trial gets how much training next. Pure: jobs and their results in, the next job and the reason out. */
import type { FinishedJob, Job, JobPlan } from "../job.js";
import type { Searcher } from "../search/searcher.js";

export interface ScheduleInput {
  /** All jobs decided so far, in order: what must not be decided twice. */
  readonly decided: readonly Job[];
  /** Those whose results may be looked at. */
  readonly visible: readonly FinishedJob[];
  readonly searcher: Searcher;
}

export interface Decision {
  readonly job: JobPlan;
  readonly reason: string;
}

export interface Schedule {
  /** The next job, or null when what is visible asks for none. */
  next(input: ScheduleInput): Decision | null;
}

/** A trial that is not there yet, trained to `to`; null when there are `trials` of them or the searcher has no more points. */
export function newTrial(input: ScheduleInput, options: { trials: number; to: number; observed: readonly FinishedJob[] }): Decision | null {
  const trial = new Set(input.decided.map((job) => job.trial)).size;
  if (trial >= options.trials) return null;
  const observed = options.observed.map(({ point, result }) => ({
    point,
    value: result.kind === "value" ? result.value : Number.NEGATIVE_INFINITY,
  }));
  const point = input.searcher.propose(trial, observed);
  if (!point) return null;
  return {
    job: { trial, point, from: 0, to: options.to, copyOf: null },
    reason: `trial ${trial} of ${options.trials} is new; ${observed.length} results were known`,
  };
}
