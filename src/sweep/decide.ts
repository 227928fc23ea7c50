/**
 * What a study does next. The answer depends on results only, never on when they came: the decision of job k looks at the
 * results of jobs 0 .. k - parallel and waits until all of these are there, so that a study which was killed and went on, or ran
 * on a slower machine, decides the same as an undisturbed one. Where these results ask for nothing, it looks at one more, and so on.
 *
 * With `parallel` jobs at a time this is ASHA on a machine whose jobs end in the order in which they began; a job that takes longer
 * than its fellows makes them wait. That is the price.
 */
import { isFinished, type Job } from "./job.js";
import type { Decision, Schedule } from "./schedule/schedule.js";
import type { Searcher } from "./search/searcher.js";

export type Next =
  | ({ readonly kind: "run" } & Decision)
  | { readonly kind: "wait"; readonly reason: string }
  | { readonly kind: "done"; readonly reason: string };

export interface DecideOptions {
  readonly schedule: Schedule;
  readonly searcher: Searcher;
  /** Jobs at a time. */
  readonly parallel: number;
}

export function decide(jobs: readonly Job[], { schedule, searcher, parallel }: DecideOptions): Next {
  const running = jobs.filter((job) => !isFinished(job));
  if (running.length >= parallel) return { kind: "wait", reason: `${running.length} jobs are running` };
  for (let numVisible = Math.max(0, jobs.length - parallel + 1); numVisible <= jobs.length; numVisible++) {
    const looked = jobs.slice(0, numVisible);
    const missing = looked.find((job) => !isFinished(job));
    if (missing) return { kind: "wait", reason: `the next decision needs the result of job ${missing.index} (trial ${missing.trial})` };
    const decision = schedule.next({ decided: jobs, visible: looked.filter(isFinished), searcher });
    if (decision) return { kind: "run", ...decision };
  }
  return { kind: "done", reason: `${jobs.length} jobs are finished and nothing is left to decide` };
}
