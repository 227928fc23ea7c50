/** Measurements of a machine that follows the model of bench/scaling exactly: what the fit should find is known. */
import type { ControlPlanePoint } from "../../bench/scaling/control-plane.js";
import type { Measured } from "../../bench/scaling/measure.js";
import type { RunFigures, ScalingPoint } from "../../bench/scaling/points.js";
import { linkOf, networkOf } from "../../bench/scaling/predict.js";
import { hostMs, ownMs, type StepModel, stepTime, voteTime } from "../../bench/scaling/step-time.js";

export const network = networkOf("quickstart");

export const planted: StepModel = {
  numParameters: network.numParameters,
  compute: { fixedMs: 12, perSampleMs: 4 },
  overlapShare: 0.2,
  aheadShare: 0.7,
  jitter: [0.95, 1, 1.05],
  host: { latencyUs: 40, perValueNs: 1.5, perSumNs: 0 },
  vote: { fixedMs: 2, perWorkerMs: 0.05, perSampleMs: 0.001 },
  sampleBytes: 3072,
};

/** How much slower n processes are beside each other. */
const sharing = (workers: number): number => 1 + 0.1 * (workers - 1);

export function plantedMeasurements(workers: readonly number[]): Measured {
  const points = (["weak", "strong"] as const).flatMap((mode) =>
    workers.map((count): ScalingPoint => {
      const samplesPerWorker = mode === "weak" ? 64 : 64 / count;
      const factor = sharing(count);
      const { fixedMs, perSampleMs } = planted.compute;
      const here = { ...planted, compute: { fixedMs: factor * fixedMs, perSampleMs: factor * perSampleMs } };
      const cluster = { workers: count, workersPerHost: count, link: linkOf(1000), feed: "workers" } as const;
      const independentMs = factor * ownMs(planted.compute, samplesPerWorker);
      const runMs = stepTime(here, cluster, samplesPerWorker).totalMs;
      return {
        ...{ mode, workers: count, batchSize: count * samplesPerWorker, samplesPerWorker },
        run: figures(runMs),
        solo: figures(ownMs(planted.compute, samplesPerWorker)),
        independent: figures(independentMs),
        inTurn: { mean: independentMs / runMs, standardError: 0.004, turns: 24 },
      };
    }),
  );
  const control = [
    [2, 32],
    [8, 128],
    [32, 128],
    [32, 2048],
  ].map(([count = 0, batchSize = 0]): ControlPlanePoint => {
    const p50 = voteTime(planted.vote, count, batchSize);
    return {
      ...{ workers: count, batchSize, steps: 30, computeMs: 0, feed: false, formMs: 100, megabytesPerSecond: 0 },
      commitMs: { p50, p95: 2 * p50, p99: 3 * p50 },
      stepMs: { p50, p95: p50, p99: p50 },
      coordinator: { cpuMsPerStep: p50 / 2, cpuShare: 0.5, peakRssBytes: 1e8 },
    };
  });
  const lengths = [256, 262_144, network.numParameters];
  return {
    points,
    solo: [32, 64].map((samples) => ({ samples, figures: figures(ownMs(planted.compute, samples)) })),
    sums: workers
      .filter((count) => count > 1)
      .flatMap((count) =>
        lengths.map((numValues) => {
          const p50Ms = hostMs(planted.host, numValues, count);
          return {
            workers: count,
            numValues,
            p50Ms,
            p95Ms: p50Ms,
            busGigabytesPerSecond: (8 * (count - 1) * numValues) / count / p50Ms / 1e6,
          };
        }),
      ),
    copyGigabytesPerSecond: 10,
    control,
    recovery: { workers: 2, recoveryMs: 120, stallMs: 250, numSteps: 40, goodput: 0.7 },
  };
}

function figures(typical: number): RunFigures {
  return {
    stepMs: { typical, mean: typical, p50: typical, p95: typical, p99: typical },
    numSteps: 40,
    breakdown: {
      ...{ dataWait: 0, augment: 0, attack: 0.3 * typical, sampling: 0.3 * typical, gradient: 0.3 * typical },
      ...{ exposedCommunication: 0, stragglers: 0, vote: 0, optimizer: 0.1 * typical },
    },
    jitter: planted.jitter,
  };
}
