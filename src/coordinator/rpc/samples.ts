/**
 * Samples: the slices of one rank, step after step, as fast as the worker takes them. Small slices of consecutive steps share
 * a message, a large one is cut: messages are of about 256 KiB to 1 MiB. The plan is pure, so the stream needs no state but
 * the step it has come to; each stream has its own reading position.
 */
import type { handleServerStreamingCall, ServerWritableStream } from "@grpc/grpc-js";
import { type Batch, createPlan, type Plan, slice } from "../../data/plan.js";
import { pixelsOf, type SampleSource } from "../../data/samples.js";
import { IsoergError } from "../../util/error.js";
import type { Range } from "../../util/range.js";
import type { SampleBlock, SampleBlocks, SamplesRequest } from "../../wire/messages.js";
import { BLOCK_BYTES } from "../../wire/proto.js";
import { refusal } from "../../wire/refusal.js";
import { writeWithPressure } from "../../wire/write.js";

const FULL_BYTES = BLOCK_BYTES / 4;

export interface SamplesOptions {
  readonly source: SampleSource;
  readonly plan: Plan;
  readonly numSteps: number;
  /** Of samples that slices don't part. Default 1. */
  readonly groupSize?: number;
  /** Of a generation; undefined when it is over. */
  readonly sliceWeights: (generation: number) => readonly number[] | undefined;
}

export function samplesHandler(options: SamplesOptions): handleServerStreamingCall<SamplesRequest, SampleBlocks> {
  return (call: ServerWritableStream<SamplesRequest, SampleBlocks>) => {
    stream(call, options).catch((error) => call.emit("error", refusal(error)));
  };
}

async function stream(call: ServerWritableStream<SamplesRequest, SampleBlocks>, options: SamplesOptions): Promise<void> {
  const { generation, rank, fromStep } = call.request;
  const weights = options.sliceWeights(generation);
  if (weights === undefined || rank >= weights.length) {
    throw new IsoergError("STOPPED", `generation ${generation} has no rank ${rank} any more`);
  }
  const plan = createPlan(options.plan.options);
  const imageBytes = pixelsOf(options.source.shape);
  let blocks: SampleBlock[] = [];
  let bytes = 0;
  for (let step = fromStep; step < options.numSteps && !call.cancelled; step++) {
    const batch = plan.batchOf(step);
    const range = slice(batch.ids.length, rank, weights, options.groupSize);
    for await (const block of sliceBlocks(step, batch, range, options.source)) {
      const size = block.ids.length * imageBytes;
      if (blocks.length > 0 && bytes + size > BLOCK_BYTES) {
        if (!(await writeWithPressure(call, { blocks }))) return;
        blocks = [];
        bytes = 0;
      }
      blocks.push(block);
      bytes += size;
    }
    // The first step is waited for; those after it are read ahead and can come together.
    if (step > fromStep && bytes < FULL_BYTES && step + 1 < options.numSteps) continue;
    if (!(await writeWithPressure(call, { blocks }))) return;
    blocks = [];
    bytes = 0;
  }
  call.end();
}

async function* sliceBlocks(step: number, { epoch, ids }: Batch, { from, to }: Range, source: SampleSource): AsyncGenerator<SampleBlock> {
  const perBlock = Math.max(1, Math.floor(BLOCK_BYTES / pixelsOf(source.shape)));
  const head = { step, epoch, batchSize: ids.length, sliceFrom: from, sliceTo: to };
  for (let position = from; position === from || position < to; position += perBlock) {
    const part = ids.subarray(position, Math.min(position + perBlock, to));
    const { images, labels } = await source.read(part);
    yield { ...head, position, ids: Array.from(part), labels: encodeLabels(labels, source.numClasses), images };
  }
}

/** One byte a label, or two (little-endian) above 256 classes. */
export function encodeLabels(labels: Int32Array, numClasses: number): Uint8Array {
  if (numClasses <= 256) return Uint8Array.from(labels);
  const bytes = new Uint8Array(2 * labels.length);
  const view = new DataView(bytes.buffer);
  for (const [i, label] of labels.entries()) view.setUint16(2 * i, label, true);
  return bytes;
}
