/**
 * How long a training step of n workers takes, part by part: a pure model of what isoerg does.
 *
 *     step = slowest worker's own work + what of the sum its backward pass doesn't hide + what of the vote the beginning of the next
 *            step doesn't hide, or the feeding of samples if longer
 *
 * Own work is a fixed part (update, launches) and one a sample. The sum of the gradient is that of src/collective: in shared memory
 * within a host, then the fastest algorithm between hosts, by the same cost model that the trainer chooses by. It goes in buckets of
 * 1 MiB that start while the backward pass goes on. The vote, during which workers begin the next step, passes through one coordinator, whose work grows with workers and
 * samples. Milliseconds throughout; every constant is a measurement (fit.ts) or an assumption that the report names.
 */
import { type Algorithm, type CostConstants, fastest, predictMs } from "../../src/collective/cost-model.js";
import { expectedMaximum } from "./stragglers.js";

export interface StepModel {
  /** Values of the gradient. */
  readonly numParameters: number;
  readonly compute: Compute;
  /** Of a worker's own time: how long gradients come out while the backward pass goes on. */
  readonly overlapShare: number;
  /** And what of it is done while votes are under way: the update, and of the next step the attacks and chains. */
  readonly aheadShare: number;
  /** A worker's own time over its mean, step by step: sorted, of mean 1. */
  readonly jitter: readonly number[];
  /** Of sums in a host's shared memory. */
  readonly host: CostConstants;
  readonly vote: Vote;
  /** Of one sample on its way from the coordinator. */
  readonly sampleBytes: number;
}

export interface Compute {
  readonly fixedMs: number;
  readonly perSampleMs: number;
}

/** Of the coordinator, from the last ballot to the last verdict. */
export interface Vote {
  readonly fixedMs: number;
  readonly perWorkerMs: number;
  readonly perSampleMs: number;
}

export interface Link {
  readonly gigabitsPerSecond: number;
  /** Of a short message, the program's own part included. */
  readonly latencyUs: number;
  /** Of the line, what a long message gets. */
  readonly utilisation: number;
  /** Nanoseconds for adding one received value. */
  readonly perSumNs: number;
}

export interface Cluster {
  readonly workers: number;
  readonly workersPerHost: number;
  readonly link: Link;
  /** Who reads the samples: the coordinator for all, over its one link, or each worker from shared storage. */
  readonly feed: "coordinator" | "workers";
}

export interface StepTime {
  /** Of a worker of mean speed. */
  readonly computeMs: number;
  /** What the slowest worker takes beyond that. */
  readonly stragglerMs: number;
  /** Of the sum, what the step waits for. */
  readonly exposedMs: number;
  /** Of the vote, what the step waits for. */
  readonly voteMs: number;
  /** Where feeding is slower than all the rest: the difference. */
  readonly waitMs: number;
  readonly totalMs: number;
  /** The sum by itself, hidden or not. */
  readonly sumMs: number;
  /** Between hosts; null for a single one. */
  readonly algorithm: Algorithm | null;
}

/** As src/train/gradient.ts cuts it. */
const BUCKET_VALUES = 256 * 1024;
const BITS = 8;

/** @param samples of each worker, on average */
export function stepTime(model: StepModel, cluster: Cluster, samples: number): StepTime {
  const { workers } = cluster;
  const computeMs = ownMs(model.compute, samples);
  const slowest = computeMs * expectedMaximum(model.jitter, workers);
  const { sumMs, algorithm } = sumTime(model, cluster);
  const exposedMs = exposed(sumMs, bucketsOf(model.numParameters), model.overlapShare * computeMs);
  const batch = workers * samples;
  const voteMs = exposedVote(model, workers, batch);
  const worked = slowest + exposedMs + voteMs;
  const waitMs = Math.max(0, feedMs(model, cluster, batch) - worked);
  return { computeMs, stragglerMs: slowest - computeMs, exposedMs, voteMs, waitMs, totalMs: worked + waitMs, sumMs, algorithm };
}

export function ownMs({ fixedMs, perSampleMs }: Compute, samples: number): number {
  return fixedMs + perSampleMs * samples;
}

export function voteTime({ fixedMs, perWorkerMs, perSampleMs }: Vote, workers: number, batch: number): number {
  return fixedMs + perWorkerMs * workers + perSampleMs * batch;
}

/** What is left of the vote when a worker of mean speed has come as far as it can without the verdict. */
export function exposedVote({ vote, compute, aheadShare }: StepModel, workers: number, batch: number): number {
  return Math.max(0, voteTime(vote, workers, batch) - aheadShare * ownMs(compute, batch / workers));
}

/** The whole gradient summed with nothing beside it. */
export function sumTime(
  { numParameters, host }: Pick<StepModel, "numParameters" | "host">,
  { workers, workersPerHost, link }: Cluster,
): { readonly sumMs: number; readonly algorithm: Algorithm | null } {
  const perHost = Math.min(workers, workersPerHost);
  const hosts = Math.ceil(workers / workersPerHost);
  const inside = hostMs(host, numParameters, perHost);
  if (hosts === 1) return { sumMs: inside, algorithm: null };
  const constants = costOf(link);
  const buckets = bucketsOf(numParameters);
  const length = numParameters / buckets;
  const algorithm = fastest(length, hosts, { constants });
  return { sumMs: inside + buckets * predictMs(algorithm, length, hosts, constants), algorithm };
}

/**
 * In shared memory each of p workers adds its segment of all the others' vectors, and all take what the others added; a barrier
 * stands before either. 2 a + (p-1)/p n (2 b + g).
 */
export function hostMs(constants: CostConstants, numValues: number, workers: number): number {
  const { messages, values, sums } = hostTerms(numValues, workers);
  return (1000 * messages * constants.latencyUs + values * constants.perValueNs + sums * constants.perSumNs) / 1e6;
}

export function hostTerms(numValues: number, workers: number): { messages: number; values: number; sums: number } {
  if (workers === 1) return { messages: 0, values: 0, sums: 0 };
  const share = ((workers - 1) / workers) * numValues;
  return { messages: 2, values: 2 * share, sums: share };
}

/** A link as the cost model of src/collective sees it. */
export function costOf({ gigabitsPerSecond, latencyUs, utilisation, perSumNs }: Link): CostConstants {
  return { latencyUs, perValueNs: (4 * BITS) / (gigabitsPerSecond * utilisation), perSumNs };
}

export function bucketsOf(numValues: number): number {
  return Math.max(1, Math.floor(numValues / BUCKET_VALUES));
}

/**
 * What is left of a sum of k equal buckets, one after the other, when the backward pass ends: bucket i is ready at i/k of the window
 * W, and its sum takes c. The last sum ends at max_i (i W/k + (k-i+1) c), which is linear in i: its largest value lies at an end.
 */
export function exposed(sumMs: number, buckets: number, windowMs: number): number {
  const each = sumMs / buckets;
  return Math.max(each, sumMs - (windowMs * (buckets - 1)) / buckets);
}

function feedMs({ sampleBytes }: StepModel, { link, feed }: Cluster, batch: number): number {
  return feed === "workers" ? 0 : (batch * sampleBytes * BITS) / (link.gigabitsPerSecond * link.utilisation * 1e6);
}
