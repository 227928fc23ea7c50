/**
 * A run's model and data opened to compute chunks of an evaluation of robustness, in this process. What one is told is plain
 * data, so that the same job can be handed to other processes.
 */
import type { EngineOptions } from "../../engine/engine.js";
import type { Classifier } from "../../model/model.js";
import { IsoergError } from "../../util/error.js";
import type { InputOptions } from "../foreign/input.js";
import type { WeightsKind } from "../weights.js";
import type { Slice } from "./attacks.js";
import { type Chunk, runChunk } from "./chunk.js";
import { createChunkStore } from "./chunk-store.js";
import { openRobustnessSubject, type RobustnessSubject } from "./subject.js";
import type { Task } from "./tasks.js";

/** Plain data. */
export interface RobustnessJob {
  /** A run's checkpoint (one that a run makes meanwhile must not slip in), an export, or a TensorFlow.js model. */
  readonly path: string;
  readonly dataPath?: string;
  readonly weights: WeightsKind | "auto";
  readonly input: InputOptions;
  /** Another model's, whose attacks are tried on this one. */
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
  const subject = await openRobustnessSubject(job);
  const { classifier, data } = subject;
  const source = job.transferFrom === undefined ? undefined : await openSource(job.transferFrom, job, subject);
  const store = createChunkStore(job.folder, job.fingerprint);
  return {
    async run(from, events, signal) {
      const to = Math.min(job.numSamples, from + job.batchSize);
      const chunk = await store.load(from, to);
      const ids = Int32Array.from({ length: to - from }, (_, i) => from + i);
      const { images, labels } = await data.read(ids);
      const slice: Slice = {
        model: counted(classifier, (cost) => events.onPasses?.(from, cost)),
        shape: subject.inputShape,
        numClasses: subject.numClasses,
        x: Float32Array.from(images, (value) => value / 255),
        labels,
        ids,
        seed: BigInt(subject.seed),
        ...(source && { source: counted(source.classifier, (cost) => events.onPasses?.(from, cost)) }),
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
      await source?.[Symbol.asyncDispose]();
      await subject[Symbol.asyncDispose]();
    },
  };
}

/** The model that transferred attacks are made on. @throws IsoergError USAGE where it is of other data. */
async function openSource(path: string, { dataPath }: RobustnessJob, target: RobustnessSubject): Promise<RobustnessSubject> {
  const source = await openRobustnessSubject({ path, weights: "auto", ...(dataPath !== undefined && { dataPath }) });
  if (source.inputShape.join() === target.inputShape.join() && source.numClasses === target.numClasses) return source;
  await source[Symbol.asyncDispose]();
  throw new IsoergError("USAGE", `${path} was trained on other data: images [${source.inputShape}], ${source.numClasses} classes`, {
    hint: "Attacks can be transferred between models of the same data set only.",
  });
}

/** Tells what each pass cost: a forward pass counts 1 a sample, an input gradient 3. */
function counted(model: Classifier, onPass: (cost: number) => void): Classifier {
  return {
    logits(x) {
      onPass(x.shape[0]);
      return model.logits(x);
    },
    inputGradient(x, head) {
      onPass(3 * x.shape[0]);
      return model.inputGradient(x, head);
    },
    dispose: () => model.dispose(),
  };
}
