/** What a study found, for people and machines: its trials in the order of their worth. */
import { type Failure, type FinishedJob, isFinished, type Job, lastJobs, scoreOf } from "./job.js";
import type { Point } from "./space.js";
import type { SweepSpec } from "./spec.js";

export interface TrialSummary {
  readonly trial: number;
  readonly point: Point;
  /** How far it was trained. */
  readonly epochs: number;
  /** The metric itself, not negated; null for a trial that failed. Mean over the seeds and half of its 95 % interval (0 for one seed). */
  readonly metric: number | null;
  readonly interval: number;
  /** The metric by seed, in the order of the seeds. */
  readonly bySeed: readonly number[];
  /** Every metric as it was measured, its mean over the seeds; empty where it was not written down. */
  readonly measured: Readonly<Record<string, number>>;
  readonly failure: string | null;
  /** null where it did not fail, or was not told how. */
  readonly how: Failure | null;
}

/** The best first: by epochs trained, since values after different amounts of training can't be compared, then by value. */
export function summarise(jobs: readonly Job[], spec: Pick<SweepSpec, "metric">): readonly TrialSummary[] {
  const last = [...lastJobs(jobs.filter(isFinished)).values()];
  return last
    .sort((a, b) => rank(b) - rank(a) || b.to - a.to || scoreOf(b.result) - scoreOf(a.result) || a.trial - b.trial)
    .map((job) => describe(job, spec));
}

function rank({ result }: FinishedJob): number {
  return result.kind === "value" ? 1 : 0;
}

function describe({ trial, point, to, result }: FinishedJob, { metric }: Pick<SweepSpec, "metric">): TrialSummary {
  const sign = metric.goal === "max" ? 1 : -1;
  if (result.kind === "failed")
    return {
      trial,
      point,
      epochs: to,
      metric: null,
      interval: 0,
      bySeed: [],
      measured: {},
      failure: result.reason,
      how: result.how ?? null,
    };
  const bySeed = result.bySeed.map((value) => sign * value);
  return {
    trial,
    point,
    epochs: to,
    metric: sign * result.value,
    interval: halfInterval(bySeed),
    bySeed,
    measured: result.measured ?? {},
    failure: null,
    how: null,
  };
}

/** t_{0.975} for 1, 2, ... degrees of freedom. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
const NORMAL = 1.959964;

/** Beyond the table Cornish and Fisher's expansion about the normal's quantile, whose next term is below 0.001 from there on. */
function student(degrees: number): number {
  const z = NORMAL;
  const terms = [z ** 3 + z, 5 * z ** 5 + 16 * z ** 3 + 3 * z, 3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z];
  const expansion = [4, 96, 384].reduce((sum, divisor, i) => sum + (terms[i] as number) / (divisor * degrees ** (i + 1)), z);
  return STUDENT[degrees - 1] ?? expansion;
}

/** Half of Student's 95 % interval of a mean. */
export function halfInterval(values: readonly number[]): number {
  const n = values.length;
  if (n < 2) return 0;
  const mean = values.reduce((sum, v) => sum + v, 0) / n;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1);
  return student(n - 1) * Math.sqrt(variance / n);
}
