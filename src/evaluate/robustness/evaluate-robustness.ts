/**
 * Robustness of a run's checkpoint from one end to the other: what has to be computed, who computes it, what came out.
 *
 * Who computes is handed in: this process, or many (cli/evaluate/processes.ts). All of them read and write the same chunks on
 * disk, so an evaluation can be stopped anywhere, by anything, and ends with the same figures when it is started again, with
 * any number of processes.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Engine, EngineOptions } from "../../engine/engine.js";
import { IsoergError } from "../../util/error.js";
import { packageVersion } from "../../util/package.js";
import type { InputOptions } from "../foreign/input.js";
import type { WeightsKind } from "../weights.js";
import { type AttackName, type Budget, type Effort, standardAttacks } from "./attacks.js";
import type { Chunk } from "./chunk.js";
import type { ChunkEvents, ComputeChunks, RobustnessJob } from "./chunk-runner.js";
import { createChunkStore } from "./chunk-store.js";
import { createProgressCounter, type RobustnessProgress } from "./progress.js";
import type { Robustness } from "./robustness.js";
import { openRobustnessSubject } from "./subject.js";
import { summarise } from "./summary.js";
import { type Task, tasksFor } from "./tasks.js";

export interface RobustnessOptions {
  /** A run's folder, one of its checkpoints, an export, or a TensorFlow.js model. */
  readonly path: string;
  /** Where the data set lies; needed for models without a run. */
  readonly dataPath?: string;
  /** How a TensorFlow.js model is fed. */
  readonly input?: InputOptions;
  readonly weights: WeightsKind | "auto";
  /** As it was started, and as other processes shall start it. */
  readonly engine: Engine;
  readonly engineOptions: EngineOptions;
  /** `standard` stands for AutoAttack's. */
  readonly attacks: readonly (AttackName | "standard")[];
  readonly budget: Budget;
  readonly effort: Effort;
  readonly numSamples: number;
  /** Samples of the checklist; 0 for none. */
  readonly numProbed: number;
  readonly batchSize: number;
  /** Another run, whose attacks the checklist tries on this one. */
  readonly transferFrom?: string;
  readonly certify: {
    readonly sigma: number;
    readonly select: number;
    readonly estimate: number;
    readonly alpha: number;
    readonly numSamples: number;
  } | null;
  readonly now: () => Date;
  readonly onProgress?: (progress: RobustnessProgress) => void;
  readonly signal?: AbortSignal;
}

export async function evaluateRobustness(options: RobustnessOptions, compute: ComputeChunks): Promise<Robustness> {
  const { job, labels, numClasses } = await plan(options);
  const store = createChunkStore(job.folder, job.fingerprint);
  const starts = Array.from({ length: Math.ceil(job.numSamples / job.batchSize) }, (_, i) => i * job.batchSize);
  const load = (from: number): Promise<Chunk> => store.load(from, Math.min(job.numSamples, from + job.batchSize));
  const counter = createProgressCounter({ tasks: job.tasks, numClasses, numSamples: job.numSamples, now: () => performance.now() });
  const tell = (): void => options.onProgress?.(counter.now());

  await store.describe(
    `${JSON.stringify({ fingerprint: job.fingerprint, batchSize: job.batchSize, samples: job.numSamples, tasks: job.tasks })}\n`,
  );
  const pending: number[] = [];
  for (const from of starts) {
    const chunk = await load(from);
    counter.chunk(chunk);
    if (!job.tasks.every((task) => chunk.tasks[task.id])) pending.push(from);
  }
  const events: ChunkEvents = {
    onSaved: (chunk) => {
      counter.chunk(chunk);
      tell();
    },
    onTask: (from, id) => {
      counter.task(from, id);
      tell();
    },
    onPasses: (from, cost) => {
      counter.passes(from, cost);
      tell();
    },
  };
  if (pending.length > 0) await compute(job, pending, events, options.signal);
  const chunks: Chunk[] = [];
  for (const from of starts) chunks.push(await load(from));
  return summarise({
    tasks: job.tasks,
    budget: options.budget,
    chunks,
    labels,
    numClasses,
    fingerprint: job.fingerprint,
    evaluatedAt: options.now().toISOString(),
  });
}

async function plan(options: RobustnessOptions): Promise<{ job: RobustnessJob; labels: Int32Array; numClasses: number }> {
  await using subject = await openRobustnessSubject(options);
  const { data } = subject;
  const numSamples = Math.min(options.numSamples, data.numSamples);
  const { labels } = await data.read(Uint32Array.from({ length: numSamples }, (_, i) => i));
  const attacks = [...new Set(options.attacks.flatMap((name) => (name === "standard" ? standardAttacks(subject.numClasses) : [name])))];
  checkClasses(attacks, subject.numClasses);
  const [height, width, channels] = subject.inputShape;
  await using source =
    options.transferFrom === undefined
      ? null
      : await openRobustnessSubject({
          path: options.transferFrom,
          weights: "auto",
          ...(options.dataPath !== undefined && { dataPath: options.dataPath }),
        });
  const tasks: Task[] = tasksFor({
    attacks,
    budget: options.budget,
    effort: options.effort,
    numProbed: Math.min(options.numProbed, numSamples),
    numPixels: height * width * channels,
    transfer: source !== null,
    certify: options.certify && { ...options.certify, every: Math.max(1, Math.floor(numSamples / options.certify.numSamples)) },
  });
  const { engine } = options;
  const fingerprint = createHash("sha256")
    .update(
      JSON.stringify({
        version: packageVersion(),
        ...subject.identity,
        engine: [engine.name, engine.version, engine.device],
        batchSize: options.batchSize,
        numSamples,
        tasks,
        ...(source && { source: source.identity.weights }),
      }),
    )
    .digest("hex")
    .slice(0, 16);
  const job: RobustnessJob = {
    path: subject.pinned,
    weights: subject.weights,
    input: options.input ?? {},
    engine: options.engineOptions,
    tasks,
    batchSize: options.batchSize,
    numSamples,
    folder: join(subject.state.folder, `${subject.state.prefix}-${fingerprint}`),
    fingerprint,
    ...(options.dataPath !== undefined && { dataPath: options.dataPath }),
    ...(source && { transferFrom: source.pinned }),
  };
  return { job, labels, numClasses: subject.numClasses };
}

function checkClasses(attacks: readonly AttackName[], numClasses: number): void {
  const needed: Partial<Record<AttackName, number>> = { "apgd-dlr": 3, "apgd-t": 4 };
  for (const attack of attacks) {
    const least = needed[attack] ?? 2;
    if (numClasses >= least) continue;
    throw new IsoergError("USAGE", `${attack} needs ${least} classes, the data set has ${numClasses}`, {
      hint: "Take --attacks standard: it leaves out what does not apply.",
    });
  }
}
