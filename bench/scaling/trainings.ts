/**
 * Real trainings, timed: `isoerg train` with n workers, and processes without a communication stack, alone or n at once.
 *
 * The experiment is the user's; only what sets the size of a step and the length of the run is changed. Times of workers come from
 * the run's own metrics.jsonl.
 */
import { execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { loadConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/schema.js";
import type { StepRecord } from "../../src/coordinator/events.js";
import { openDataset } from "../../src/data/dataset.js";
import type { EngineOptions } from "../../src/engine/engine.js";
import { IsoergError } from "../../src/util/error.js";
import { packageRoot } from "../../src/util/package.js";
import type { SoloReply, SoloTask } from "./solo-run.js";

export interface Experiment {
  /** A ready-made experiment's name or a file. */
  readonly source: string;
  readonly overrides: readonly string[];
  readonly engine: EngineOptions;
}

/** What is computed in a step, by all workers together. */
export interface StepSize {
  readonly batchSize: number;
  readonly chains: number;
  readonly bufferSize: number;
}

/** Times of one run, the steps of the warm-up left out. */
export interface TimedRun {
  readonly stepMs: readonly number[];
  /** By step, by rank. */
  readonly phasesMs: readonly (readonly Readonly<Record<string, number>>[])[];
}

/** The experiment's step, as many times larger or smaller; what is left of a fraction counts as one. */
export function scaled({ data, sampler }: Pick<Config, "data" | "sampler">, factor: number): StepSize {
  const times = (count: number): number => (count === 0 ? 0 : Math.max(1, Math.round(count * factor)));
  const chains = times(sampler.chains);
  return { batchSize: times(data.batchSize), chains, bufferSize: Math.max(chains, times(sampler.bufferSize)) };
}

/** Settings under which the experiment is so many steps of this size. */
export function settingsFor({ batchSize, chains, bufferSize }: StepSize, steps: number, numSamples: number): readonly string[] {
  const subset = Math.min(numSamples, steps * batchSize);
  return [
    `data.batchSize=${batchSize}`,
    `data.subset=${subset}`,
    `epochs=${steps / Math.ceil(subset / batchSize)}`,
    `sampler.chains=${chains}`,
    `sampler.bufferSize=${bufferSize}`,
    `checkpoint.everySteps=${steps + 1}`,
  ];
}

export async function numTrainingSamples(path: string): Promise<number> {
  await using dataset = await openDataset(path, "train");
  return dataset.numSamples;
}

export interface TrainOptions {
  readonly experiment: Experiment;
  readonly size: StepSize;
  readonly workers: number;
  readonly steps: number;
  readonly warmupSteps: number;
  readonly numSamples: number;
  readonly signal?: AbortSignal;
}

/** What follows `node` for `isoerg train` with these. */
export function trainCommand({ experiment, size, workers, steps, warmupSteps, numSamples }: TrainOptions, run: string): string[] {
  const { engine, device, threads } = experiment.engine;
  const words = ["train", experiment.source, ...experiment.overrides, ...settingsFor(size, warmupSteps + steps, numSamples)];
  words.push("--workers", String(workers), "--run", run, "--engine", engine, "--device", device, "--threads", String(threads));
  return [join(packageRoot, "dist", "src", "main.js"), ...words];
}

/** `isoerg train` in a process of its own. @throws IsoergError ENGINE with its last words when it fails. */
export async function timeTraining(options: TrainOptions): Promise<TimedRun> {
  const { workers, warmupSteps, signal } = options;
  const folder = mkdtempSync(join(tmpdir(), "isoerg-scaling-"));
  try {
    await promisify(execFile)(process.execPath, trainCommand(options, join(folder, "run")), {
      maxBuffer: 64 * 2 ** 20,
      ...(signal && { signal, killSignal: "SIGINT" }),
    }).catch((error: Error & { stderr?: string }) => {
      signal?.throwIfAborted();
      throw new IsoergError("ENGINE", `a training with ${workers} workers failed: ${(error.stderr ?? error.message).trim().slice(-600)}`);
    });
    const lines = readFileSync(join(folder, "run", "metrics.jsonl"), "utf8")
      .trim()
      .split("\n");
    const records = lines.map((line) => JSON.parse(line) as StepRecord).slice(warmupSteps);
    return { stepMs: records.map(({ stepMs }) => stepMs), phasesMs: records.map(({ phasesMs }) => phasesMs) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** So many processes at once, none of which knows of the others. Only steps during which all were computing count. */
export async function timeSolo(options: TrainOptions): Promise<readonly TimedRun[]> {
  const { experiment, size, workers, steps, warmupSteps, numSamples, signal } = options;
  const { config } = loadConfig({
    source: experiment.source,
    overrides: [...experiment.overrides, ...settingsFor(size, warmupSteps + steps, numSamples)],
  });
  const { threads } = experiment.engine;
  // As the worker processes of `isoerg train` are started.
  const env = { OMP_NUM_THREADS: String(threads), ...process.env };
  const script = new URL("./solo-run.js", import.meta.url);
  const children = Array.from({ length: workers }, () => fork(script, { serialization: "advanced", env }));
  const kill = (): void => {
    for (const child of children) child.kill("SIGKILL");
  };
  signal?.addEventListener("abort", kill, { once: true });
  try {
    const ask = async (child: (typeof children)[number], message: SoloTask | "go"): Promise<SoloReply> => {
      const answered = new AbortController();
      const exit = once(child, "exit", { signal: answered.signal }).then(([code]) => {
        signal?.throwIfAborted();
        throw new IsoergError("ENGINE", `a training with ${threads} threads and no link ended with ${code ?? "a signal"}`);
      });
      exit.catch(() => {}); // where the answer came first
      child.send(message);
      const reply = once(child, "message", { signal: answered.signal }) as Promise<[SoloReply]>;
      try {
        return (await Promise.race([reply, exit]))[0];
      } finally {
        answered.abort();
      }
    };
    await Promise.all(children.map((child) => ask(child, { config, engine: experiment.engine })));
    const replies = await Promise.all(children.map((child) => ask(child, "go")));
    return together(
      replies.flatMap((reply) => (reply.kind === "done" ? [reply] : [])),
      warmupSteps,
    );
  } finally {
    signal?.removeEventListener("abort", kill);
    kill();
  }
}

/** Of each process the steps that lie wholly between the last one's warm-up and the first one's end. */
export function together(runs: readonly Omit<Extract<SoloReply, { kind: "done" }>, "kind">[], warmupSteps: number): readonly TimedRun[] {
  const from = Math.max(...runs.map(({ endsMs }) => endsMs[warmupSteps - 1] as number));
  const to = Math.min(...runs.map(({ endsMs }) => endsMs.at(-1) as number));
  return runs.map(({ endsMs, phasesMs }) => {
    const counted = endsMs.flatMap((end, i) => (i >= warmupSteps && (endsMs[i - 1] as number) >= from && end <= to ? [i] : []));
    return {
      stepMs: counted.map((i) => (endsMs[i] as number) - (endsMs[i - 1] as number)),
      phasesMs: counted.map((i) => [phasesMs[i] as Record<string, number>]),
    };
  });
}
