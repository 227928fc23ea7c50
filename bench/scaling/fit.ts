/**
 * The model's constants from measured points: least squares of the relative error with no constant below zero, as
 * src/collective/cost-model.ts does it for its three. What is fitted on must not be what is predicted: callers leave the held-out
 * point away.
 */
import { type CostConstants, solve } from "../../src/collective/cost-model.js";
import { type Compute, hostTerms, type Vote } from "./step-time.js";

/**
 * The weights, none below zero, with which the columns come closest to the targets, relative to the targets. Every subset of columns
 * held at zero is tried, which is the exact optimum; so columns should be few.
 * @param rows one a target, a value for each column
 */
export function fitNonNegative(rows: readonly (readonly number[])[], targets: readonly number[]): readonly number[] {
  const numColumns = rows[0]?.length ?? 0;
  // Columns of very different sizes are brought to one, so that the normal equations can be solved.
  const sizes = Array.from(
    { length: numColumns },
    (_, i) => Math.hypot(...rows.map((row, r) => (row[i] as number) / (targets[r] as number))) || 1,
  );
  const scaled = rows.map((row, r) => row.map((value, i) => value / (targets[r] as number) / (sizes[i] as number)));
  let best = { weights: sizes.map(() => 0), error: scaled.length };
  for (let free = 1; free < 1 << numColumns; free++) {
    const columns = Array.from({ length: numColumns }, (_, i) => i).filter((i) => free & (1 << i));
    const solution = solve(
      columns.map((i) => columns.map((j) => scaled.reduce((sum, row) => sum + (row[i] as number) * (row[j] as number), 0))),
      columns.map((i) => scaled.reduce((sum, row) => sum + (row[i] as number), 0)),
    );
    if (solution === null || solution.some((value) => value < 0)) continue;
    const weights = sizes.map(() => 0);
    for (const [at, column] of columns.entries()) weights[column] = solution[at] as number;
    const error = scaled.reduce((sum, row) => sum + (row.reduce((told, value, i) => told + value * (weights[i] as number), 0) - 1) ** 2, 0);
    // A constant more must be worth it: of two that fit as well, the one with fewer.
    if (error < best.error - 1e-12) best = { weights, error };
  }
  return best.weights.map((weight, i) => weight / (sizes[i] as number));
}

/**
 * @param points own time of workers with so many samples, at two sizes at least. With one size, or where so few steps were timed that a larger
 * slice seems to take no longer, all counts as a sample's: a worker that computes samples for nothing predicts nothing.
 */
export function fitCompute(points: readonly { readonly samples: number; readonly ms: number }[]): Compute {
  const targets = points.map(({ ms }) => ms);
  const isOneSize = new Set(points.map(({ samples }) => samples)).size < 2;
  const [perSampleMs = 0, fixedMs = 0] = isOneSize
    ? []
    : fitNonNegative(
        points.map(({ samples }) => [samples, 1]),
        targets,
      );
  if (perSampleMs > 0) return { fixedMs, perSampleMs };
  const [all = 0] = fitNonNegative(
    points.map(({ samples }) => [samples]),
    targets,
  );
  return { fixedMs: 0, perSampleMs: all };
}

export interface HostTiming {
  readonly workers: number;
  readonly numValues: number;
  readonly ms: number;
}

/** Of sums in shared memory. Moving and adding a value can't be told apart there: both stand in `perValueNs`. */
export function fitHost(timings: readonly HostTiming[]): CostConstants {
  const [latencyUs = 0, perValueNs = 0] = fitNonNegative(
    timings.map(({ workers, numValues }) => {
      const { messages, values } = hostTerms(numValues, workers);
      return [messages / 1e3, values / 1e6];
    }),
    timings.map(({ ms }) => ms),
  );
  return { latencyUs, perValueNs, perSumNs: 0 };
}

export interface VoteTiming {
  readonly workers: number;
  readonly batchSize: number;
  readonly ms: number;
}

export function fitVote(timings: readonly VoteTiming[]): Vote {
  const [fixedMs = 0, perWorkerMs = 0, perSampleMs = 0] = fitNonNegative(
    timings.map(({ workers, batchSize }) => [1, workers, batchSize]),
    timings.map(({ ms }) => ms),
  );
  return { fixedMs, perWorkerMs, perSampleMs };
}
