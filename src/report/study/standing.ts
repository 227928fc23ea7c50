/**
 * How the trials of a study stand to each other. Values after different amounts of training can't be compared, so pictures compare
 * all trials after the same amount: the one that most of them reached.
 */
import { type Failure, type FinishedJob, isFinished, type Job, lastJobs, scoreOf } from "../../sweep/job.js";
import type { Point } from "../../sweep/space.js";

/** 5 is the best fifth of the trials, 1 the worst. */
export type Fifth = 1 | 2 | 3 | 4 | 5;

export interface StandingTrial {
  readonly trial: number;
  readonly point: Point;
  /** How far it was trained at last. */
  readonly epochs: number;
  /** Larger is better, after `Standing.epochs`; null where it did not get there. */
  readonly score: number | null;
  readonly fifth: Fifth | null;
  /** What its last job ended with, where that was a failure. */
  readonly failure: { readonly reason: string; readonly how: Failure | null } | null;
}

export interface Standing {
  /** After how much training the scores were taken; 0 where there is none. */
  readonly epochs: number;
  /** The worst first, those without a score before them: in the order in which they are drawn over each other. */
  readonly trials: readonly StandingTrial[];
}

/** The amount of training after which most trials have a value; of equals the `tie`: the least training, or the most. */
export function comparedAt(jobs: readonly Job[], tie: "least" | "most"): number {
  const counts = new Map<number, number>();
  for (const job of jobs) if (job.result?.kind === "value") counts.set(job.to, (counts.get(job.to) ?? 0) + 1);
  const sign = tie === "least" ? 1 : -1;
  return [...counts].sort(([a, n], [b, m]) => m - n || sign * (a - b))[0]?.[0] ?? 0;
}

export function standingOf(jobs: readonly Job[]): Standing {
  const epochs = comparedAt(jobs, "most");
  const finished = jobs.filter(isFinished);
  const compared = new Map(finished.filter(({ to }) => to === epochs).map((job): [number, FinishedJob] => [job.trial, job]));
  const ordered = [...lastJobs(finished).values()]
    .map((last) => {
      const job = compared.get(last.trial);
      const score = job ? scoreOf(job.result) : Number.NEGATIVE_INFINITY;
      return { last, point: (job ?? last).point, score: Number.isFinite(score) ? score : null };
    })
    .sort((a, b) => (a.score ?? Number.NEGATIVE_INFINITY) - (b.score ?? Number.NEGATIVE_INFINITY) || b.last.trial - a.last.trial);
  const unscored = ordered.filter(({ score }) => score === null).length;
  const numScored = ordered.length - unscored;
  const trials = ordered.map(({ last, point, score }, i): StandingTrial => {
    const { result } = last;
    return {
      trial: last.trial,
      point,
      epochs: last.to,
      score,
      fifth: score === null ? null : ((1 + Math.floor((5 * (i - unscored)) / numScored)) as Fifth),
      failure: result.kind === "failed" ? { reason: result.reason, how: result.how ?? null } : null,
    };
  });
  return { epochs, trials };
}
