/**
 * The whole measurement of `isoerg bench scaling`: trainings over numbers of workers, alone and in company, in turn and in rounds, so
 * that all meet the same machine; sums by themselves; the control plane by itself. What is made of it stands in analysis.ts.
 */
import { loadConfig } from "../../src/config/load.js";
import { IsoergError } from "../../src/util/error.js";
import { timeRanks } from "../allreduce.js";
import { type ControlPlanePoint, measureControlPlane, quantiles } from "./control-plane.js";
import { figuresOf, type RunFigures, type ScalingPoint } from "./points.js";
import { networkOf } from "./predict.js";
import { measureRecovery, type RecoveryPoint } from "./recovery.js";
import type { TimedRun } from "./trainings.js";
import { type Experiment, numTrainingSamples, type StepSize, scaled, timeSolo, timeTraining } from "./trainings.js";

export type Mode = "weak" | "strong";

export interface ScalingOptions {
  readonly experiment: Experiment;
  /** Ascending, from 1. */
  readonly workers: readonly number[];
  readonly modes: readonly Mode[];
  readonly steps: number;
  readonly warmupSteps: number;
  readonly rounds: number;
  readonly signal?: AbortSignal;
  readonly onTurn?: (what: string) => void;
  /** Told of what could not be measured. */
  readonly onMissing?: (reason: string) => void;
}

/** More than were asked for, so that there are some before and after the kill. */
const RECOVERY_STEPS = 20;

/** A sum of the whole gradient with nothing beside it, in this host's shared memory. */
export interface SumPoint {
  readonly workers: number;
  readonly numValues: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  /** 2 (n-1)/n of the bytes over the median time, as nccl-tests define it. */
  readonly busGigabytesPerSecond: number;
}

export interface Measured {
  readonly points: readonly ScalingPoint[];
  /** One worker without the communication stack, by the size of its slice. */
  readonly solo: readonly { readonly samples: number; readonly figures: RunFigures }[];
  readonly sums: readonly SumPoint[];
  /** What one thread copies on this machine, in GB/s: the line that sums in shared memory run over. */
  readonly copyGigabytesPerSecond: number;
  readonly control: readonly ControlPlanePoint[];
  /** A worker of the largest number was killed; null where there was but one. */
  readonly recovery: RecoveryPoint | null;
}

/** Steps after which what chains do comes again. */
export function periodOf(experiment: Experiment): number {
  const { config } = loadConfig(experiment);
  return config.sampler.chains > 0 ? config.sampler.every : 1;
}

export async function measureScaling(options: ScalingOptions): Promise<Measured> {
  const { experiment, workers, modes, rounds, signal, onTurn = () => {}, onMissing = () => {} } = options;
  const { config } = loadConfig(experiment);
  const numSamples = await numTrainingSamples(config.data.path);
  const largest = Math.max(...workers);
  if (workers[0] !== 1) throw new IsoergError("USAGE", "efficiency is against one worker: the list begins with 1");
  if (largest * config.data.batchSize > numSamples)
    throw new IsoergError("USAGE", `${largest} workers with batches of ${config.data.batchSize} need more than the ${numSamples} samples`, {
      hint: "use fewer workers or a smaller data.batchSize",
    });
  const tasks = tasksFor(modes, workers, (factor) => scaled(config, factor));
  const runs = new Map<string, TimedRun[]>();
  const common = { experiment, steps: options.steps, warmupSteps: options.warmupSteps, numSamples, ...(signal && { signal }) };
  for (let round = 0; round < rounds; round++) {
    for (const { key, what, size, count } of round % 2 === 0 ? tasks : [...tasks].reverse()) {
      signal?.throwIfAborted();
      onTurn(`round ${round + 1} of ${rounds}: ${key}`);
      const turn = { ...common, size, workers: count };
      const timed = what === "train" ? [await timeTraining(turn)] : await timeSolo(turn);
      runs.set(key, [...(runs.get(key) ?? []), ...timed]);
    }
  }
  const period = periodOf(experiment);
  const known = new Map([...runs].map(([key, timed]) => [key, figuresOf(timed, period)]));
  const figures = (key: string): RunFigures => known.get(key) as RunFigures;
  const points = modes.flatMap((mode) =>
    workers.map((count): ScalingPoint => {
      const size = sizeOf(mode, count, (factor) => scaled(config, factor));
      const slice = sliceOf(mode, count, (factor) => scaled(config, factor));
      return {
        ...{ mode, workers: count, batchSize: size.batchSize, samplesPerWorker: size.batchSize / count },
        run: figures(keys.train(count, size)),
        solo: figures(keys.solo(1, slice)),
        independent: figures(keys.solo(count, slice)),
      };
    }),
  );
  const alone = new Map(tasks.flatMap(({ what, count, size, key }) => (what === "solo" && count === 1 ? [[size.batchSize, key]] : [])));
  let recovery: RecoveryPoint | null = null;
  if (largest > 1) {
    onTurn(`one of ${largest} workers is killed`);
    const steps = options.steps + RECOVERY_STEPS;
    recovery = await measureRecovery({ ...common, size: scaled(config, 1), workers: largest, steps }).catch((error: Error) => {
      signal?.throwIfAborted();
      onMissing(`the loss of a worker: ${error.message}`); // an hour of other figures is not lost with this one
      return null;
    });
  }
  onTurn("sums by themselves");
  const several = workers.filter((count) => count > 1);
  const sums = await measureSums(several, networkOf(experiment.source, experiment.overrides).numParameters, signal);
  const control: ControlPlanePoint[] = [];
  for (const [count, samplesPerWorker] of [
    [2, 16],
    [8, 16],
    [32, 4],
    [32, 64],
    [128, 16],
  ] as const) {
    signal?.throwIfAborted();
    onTurn(`control plane, ${count} simulated workers`);
    control.push(
      await measureControlPlane({
        config,
        workers: count,
        samplesPerWorker,
        steps: 30,
        computeMs: 0,
        feed: false,
        ...(signal && { signal }),
      }),
    );
  }
  return {
    points,
    solo: [...alone].sort(([a], [b]) => a - b).map(([samples, key]) => ({ samples, figures: figures(key) })),
    sums,
    copyGigabytesPerSecond: copySpeed(),
    control,
    recovery,
  };
}

// ---- which runs ----

interface Task {
  readonly key: string;
  readonly what: "train" | "solo";
  readonly size: StepSize;
  readonly count: number;
}

const keys = {
  train: (count: number, { batchSize }: StepSize): string =>
    `isoerg train, ${count} ${count === 1 ? "worker" : "workers"}, batch ${batchSize}`,
  solo: (count: number, { batchSize }: StepSize): string =>
    `${count} independent ${count === 1 ? "process" : "processes"}, batch ${batchSize}`,
};

const sizeOf = (mode: Mode, count: number, at: (factor: number) => StepSize): StepSize => (mode === "weak" ? at(count) : at(1));
const sliceOf = (mode: Mode, count: number, at: (factor: number) => StepSize): StepSize => (mode === "weak" ? at(1) : at(1 / count));

/** Each run once, though several points need it. */
export function tasksFor(modes: readonly Mode[], workers: readonly number[], at: (factor: number) => StepSize): readonly Task[] {
  const tasks = new Map<string, Task>();
  const add = (what: Task["what"], count: number, size: StepSize): void => {
    const key = keys[what](count, size);
    if (!tasks.has(key)) tasks.set(key, { key, what, size, count });
  };
  // A second slice, so that a step's fixed part can be told from that of its samples.
  add("solo", 1, at(0.5));
  for (const mode of modes) {
    for (const count of workers) {
      add("solo", 1, sliceOf(mode, count, at));
      add("solo", count, sliceOf(mode, count, at));
      add("train", count, sizeOf(mode, count, at));
    }
  }
  return [...tasks.values()];
}

/** The gradient's own length, and shorter vectors, so that the cost of a message shows. */
async function measureSums(workers: readonly number[], numParameters: number, signal?: AbortSignal): Promise<readonly SumPoint[]> {
  const points: SumPoint[] = [];
  const lengths = [...new Set([256, 16_384, 262_144, numParameters])].sort((a, b) => a - b);
  for (const worldSize of workers) {
    const timed = await timeRanks(
      { way: "host" },
      { worldSize, sizesBytes: lengths.map((length) => 4 * length), seconds: 0.3, ...(signal && { signal }) },
    );
    for (const { sizeBytes, timesMs } of timed) {
      const { p50, p95 } = quantiles(timesMs);
      const busGigabytesPerSecond = (2 * (worldSize - 1) * sizeBytes) / worldSize / p50 / 1e6;
      points.push({ workers: worldSize, numValues: sizeBytes / 4, p50Ms: p50, p95Ms: p95, busGigabytesPerSecond });
    }
  }
  return points;
}

function copySpeed(): number {
  const from = new Float32Array(16 * 2 ** 20).fill(1);
  const to = new Float32Array(from.length);
  const seconds: number[] = [];
  for (let i = 0; i < 9; i++) {
    const since = performance.now();
    to.set(from);
    seconds.push((performance.now() - since) / 1000);
  }
  return from.byteLength / quantiles(seconds).p50 / 1e9;
}
