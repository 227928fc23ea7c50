/**
 * A run's model and data opened to compute chunks of an evaluation of robustness, in this process. What one is told is plain
 * data, so that the same job can be handed to other processes.
 */
import * as tf from "@tensorflow/tfjs-core";
import type { EngineOptions } from "../../engine/engine.js";
import type { BoundModel, Model } from "../../model/model.js";
import { IsoergError } from "../../util/error.js";
import { openSubject } from "../evaluate-run.js";
import { openRun } from "../run-folder.js";
import type { WeightsKind } from "../weights.js";
import type { Slice } from "./attacks.js";
import { type Chunk, runChunk } from "./chunk.js";
import { createChunkStore } from "./chunk-store.js";
import type { Task } from "./tasks.js";

/** Plain data. */
export interface RobustnessJob {
  /** A run's checkpoint: one that a run makes meanwhile must not slip in. */
  readonly checkpoint: string;
  readonly dataPath?: string;
  readonly weights: WeightsKind;
  /** Another run's checkpoint, whose attacks are tried on this one. */
  readonly transferFrom?: string;
  readonly engine: EngineOptions;
  readonly tasks: readonly Task[];
  readonly batchSize: number;
  readonly numSamples: number;
  readonly folder: string;
  readonly fingerprint: string;
}

export interface ChunkEvents {
  /** The chunk as it now lies on disk. */
  readonly onSaved?: (chunk: Chunk) => void;
  readonly onTask?: (from: number, id: string) => void;
  readonly onPasses?: (from: number, cost: number) => void;
}

/** Computes the chunks that begin at these samples; ends when all are on disk, or throws. */
export type ComputeChunks = (job: RobustnessJob, pending: readonly number[], events: ChunkEvents, signal?: AbortSignal) => Promise<void>;

/** The chunks one after another in this process, whose engine has been started. */
export const inThisProcess: ComputeChunks = async (job, pending, events, signal) => {
  await using runner = await openChunkRunner(job);
  for (const from of pending) await runner.run(from, events, signal);
};

export interface ChunkRunner extends AsyncDisposable {
  /** Computes what is missing of the chunk that begins at a sample. */
  run(from: number, events: ChunkEvents, signal?: AbortSignal): Promise<Chunk>;
}

/** The engine has been started. */
export async function openChunkRunner(job: RobustnessJob): Promise<ChunkRunner> {
  const run = await openRun(job.checkpoint);
  const subject = await openSubject(run, { weights: job.weights, ...(job.dataPath !== undefined && { dataPath: job.dataPath }) });
  const { model, data } = subject;
  const parameters = tf.tensor1d(subject.weights.flat.slice());
  const bound = model.bind(parameters, "fp32");
  const source = job.transferFrom === undefined ? undefined : await openSource(job.transferFrom, job, model);
  const store = createChunkStore(job.folder, job.fingerprint);
  return {
    async run(from, events, signal) {
      const to = Math.min(job.numSamples, from + job.batchSize);
      const chunk = await store.load(from, to);
      const ids = Int32Array.from({ length: to - from }, (_, i) => from + i);
      const { images, labels } = await data.read(ids);
      const slice: Slice = {
        model: counted(bound, (cost) => events.onPasses?.(from, cost)),
        shape: model.inputShape,
        numClasses: model.numClasses,
        x: Float32Array.from(images, (value) => value / 255),
        labels,
        ids,
        seed: BigInt(run.config.seed),
        ...(source && { source: counted(source.bound, (cost) => events.onPasses?.(from, cost)) }),
      };
      return runChunk(chunk, slice, job.tasks, {
        now: () => performance.now(),
        save: async (saved) => {
          await store.save(saved);
          events.onSaved?.(saved);
        },
        onTask: (task, known) => {
          events.onSaved?.(known);
          events.onTask?.(from, task.id);
        },
        ...(signal && { signal }),
      });
    },
    async [Symbol.asyncDispose]() {
      bound.dispose();
      parameters.dispose();
      source?.dispose();
      await subject[Symbol.asyncDispose]();
    },
  };
}

/** The model that transferred attacks are made on. @throws IsoergError USAGE where it is of other data. */
async function openSource(path: string, job: RobustnessJob, model: Model): Promise<{ bound: BoundModel; dispose: () => void }> {
  const run = await openRun(path);
  await using subject = await openSubject(run, { weights: "auto", ...(job.dataPath !== undefined && { dataPath: job.dataPath }) });
  if (subject.model.inputShape.join() !== model.inputShape.join() || subject.model.numClasses !== model.numClasses) {
    throw new IsoergError(
      "USAGE",
      `${path} was trained on other data: images [${subject.model.inputShape}], ${subject.model.numClasses} classes`,
      {
        hint: "Attacks can be transferred between models of the same data set only.",
      },
    );
  }
  const parameters = tf.tensor1d(subject.weights.flat.slice());
  const bound = subject.model.bind(parameters, "fp32");
  const dispose = (): void => {
    bound.dispose();
    parameters.dispose();
  };
  return { bound, dispose };
}

/** Tells what each pass cost: a forward pass counts 1 a sample, an input gradient 3. */
function counted(model: BoundModel, onPass: (cost: number) => void): BoundModel {
  return {
    logits(x) {
      onPass(x.shape[0]);
      return model.logits(x);
    },
    inputGradient(x, head) {
      onPass(3 * x.shape[0]);
      return model.inputGradient(x, head);
    },
    forward: (x) => model.forward(x),
    dispose: () => model.dispose(),
  };
}
