/**
 * Carries a study through: decisions to the journal, jobs to the runner, results to the journal, until nothing is left to
 * decide. Killed at any point and called again it goes on: jobs that were under way are run again first.
 */
import { type DecideOptions, decide } from "./decide.js";
import type { Job, Result } from "./job.js";
import type { Study } from "./journal.js";
import type { Runner } from "./runner.js";

export type StudyEvent =
  | { readonly kind: "started"; readonly job: Job; readonly reason: string }
  | { readonly kind: "finished"; readonly job: Job; readonly result: Result };

export interface RunStudyOptions extends DecideOptions {
  readonly study: Study;
  readonly runner: Runner;
  readonly signal: AbortSignal;
  readonly onEvent?: (event: StudyEvent) => void;
}

/** @returns why the study is over. @throws what a runner threw, after the other jobs have ended; nothing recorded is lost. */
export async function runStudy(options: RunStudyOptions): Promise<string> {
  const { study, runner, signal, onEvent } = options;
  const running = new Map<number, Promise<void>>();
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const start = (job: Job, reason: string): void => {
    onEvent?.({ kind: "started", job, reason });
    const source = job.copyOf === null ? null : (study.jobs[job.copyOf] ?? null);
    const ended = runner.run({ job, source }, either).then((result) => {
      study.finished(job.index, result);
      running.delete(job.index);
      onEvent?.({ kind: "finished", job, result });
    });
    running.set(job.index, ended);
  };
  try {
    for (const job of study.jobs.filter(({ result }) => result === null)) start(job, "it was under way when the study stopped");
    for (;;) {
      signal.throwIfAborted();
      const next = decide(study.jobs, options);
      if (next.kind === "done") return next.reason;
      if (next.kind === "run") start(study.decided(next.job, next.reason), next.reason);
      else await Promise.race(running.values());
    }
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(running.values());
    throw error;
  }
}
