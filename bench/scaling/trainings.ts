/**
 * Real trainings, timed: `isoerg train` with n workers in turn with n processes without a communication stack, and one of these alone.
 *
 * The experiment is the user's; only what sets the size of a step and the length of the run is changed. Times of workers come from
 * the run's own metrics.jsonl.
 */
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/schema.js";
import type { StepRecord } from "../../src/coordinator/events.js";
import { openDataset } from "../../src/data/dataset.js";
import type { EngineOptions } from "../../src/engine/engine.js";
import { IsoergError } from "../../src/util/error.js";
import { packageRoot } from "../../src/util/package.js";
import { activeMs, type Group, inTurn, type Span, turnAt } from "./in-turn.js";
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
  /** By step, by rank; without stretches of steps during which the run was stopped. */
  readonly phasesMs: readonly (readonly Readonly<Record<string, number>>[])[];
  /** In which turn each step ended; all in one where the run had the machine to itself. */
  readonly turns: readonly number[];
}

/** A run's steps on the clock, in milliseconds since the epoch. */
export interface Timeline {
  readonly steps: readonly Span[];
  readonly phasesMs: TimedRun["phasesMs"];
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

/** A training and as many independent processes, each with a slice of its own, in turn. @throws IsoergError ENGINE when one fails */
export async function timeInTurn(
  options: TrainOptions & { readonly slice: StepSize; readonly period: number; readonly turnMs: number },
): Promise<{ readonly run: TimedRun; readonly independent: readonly TimedRun[] }> {
  const { slice, period, warmupSteps, turnMs } = options;
  await using solo = await startSolo({ ...options, size: slice });
  await using training = startTraining(options);
  solo.go();
  const [[timeline, replies], [spans, soloSpans]] = await Promise.all([
    Promise.all([training.ended, solo.ended]),
    inTurn([training, solo], turnMs),
  ]);
  return {
    run: timed(timeline, { from: warmupSteps, period, spans }),
    independent: together(replies, warmupSteps).map((window, i) =>
      timed(soloTimeline(replies[i] as SoloTimes), { ...window, period, spans: soloSpans }),
    ),
  };
}

/** One process without a communication stack, with the machine to itself. @throws IsoergError ENGINE when it fails */
export async function timeAlone(options: TrainOptions & { readonly period: number }): Promise<TimedRun> {
  await using solo = await startSolo({ ...options, workers: 1 });
  solo.go();
  const [reply] = await solo.ended;
  return timed(soloTimeline(reply as SoloTimes), { from: options.warmupSteps, period: options.period, spans: ALWAYS });
}

const ALWAYS: readonly Span[] = [{ from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY }];

interface Started<Result> extends Group, AsyncDisposable {
  readonly ended: Promise<Result>;
}

/** `isoerg train` in a process group of its own. */
function startTraining(options: TrainOptions): Started<Timeline> {
  const folder = mkdtempSync(join(tmpdir(), "isoerg-scaling-"));
  const run = join(folder, "run");
  const child = spawn(process.execPath, trainCommand(options, run), { detached: true, stdio: ["ignore", "ignore", "pipe"] });
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-600);
  });
  const group = -(child.pid as number);
  const kill = (): void => {
    if (child.exitCode === null && child.signalCode === null) process.kill(group, "SIGKILL");
  };
  options.signal?.addEventListener("abort", kill, { once: true });
  const ended = once(child, "close").then(([code]) => {
    options.signal?.throwIfAborted();
    if (code !== 0) throw new IsoergError("ENGINE", `a training with ${options.workers} workers failed: ${words.trim()}`);
    return readTimeline(join(run, "metrics.jsonl"));
  });
  ended.catch(() => {}); // told to whoever waits for it
  return {
    pids: [group],
    ended,
    async [Symbol.asyncDispose]() {
      options.signal?.removeEventListener("abort", kill);
      kill();
      await ended.catch(() => {});
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function readTimeline(file: string): Timeline {
  const records = readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as StepRecord);
  return {
    steps: records.map(({ time, stepMs }) => ({ from: Date.parse(time) - stepMs, to: Date.parse(time) })),
    phasesMs: records.map(({ phasesMs }) => phasesMs),
  };
}

type SoloTimes = Omit<Extract<SoloReply, { kind: "done" }>, "kind">;

/** So many processes, none of which knows of the others; they begin at `go`. */
async function startSolo(options: TrainOptions): Promise<Started<readonly SoloTimes[]> & { go(): void }> {
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
  const dispose = (): void => {
    signal?.removeEventListener("abort", kill);
    kill();
  };
  const hear = async (child: (typeof children)[number]): Promise<SoloReply> => {
    const answered = new AbortController();
    const exit = once(child, "exit", { signal: answered.signal }).then(([code]) => {
      signal?.throwIfAborted();
      throw new IsoergError("ENGINE", `a training with ${threads} threads and no link ended with ${code ?? "a signal"}`);
    });
    exit.catch(() => {}); // where the answer came first
    const reply = once(child, "message", { signal: answered.signal }) as Promise<[SoloReply]>;
    try {
      return (await Promise.race([reply, exit]))[0];
    } finally {
      answered.abort();
    }
  };
  const ask = (message: SoloTask | "go"): Promise<SoloReply[]> => {
    const replies = Promise.all(children.map(hear));
    for (const child of children) child.send(message);
    return replies;
  };
  let end: (replies: Promise<SoloReply[]>) => void = () => {};
  const ended = new Promise<SoloReply[]>((resolve) => {
    end = resolve;
  }).then((replies) => replies.flatMap((reply) => (reply.kind === "done" ? [reply] : [])));
  ended.catch(() => {}); // told to whoever waits for it
  try {
    await ask({ config, engine: experiment.engine });
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    pids: children.map(({ pid }) => pid as number),
    ended,
    go: () => end(ask("go")),
    async [Symbol.asyncDispose]() {
      dispose();
    },
  };
}

/** A process's steps follow each other without a gap; the first has no beginning that was seen. */
function soloTimeline({ endsMs, phasesMs }: SoloTimes): Timeline {
  return {
    steps: endsMs.map((to, i) => ({ from: endsMs[i - 1] ?? to, to })),
    phasesMs: phasesMs.map((phases) => [phases]),
  };
}

/** Of each process the steps (from, to exclusive) that lie wholly between the last one's warm-up and the first one's end. */
export function together(
  runs: readonly Pick<SoloTimes, "endsMs">[],
  warmupSteps: number,
): readonly { readonly from: number; readonly to: number }[] {
  const begin = Math.max(...runs.map(({ endsMs }) => endsMs[warmupSteps - 1] as number));
  const end = Math.min(...runs.map(({ endsMs }) => endsMs.at(-1) as number));
  return runs.map(({ endsMs }) => {
    const first = endsMs.findIndex((_, i) => i >= warmupSteps && (endsMs[i - 1] as number) >= begin);
    return { from: first < 0 ? endsMs.length : first, to: endsMs.filter((at) => at <= end).length };
  });
}

/**
 * What a run's steps took of the time in which it was not stopped. Phases are told by the workers' own clocks, which know nothing of
 * that; so they are taken from stretches of `period` steps that no stop fell into.
 * @param spans when the run was not stopped
 */
export function timed(
  { steps, phasesMs }: Timeline,
  { from, to = steps.length, period, spans }: { from: number; to?: number; period: number; spans: readonly Span[] },
): TimedRun {
  const counted = steps.slice(from, to);
  const stepMs = counted.map((step) => activeMs(spans, step));
  const wasStopped = ({ from: begin, to: end }: Span): boolean => end - begin - activeMs(spans, { from: begin, to: end }) >= SLACK_MS;
  // A step's phases begin in the step before it, whose verdict they don't wait for.
  const isWhole = counted.map((step, i) => !wasStopped(step) && !wasStopped(steps[from + i - 1] ?? step));
  const phases = counted.flatMap((_, i) => {
    const block = i - (i % period);
    return isWhole.slice(block, block + period).every(Boolean) ? [phasesMs[from + i] as TimedRun["phasesMs"][number]] : [];
  });
  return { stepMs, phasesMs: phases, turns: counted.map(({ to: end }) => turnAt(spans, end)) };
}

/** Clocks of the runs and of whoever stops them agree as far as this. */
const SLACK_MS = 2;
