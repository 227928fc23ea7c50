/**
 * The whole measurement of `isoerg bench scaling`: trainings over numbers of workers, alone and in company, in turn and in rounds, so
 * that all meet the same machine; sums by themselves; the control plane by itself. What is made of it stands in result.ts.
 */
import { loadConfig } from "../../src/config/load.js";
import { IsoergError } from "../../src/util/error.js";
import { timeRanks } from "../allreduce.js";
import { type ControlPlanePoint, measureControlPlane, quantiles } from "./control-plane.js";
import { figuresOf, type RunFigures, ratioOf, type ScalingPoint } from "./points.js";
import { networkOf } from "./predict.js";
import { measureRecovery, type RecoveryPoint } from "./recovery.js";
import { meanOf } from "./stragglers.js";
import { type Experiment, numTrainingSamples, type StepSize, scaled, type TimedRun, timeAlone, timeInTurn } from "./trainings.js";

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
  const at = (factor: number): StepSize => scaled(config, factor);
  const tasks = tasksFor(modes, workers, at);
  const period = periodOf(experiment);
  const common = { experiment, steps: options.steps, warmupSteps: options.warmupSteps, numSamples, period, ...(signal && { signal }) };
  const alone = new Map<number, TimedRun[]>();
  const pairs = new Map<string, { run: TimedRun; others: readonly TimedRun[] }[]>();
  for (let round = 0; round < rounds; round++) {
    for (const task of round % 2 === 0 ? tasks : [...tasks].reverse()) {
      signal?.throwIfAborted();
      onTurn(`round ${round + 1} of ${rounds}: ${describe(task)}`);
      if (task.kind === "alone") {
        const run = await timeAlone({ ...common, size: task.size, workers: 1 });
        alone.set(task.size.batchSize, [...(alone.get(task.size.batchSize) ?? []), run]);
      } else {
        const turnMs = turnFor([...alone.values()].flat(), period);
        const { run, independent: others } = await timeInTurn({ ...common, ...task, turnMs });
        pairs.set(keyOf(task), [...(pairs.get(keyOf(task)) ?? []), { run, others }]);
        if (task.workers === 1) alone.set(task.slice.batchSize, [...(alone.get(task.slice.batchSize) ?? []), ...others]);
      }
    }
  }
  const solo = new Map([...alone].sort(([a], [b]) => a - b).map(([samples, runs]) => [samples, figuresOf(runs, period)]));
  const points = modes.flatMap((mode) =>
    workers.map((count): ScalingPoint => {
      const task = pairOf(mode, count, at);
      const measured = pairs.get(keyOf(task)) ?? [];
      const { batchSize } = task.size;
      return {
        ...{ mode, workers: count, batchSize, samplesPerWorker: batchSize / count },
        run: figuresOf(
          measured.map(({ run }) => run),
          period,
        ),
        solo: solo.get(task.slice.batchSize) as RunFigures,
        independent: figuresOf(
          measured.flatMap(({ others }) => others),
          period,
        ),
        inTurn: ratioOf(measured, period),
      };
    }),
  );
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
    solo: [...solo].map(([samples, figures]) => ({ samples, figures })),
    sums,
    copyGigabytesPerSecond: copySpeed(),
    control,
    recovery,
  };
}

// ---- which runs ----

/** A training and as many independent processes, each with a worker's slice, in turn. */
interface Pair {
  readonly kind: "pair";
  readonly workers: number;
  readonly size: StepSize;
  readonly slice: StepSize;
}

type Task = Pair | { readonly kind: "alone"; readonly size: StepSize };

function pairOf(mode: Mode, workers: number, at: (factor: number) => StepSize): Pair {
  return mode === "weak"
    ? { kind: "pair", workers, size: at(workers), slice: at(1) }
    : { kind: "pair", workers, size: at(1), slice: at(1 / workers) };
}

const keyOf = ({ workers, size }: Pair): string => `${workers} x ${size.batchSize}`;

function describe(task: Task): string {
  if (task.kind === "alone") return `one process alone, batch ${task.size.batchSize}`;
  const { workers, size } = task;
  return `isoerg train with ${workers} ${workers === 1 ? "worker" : "workers"}, batch ${size.batchSize}, in turn with independent processes`;
}

/** Each run once, though several points need it. */
export function tasksFor(modes: readonly Mode[], workers: readonly number[], at: (factor: number) => StepSize): readonly Task[] {
  const pairs = new Map(modes.flatMap((mode) => workers.map((count) => pairOf(mode, count, at))).map((pair) => [keyOf(pair), pair]));
  // What one process takes for each slice; and for a second one, so that a step's fixed part can be told from that of its samples.
  const slices = new Map(
    [...pairs.values()]
      .map(({ slice }) => slice)
      .concat(at(0.5))
      .map((size) => [size.batchSize, size]),
  );
  for (const { workers: count, slice } of pairs.values()) if (count === 1) slices.delete(slice.batchSize);
  return [...[...slices.values()].map((size): Task => ({ kind: "alone", size })), ...pairs.values()];
}

const MIN_TURN_MS = 1_000;
const STRETCHES_IN_TURN = 8;

/** Long enough for several stretches of steps, going by those of one process that were seen first. */
function turnFor(seen: readonly TimedRun[], period: number): number {
  const stepMs = seen.flatMap((run) => run.stepMs);
  return stepMs.length === 0 ? MIN_TURN_MS : Math.max(MIN_TURN_MS, STRETCHES_IN_TURN * period * meanOf(stepMs));
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
