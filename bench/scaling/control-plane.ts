/**
 * The control plane alone: a real coordinator and workers that compute nothing, each side in a process of its own. What a commit
 * costs by itself, at sizes that no machine here could train at, and what feeding real samples costs the coordinator.
 *
 * Both processes share the machine, so latencies include the simulated workers' own work of reading and writing: they are an upper
 * bound of the coordinator's part. Its processor time is its own and is exact.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../../src/config/schema.js";
import { openDataset } from "../../src/data/dataset.js";
import { IsoergError } from "../../src/util/error.js";
import type { ControlReply, ControlTask } from "./control-coordinator.js";
import type { LightWorkersResult, LightWorkersTask } from "./light-workers.js";
import { quantileOf } from "./stragglers.js";

export interface ControlPlaneOptions {
  readonly config: Config;
  readonly workers: number;
  readonly samplesPerWorker: number;
  readonly steps: number;
  readonly warmupSteps?: number;
  /** What a worker pretends to compute in each step. 0: it votes at once, and the step is the commit. */
  readonly computeMs: number;
  /** Whether the coordinator feeds every worker its samples, from the data set of the configuration. */
  readonly feed: boolean;
  readonly signal?: AbortSignal;
}

export interface ControlPlanePoint {
  readonly workers: number;
  readonly batchSize: number;
  readonly steps: number;
  readonly computeMs: number;
  readonly feed: boolean;
  /** From the last ballot's sending to the last verdict's arrival. */
  readonly commitMs: Quantiles;
  readonly stepMs: Quantiles;
  /** From the first session to the first step. */
  readonly formMs: number;
  readonly coordinator: {
    readonly cpuMsPerStep: number;
    /** Of one core. */
    readonly cpuShare: number;
    readonly peakRssBytes: number;
  };
  readonly megabytesPerSecond: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** @throws IsoergError ENGINE when a side ends early. */
export async function measureControlPlane(options: ControlPlaneOptions): Promise<ControlPlanePoint> {
  const { workers, samplesPerWorker, steps, warmupSteps = 3, computeMs, feed, signal } = options;
  const batchSize = workers * samplesPerWorker;
  const numSamples = feed ? await trainingSamples(options.config.data.path) : NUM_IDS;
  // One step more than are measured, so that the run is ended from outside and no worker owes a checkpoint.
  const epochs = (warmupSteps + steps + 1) / Math.ceil(numSamples / batchSize);
  if (batchSize > numSamples)
    throw new IsoergError(
      "USAGE",
      `${workers} workers with ${samplesPerWorker} samples each are more than the ${numSamples} samples there are`,
    );
  const { config: base } = options;
  const config: Config = {
    ...base,
    name: "control-plane",
    epochs,
    data: { ...base.data, batchSize, subset: null },
    checkpoint: { ...base.checkpoint, everySteps: NEVER },
  };
  const runFolder = mkdtempSync(join(tmpdir(), "isoerg-control-"));
  const coordinator = fork(new URL("./control-coordinator.js", import.meta.url), { serialization: "advanced" });
  const light = fork(new URL("./light-workers.js", import.meta.url), { serialization: "advanced" });
  const kill = (): void => {
    coordinator.kill("SIGKILL");
    light.kill("SIGKILL");
  };
  signal?.addEventListener("abort", kill, { once: true });
  try {
    const said = messagesOf<ControlReply>(coordinator, "the coordinator");
    const task: ControlTask = { config, workers, warmupSteps, steps, runFolder, samples: feed ? "real" : "none" };
    coordinator.send(task);
    const listening = await said.next();
    if (listening.kind !== "listening") throw failed(listening.kind === "failed" ? listening.reason : "no address");
    const plan = { numSamples, shuffleBlock: config.data.shuffleBlock, batchSize, seed: BigInt(config.seed) };
    const lightTask: LightWorkersTask = { address: listening.address, workers, plan, warmupSteps, steps, computeMs, feed };
    const results = messagesOf<LightWorkersResult>(light, "the process of simulated workers");
    light.send(lightTask);
    const [measured, seen] = await Promise.all([
      said.next(),
      results.next().then((result) => {
        if (result.lost.length > 0 && result.commitMs.length < steps) throw failed(`a simulated worker was lost: ${result.lost[0]}`);
        return result;
      }),
    ]);
    if (measured.kind !== "measured") throw failed(measured.kind === "failed" ? measured.reason : "no figures");
    return {
      workers,
      batchSize,
      steps,
      computeMs,
      feed,
      commitMs: quantiles(seen.commitMs),
      stepMs: quantiles(seen.stepMs),
      formMs: seen.formMs,
      coordinator: {
        cpuMsPerStep: measured.cpuMs / measured.steps,
        cpuShare: measured.cpuMs / measured.wallMs,
        peakRssBytes: measured.peakRssBytes,
      },
      megabytesPerSecond: feed ? (batchSize * seen.bytesPerSample * measured.steps) / 1e3 / measured.wallMs : 0,
    };
  } finally {
    signal?.removeEventListener("abort", kill);
    kill();
    rmSync(runFolder, { recursive: true, force: true });
  }
}

/** Sample ids that the plan has where nobody reads samples. */
const NUM_IDS = 1 << 20;
const NEVER = 1_000_000_000;

export function quantiles(values: readonly number[]): Quantiles {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return { p50: Number.NaN, p95: Number.NaN, p99: Number.NaN };
  return { p50: quantileOf(sorted, 0.5), p95: quantileOf(sorted, 0.95), p99: quantileOf(sorted, 0.99) };
}

async function trainingSamples(path: string): Promise<number> {
  const dataset = await openDataset(path, "train");
  try {
    return dataset.numSamples;
  } finally {
    await dataset.close();
  }
}

function failed(reason: string): IsoergError {
  return new IsoergError("ENGINE", `the control plane was not measured: ${reason}`);
}

/** A process's messages in order, one at a time; its end without one is an error. */
function messagesOf<T>(child: ChildProcess, who: string): { next(): Promise<T> } {
  const queue: T[] = [];
  let waiting: { resolve: (message: T) => void; reject: (error: Error) => void } | undefined;
  let gone: Error | undefined;
  child.on("message", (message) => {
    if (waiting) waiting.resolve(message as T);
    else queue.push(message as T);
    waiting = undefined;
  });
  child.on("exit", (code, signal) => {
    gone = failed(`${who} ended with ${code ?? signal}`);
    waiting?.reject(gone);
  });
  return {
    next() {
      const message = queue.shift();
      if (message !== undefined) return Promise.resolve(message);
      if (gone) return Promise.reject(gone);
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject };
      });
    },
  };
}
