/**
 * Figures of timed runs: how long a step takes, in which parts, and how much of it is one worker waiting for another. Pure.
 *
 * An experiment may do more in some steps than in others (chains advance every k-th step), so that times of single steps have several
 * peaks. "The" time of a step is therefore the median over stretches of k steps of their mean.
 */
import { deviationOf, expectedMaximum, meanOf, quantileOf } from "./stragglers.js";
import type { TimedRun } from "./trainings.js";

/** How a run's steps compare with those of others that had the machine in turn with it. */
export interface Ratio {
  /** Their mean step over its own, turn by turn. */
  readonly mean: number;
  /** Of that mean; null where there were too few turns to tell. */
  readonly standardError: number | null;
  readonly turns: number;
}

/** A step's parts, in their order; mean milliseconds of a worker. */
export interface Breakdown {
  readonly dataWait: number;
  readonly augment: number;
  readonly attack: number;
  readonly sampling: number;
  readonly gradient: number;
  /** The sum itself, as the worker that comes last sees it. */
  readonly exposedCommunication: number;
  /** In the sum, for workers that come later. */
  readonly stragglers: number;
  readonly vote: number;
  readonly optimizer: number;
}

export interface RunFigures {
  readonly stepMs: { readonly typical: number; readonly mean: number; readonly p50: number; readonly p95: number; readonly p99: number };
  readonly numSteps: number;
  readonly breakdown: Breakdown;
  /** Own time of each worker and step over the mean of steps of its kind: sorted, of mean 1. */
  readonly jitter: readonly number[];
}

/** Phases in which a worker computes. */
const OWN = ["data", "attack", "sample", "gradient", "update"];

/** @param period of steps that differ: chains advance every so many */
export function figuresOf(runs: readonly TimedRun[], period: number): RunFigures {
  const all = runs.flatMap(({ stepMs }) => stepMs).sort((a, b) => a - b);
  const blocks = runs.flatMap(({ stepMs }) => blockMeans(stepMs, period)).sort((a, b) => a - b);
  const steps = runs.flatMap(({ phasesMs }) => phasesMs);
  const phase = (name: string): number => meanOf(steps.map((ranks) => meanOf(ranks.map((of) => of[name] ?? 0))));
  const firstReduce = meanOf(steps.map((ranks) => Math.min(...ranks.map((of) => of.reduce ?? 0))));
  return {
    stepMs: {
      typical: quantileOf(blocks.length > 0 ? blocks : all, 0.5),
      mean: meanOf(all),
      p50: quantileOf(all, 0.5),
      p95: quantileOf(all, 0.95),
      p99: quantileOf(all, 0.99),
    },
    numSteps: all.length,
    breakdown: {
      dataWait: phase("wait"),
      augment: phase("data"),
      attack: phase("attack"),
      sampling: phase("sample"),
      gradient: phase("gradient"),
      exposedCommunication: firstReduce,
      stragglers: phase("reduce") - firstReduce,
      vote: phase("vote"),
      optimizer: phase("update"),
    },
    jitter: jitterOf(runs, period),
  };
}

/**
 * @param pairs runs, each with the others that had the machine in turn with it: turn k of the run lies between their turns k - 1 and k
 * @param period of steps that differ
 */
export function ratioOf(pairs: readonly { readonly run: TimedRun; readonly others: readonly TimedRun[] }[], period: number): Ratio {
  const turns = pairs.flatMap(({ run, others }) => {
    const own = byTurn([run], period);
    const theirs = byTurn(others, period);
    return [...own].flatMap(([turn, ms]) => {
      const around = [theirs.get(turn - 1), theirs.get(turn)].filter((other) => other !== undefined);
      return around.length === 2 ? [{ own: ms, theirs: meanOf(around) }] : [];
    });
  });
  if (turns.length < 2) {
    const all = (runs: readonly TimedRun[]): number => meanOf(runs.flatMap(({ stepMs }) => stepMs));
    return {
      mean: all(pairs.flatMap(({ others }) => others)) / all(pairs.map(({ run }) => run)),
      standardError: null,
      turns: turns.length,
    };
  }
  return {
    mean: meanOf(turns.map(({ theirs }) => theirs)) / meanOf(turns.map(({ own }) => own)),
    standardError: deviationOf(turns.map(({ own, theirs }) => theirs / own)) / Math.sqrt(turns.length),
    turns: turns.length,
  };
}

/** The mean step of each turn, over runs side by side; by stretches of `period` steps, which count where they end. */
function byTurn(runs: readonly TimedRun[], period: number): ReadonlyMap<number, number> {
  const blocks = new Map<number, number[]>();
  for (const { stepMs, turns } of runs) {
    for (const [i, mean] of blockMeans(stepMs, period).entries()) {
      const turn = turns[(i + 1) * period - 1] as number;
      blocks.set(turn, [...(blocks.get(turn) ?? []), mean]);
    }
  }
  return new Map([...blocks].map(([turn, means]) => [turn, meanOf(means)]));
}

function blockMeans(values: readonly number[], length: number): number[] {
  const means: number[] = [];
  for (let at = 0; at + length <= values.length; at += length) means.push(meanOf(values.slice(at, at + length)));
  return means;
}

function jitterOf(runs: readonly TimedRun[], period: number): number[] {
  const byKind = new Map<string, number[]>();
  for (const [r, { phasesMs }] of runs.entries()) {
    for (const [step, ranks] of phasesMs.entries()) {
      const kind = `${r} ${step % period}`; // runs apart: they may have met different machines
      const own = ranks.map((of) => OWN.reduce((sum, name) => sum + (of[name] ?? 0), 0));
      byKind.set(kind, [...(byKind.get(kind) ?? []), ...own]);
    }
  }
  const relative = [...byKind.values()].flatMap((values) => {
    const mean = meanOf(values);
    return mean > 0 ? values.map((value) => value / mean) : [];
  });
  return relative.length > 0 ? relative.sort((a, b) => a - b) : [1];
}

/** Everything measured at one number of workers. */
export interface ScalingPoint {
  readonly mode: "weak" | "strong";
  readonly workers: number;
  readonly batchSize: number;
  readonly samplesPerWorker: number;
  readonly run: RunFigures;
  /** One worker's slice without the communication stack: alone, and as many processes at once as there are workers. */
  readonly solo: RunFigures;
  readonly independent: RunFigures;
  /** The independent processes' steps over the run's, which had the machine in turn. */
  readonly inTurn: Ratio;
}

export interface Efficiency {
  /** Against T(1) with the stack: T(1)/T(n) weak, T(1)/(n T(n)) strong. */
  readonly withStack: number;
  /** Against T(1) without it. */
  readonly withoutStack: number;
  /** What n independent processes reach on this machine: the same with their T(n). */
  readonly ideal: number;
  /** What distribution costs, the machine's own limits aside: the independent processes' step over the run's, measured in turn. */
  readonly ofIdeal: number;
  /**
   * What `ofIdeal` could be for a training whose workers wait for each other in each step, were all else free: the independent processes' own
   * times vary from step to step, and the slowest of n takes longer than the mean. An estimate: times are taken as independent of each other.
   */
  readonly inStep: number;
}

/**
 * @param first the point of one worker in the same mode
 * In strong scaling the independent processes compute a slice of 1/n each, so that T(1)/(n T(n)) holds for them as well.
 */
export function efficiencyOf(point: ScalingPoint, first: ScalingPoint): Efficiency {
  const share = point.mode === "weak" ? 1 : 1 / point.workers;
  const alone = first.solo.stepMs.typical;
  const withoutStack = (share * alone) / point.run.stepMs.typical;
  const ideal = (share * alone) / point.independent.stepMs.typical;
  const withStack = (share * first.run.stepMs.typical) / point.run.stepMs.typical;
  const inStep = 1 / expectedMaximum(point.independent.jitter, point.workers);
  return { withStack, withoutStack, ideal, ofIdeal: point.inTurn.mean, inStep };
}
