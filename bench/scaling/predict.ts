/**
 * From measured points to predictions: fits the model's constants without the held-out points, predicts those, and then goes on to
 * clusters that nobody measured. All pure but for reading experiments; every predicted figure is marked so by where it stands.
 */
import { DEFAULT_COST } from "../../src/collective/cost-model.js";
import { loadConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/schema.js";
import { createModel } from "../../src/model/create.js";
import { flopsPerStep } from "../step/measure.js";
import { simulateFailures } from "./failure-simulation.js";
import { fitCompute, fitHost, fitVote } from "./fit.js";
import { dalyMs, goodput, type Reliability } from "./goodput.js";
import type { Measured } from "./measure.js";
import type { ScalingPoint } from "./points.js";
import { simulate } from "./simulation.js";
import { type Cluster, type Link, type StepModel, type StepTime, stepTime } from "./step-time.js";
import { deviationOf, meanOf, normalMaximum } from "./stragglers.js";

export interface Network {
  readonly name: string;
  readonly numParameters: number;
  readonly macsPerSample: number;
  /** Of a whole training step, for one sample of the batch. */
  readonly flopsPerSample: number;
  readonly samplesPerWorker: number;
}

const IMAGE = [32, 32, 3] as const;
const NUM_CLASSES = 10;
const IMAGE_BYTES = IMAGE[0] * IMAGE[1] * IMAGE[2];

/** An experiment's network on images of 32 x 32 in 10 classes. */
export function networkOf(source: string, overrides: readonly string[] = [], samplesPerWorker?: number): Network {
  const { config } = loadConfig({ source, overrides });
  const { numParameters, macsPerSample } = createModel(config.model, IMAGE, NUM_CLASSES);
  return {
    name: config.name,
    numParameters,
    macsPerSample,
    flopsPerSample: stepFlops(config, macsPerSample) / config.data.batchSize,
    samplesPerWorker: samplesPerWorker ?? config.data.batchSize,
  };
}

function stepFlops(config: Config, macsPerSample: number): number {
  return flopsPerStep({ name: config.name, summary: "", config, repeat: 1 }, macsPerSample);
}

// ---- the fit, and how well it predicts ----

export interface Prediction {
  readonly point: { readonly mode: "weak" | "strong"; readonly workers: number; readonly samplesPerWorker: number };
  readonly heldOut: boolean;
  readonly measuredMs: number;
  readonly predictedMs: number;
  /** predicted / measured - 1 */
  readonly error: number;
}

export interface Fitted {
  readonly model: StepModel;
  readonly predictions: readonly Prediction[];
  /** Floating-point operations a second that a worker of this machine reaches in training. */
  readonly workerGflops: number;
}

/** Of the 'gradient' phase the share in which gradients come out: the backward pass is about two thirds of it; an assumption. */
const BACKWARD_SHARE = 2 / 3;

/**
 * The points with the most workers are held out: no figure of a training with so many enters the fit. What n processes without a
 * link take beside each other (`independent`) is a property of the machine, measured for every n, and enters for those as well.
 */
export function fitModel({ points, solo, sums, control }: Omit<Measured, "copyGigabytesPerSecond">, network: Network): Fitted {
  const largest = Math.max(...points.map(({ workers }) => workers));
  const isHeldOut = ({ workers }: ScalingPoint): boolean => workers === largest && largest > 1;
  const seen = points.filter((point) => !isHeldOut(point));
  const compute = fitCompute(solo.map(({ samples, figures }) => ({ samples, ms: figures.stepMs.typical })));
  const one = solo.at(-1)?.figures;
  const whole = one ? one.stepMs.mean : 1;
  const aheadMs = one ? one.breakdown.optimizer + one.breakdown.augment + one.breakdown.attack + one.breakdown.sampling : 0;
  const timings = sums.filter(({ workers }) => workers !== largest || sums.every((other) => other.workers === largest));
  const model: StepModel = {
    numParameters: network.numParameters,
    compute,
    overlapShare: one ? Math.min(1, (BACKWARD_SHARE * one.breakdown.gradient) / whole) : 0,
    aheadShare: Math.min(1, aheadMs / whole),
    jitter: thinned(seen.flatMap(({ run }) => run.jitter)),
    host: fitHost(timings.map(({ workers, numValues, p50Ms }) => ({ workers, numValues, ms: p50Ms }))),
    vote: fitVote(control.map(({ workers, batchSize, commitMs }) => ({ workers, batchSize, ms: commitMs.p50 }))),
    sampleBytes: IMAGE_BYTES,
  };
  const predictions = points.map((point): Prediction => {
    const { mode, workers, samplesPerWorker, run } = point;
    const sharing = point.independent.stepMs.typical / point.solo.stepMs.typical;
    const { fixedMs, perSampleMs } = compute;
    const here = { ...model, compute: { fixedMs: sharing * fixedMs, perSampleMs: sharing * perSampleMs } };
    const predictedMs = stepTime(here, onOneHost(workers), samplesPerWorker).totalMs;
    const measuredMs = run.stepMs.typical;
    return {
      ...{ point: { mode, workers, samplesPerWorker }, heldOut: isHeldOut(point) },
      ...{ measuredMs, predictedMs, error: predictedMs / measuredMs - 1 },
    };
  });
  return { model, predictions, workerGflops: network.flopsPerSample / compute.perSampleMs / 1e6 };
}

/** This machine: all workers share its memory, nothing crosses a link. */
function onOneHost(workers: number): Cluster {
  return { workers, workersPerHost: workers, link: linkOf(1000), feed: "workers" };
}

/** At most some hundred values that stand for all of them, of mean 1. */
function thinned(values: readonly number[], count = 400): readonly number[] {
  const sorted = [...values].sort((a, b) => a - b);
  const kept =
    sorted.length <= count
      ? sorted
      : Array.from({ length: count }, (_, i) => sorted[Math.floor(((i + 0.5) * sorted.length) / count)] as number);
  if (kept.length === 0) return [1];
  const mean = meanOf(kept);
  return kept.map((value) => value / mean);
}

// ---- clusters that nobody measured ----

export interface Assumptions {
  readonly links: readonly number[];
  readonly workers: readonly number[];
  readonly workersPerHost: number;
  /** That a worker reaches in training; null: as on the measured machine. */
  readonly workerGflops: number | null;
  readonly reliability: Reliability;
  /** For comparison: a trainer that only has checkpoints. */
  readonly checkpointMs: number;
  readonly restartMs: number;
  readonly feed: Cluster["feed"];
}

/** Of a long message over TCP on a good line ("Is Network the Bottleneck", arXiv 2006.10103, and what collectives reach: 70 to 90 %). */
const UTILISATION = 0.8;
export function linkOf(gigabitsPerSecond: number): Link {
  const { latencyUs, perSumNs } = DEFAULT_COST; // the program's own part of a message; a rack's wire adds little to it
  return { gigabitsPerSecond, latencyUs, utilisation: UTILISATION, perSumNs };
}

export interface Extrapolation {
  readonly network: string;
  readonly gigabitsPerSecond: number;
  readonly workers: number;
  readonly step: StepTime;
  /** Against one worker of the same cluster: compute alone over the whole step. */
  readonly efficiency: number;
  readonly samplesPerSecond: number;
  /** The longest of normal times would take so much more of a step than the longest of those measured, as a share. */
  readonly tailRisk: number;
  /** Useful share of the time under failures: closed form, and simulated with repairs. */
  readonly goodput: number;
  readonly simulated: { readonly stepMs: number; readonly goodput: number } | null;
  /** The same failures where all start again from the last checkpoint, made at Daly's interval. */
  readonly fromCheckpoints: { readonly goodput: number; readonly intervalMs: number };
}

/** A network's constants on the measured machine, brought to another network by its arithmetic and size, and to other workers. */
export function modelFor(fitted: Fitted, measured: Network, network: Network, workerGflops: number | null): StepModel {
  const { model } = fitted;
  const faster = workerGflops === null ? 1 : fitted.workerGflops / workerGflops;
  return {
    ...model,
    numParameters: network.numParameters,
    compute: {
      // What a step costs whatever its batch is mostly the update's walk over the parameters.
      fixedMs: model.compute.fixedMs * (network.numParameters / measured.numParameters) * faster,
      perSampleMs: model.compute.perSampleMs * (network.flopsPerSample / measured.flopsPerSample) * faster,
    },
  };
}

const SIMULATED_STEPS = 60;
const SIMULATED_FAILURES = 300;

/** Weak scaling of each network over each link; over one of them it is simulated as well. */
export function extrapolate(
  fitted: Fitted,
  measured: Network,
  networks: readonly Network[],
  assumptions: Assumptions,
  { simulateOn }: { readonly simulateOn: number },
): readonly Extrapolation[] {
  const { links, workers, workersPerHost, reliability, feed, workerGflops } = assumptions;
  return networks.flatMap((network) => {
    const model = modelFor(fitted, measured, network, workerGflops);
    const spread = { mean: 1, deviation: model.jitter.length > 1 ? deviationOf(model.jitter) : 0 };
    return links.flatMap((gigabitsPerSecond) =>
      workers.map((count): Extrapolation => {
        const cluster = { workers: count, workersPerHost, link: linkOf(gigabitsPerSecond), feed };
        const step = stepTime(model, cluster, network.samplesPerWorker);
        const longest = 1 + step.stragglerMs / step.computeMs;
        const batchSize = count * network.samplesPerWorker;
        return {
          ...{ network: network.name, gigabitsPerSecond, workers: count, step },
          efficiency: step.computeMs / step.totalMs,
          samplesPerSecond: (1000 * batchSize) / step.totalMs,
          tailRisk: Math.max(0, ((normalMaximum(spread, count) - longest) * step.computeMs) / step.totalMs),
          goodput: goodput(step.totalMs, count, reliability),
          fromCheckpoints: fromCheckpoints(step.totalMs, count, assumptions),
          simulated: gigabitsPerSecond === simulateOn ? simulated(model, cluster, batchSize, reliability) : null,
        };
      }),
    );
  });
}

function fromCheckpoints(
  stepMs: number,
  workers: number,
  { reliability, checkpointMs, restartMs }: Assumptions,
): Extrapolation["fromCheckpoints"] {
  const { workerMtbfMs } = reliability;
  const everySteps = Math.max(1, Math.round(dalyMs(checkpointMs, workerMtbfMs / workers) / stepMs));
  const recovery = { kind: "checkpoint", everySteps, checkpointMs, restartMs } as const;
  return { goodput: goodput(stepMs, workers, { workerMtbfMs, recovery, repairMs: 0 }), intervalMs: everySteps * stepMs };
}

/** Steps one by one, with their spread; then failures over weeks, with steps of their mean length. */
function simulated(model: StepModel, cluster: Cluster, batchSize: number, reliability: Reliability): Extrapolation["simulated"] {
  const { workers } = cluster;
  const steps = simulate({ model, cluster, batchSize, steps: SIMULATED_STEPS, seed: 1n }).stepMs;
  const known = new Map<number, number>();
  const stepMs = (alive: number): number => {
    const ms = known.get(alive) ?? stepTime(model, { ...cluster, workers: alive }, batchSize / alive).totalMs;
    known.set(alive, ms);
    return ms;
  };
  const history = simulateFailures({ workers, stepMs, reliability, failures: SIMULATED_FAILURES, seed: 2n });
  return { stepMs: meanOf(steps), goodput: history.goodput };
}
