/**
 * A training on a cluster, event by event: steps whose workers are faster and slower by turns, workers that fail and come back,
 * steps and intervals that are lost and done again. Seeded: the same seed gives the same history.
 *
 * It stands beside the closed forms (step-time.ts, goodput.ts), which it must meet where they are exact, and goes where they
 * don't: a global batch that fewer workers share until the lost one is back.
 */
import { draws } from "../../src/engine/random/philox.js";
import { type Reliability, unitOf } from "./goodput.js";
import { bucketsOf, type Cluster, exposedVote, ownMs, type StepModel, sumTime } from "./step-time.js";

export interface SimulationOptions {
  readonly model: StepModel;
  readonly cluster: Cluster;
  /** Of a step, whoever computes them. */
  readonly batchSize: number;
  readonly steps: number;
  readonly seed: bigint;
  /** Left out: nothing fails. */
  readonly reliability?: Reliability;
}

export interface SimulatedRun {
  /** From the first step to the last commit. */
  readonly wallMs: number;
  /** Of the steps that counted. */
  readonly stepMs: readonly number[];
  readonly failures: number;
  /** Steps done and lost. */
  readonly stepsLost: number;
  /** The smallest number of workers that a step had. */
  readonly fewestWorkers: number;
}

/** Of random streams that no training uses. */
const PURPOSE = 222;
/** Positions of a step's stream: workers from 0 on, failures at this one. */
const FAILURES = 0xffff_ffff;
const MAX_FAILURES = 1e5;

export function simulate({ model, cluster, batchSize, steps, seed, reliability }: SimulationOptions): SimulatedRun {
  const unit = unitOf(reliability?.recovery ?? { kind: "elastic", recoveryMs: 0 });
  const elastic = reliability === undefined || reliability.recovery.kind === "elastic";
  const clock = failureClock(seed, reliability?.workerMtbfMs ?? Number.POSITIVE_INFINITY);
  const parts = partsByWorkers(model, cluster, batchSize);
  /** When those who are away come back, earliest first. */
  const returns: number[] = [];
  const stepMs: number[] = [];
  let now = 0;
  let attempt = 0;
  let failures = 0;
  let stepsLost = 0;
  let fewestWorkers = cluster.workers;
  let workers = cluster.workers;
  const comeBack = (): void => {
    while (returns.length > 0 && (returns[0] as number) <= now) {
      returns.shift();
      workers++;
    }
  };
  /** A worker fails now. What follows may be struck as well, and then begins anew. */
  const recover = (): void => {
    for (;;) {
      if (++failures > MAX_FAILURES) throw new RangeError(`more than ${MAX_FAILURES} failures: no step is ever finished`);
      if (elastic && reliability && reliability.repairMs > 0) {
        workers--;
        returns.push(now + reliability.repairMs);
        if (workers === 0) now = returns[0] as number;
        comeBack();
      }
      const next = clock(workers);
      if (next >= unit.recoveryMs) break;
      now += next;
    }
    now += unit.recoveryMs;
  };
  while (stepMs.length < steps) {
    comeBack();
    fewestWorkers = Math.min(fewestWorkers, workers);
    const size = Math.min(unit.steps, steps - stepMs.length);
    const durations: number[] = [];
    const failsAfter = clock(workers);
    let elapsed = unit.extraMs;
    for (let i = 0; i < size; i++) {
      const ms = oneStep(model, parts(workers), { seed, step: attempt++, workers });
      elapsed += ms;
      durations.push(ms);
    }
    if (failsAfter < elapsed) {
      let done = 0;
      for (let at = 0; done < durations.length && at + (durations[done] as number) <= failsAfter; done++) at += durations[done] as number;
      stepsLost += done;
      now += failsAfter;
      recover();
      continue;
    }
    now += elapsed;
    stepMs.push(...durations);
  }
  return { wallMs: now, stepMs, failures, stepsLost, fewestWorkers };
}

interface Parts {
  readonly computeMs: number;
  readonly sumMs: number;
  readonly buckets: number;
  readonly voteMs: number;
  readonly feedMs: number;
}

/** What does not change from step to step, for each number of workers that occurs. */
function partsByWorkers(model: StepModel, cluster: Cluster, batchSize: number): (workers: number) => Parts {
  const known = new Map<number, Parts>();
  const { link, feed } = cluster;
  return (workers) => {
    const before = known.get(workers);
    if (before) return before;
    const parts = {
      computeMs: ownMs(model.compute, batchSize / workers),
      sumMs: sumTime(model, { ...cluster, workers }).sumMs,
      buckets: bucketsOf(model.numParameters),
      voteMs: exposedVote(model, workers, batchSize),
      feedMs: feed === "workers" ? 0 : (batchSize * model.sampleBytes * 8) / (link.gigabitsPerSecond * link.utilisation * 1e6),
    };
    known.set(workers, parts);
    return parts;
  };
}

/** Each worker computes and hands over its buckets; a bucket's sum begins when the slowest has it and the one before is done. */
function oneStep(model: StepModel, parts: Parts, { seed, step, workers }: { seed: bigint; step: number; workers: number }): number {
  const { jitter, overlapShare } = model;
  const { computeMs, sumMs, buckets, voteMs, feedMs } = parts;
  let slowest = jitter.at(-1) as number;
  if (jitter.length > 1) {
    const random = draws({ seed, purpose: PURPOSE, step, position: 0 });
    slowest = 0;
    for (let i = 0; i < workers; i++) slowest = Math.max(slowest, jitter[Math.floor(random.uniform() * jitter.length)] as number);
  }
  const windowMs = overlapShare * computeMs;
  const backwardAt = slowest * computeMs - windowMs;
  let done = 0;
  for (let i = 1; i <= buckets; i++) done = Math.max(done, backwardAt + (windowMs * i) / buckets) + sumMs / buckets;
  return Math.max(done + voteMs, feedMs);
}

/** Times until the next failure of any of so many workers. */
function failureClock(seed: bigint, workerMtbfMs: number): (workers: number) => number {
  let count = 0;
  return (workers) => {
    if (!Number.isFinite(workerMtbfMs)) return Number.POSITIVE_INFINITY;
    const random = draws({ seed, purpose: PURPOSE, step: count++, position: FAILURES });
    return (-Math.log1p(-random.uniform()) * workerMtbfMs) / workers;
  };
}
