/**
 * Samples ahead of their step: the coordinator's stream is put together into slices, a few steps ahead, in shared memory that
 * the training thread reads without a copy. When enough slices wait, the stream is paused and gRPC's flow control holds the
 * coordinator back. One object per generation; slices come in the order of the steps, each once.
 */
import type { ClientReadableStream } from "@grpc/grpc-js";
import type { StepSlice } from "../train/link.js";
import { IsoergError } from "../util/error.js";
import type { SampleBlock, SampleBlocks } from "../wire/messages.js";
import { AHEAD, type HeldSlice, SliceMemory, type SliceSource } from "./slices.js";

interface Filling extends HeldSlice {
  filled: number;
}

/** Of a slice; larger ones are not believed before they are there. */
const MAX_SLICE_BYTES = 2 ** 32;

export class Prefetch implements SliceSource {
  readonly #stream: ClientReadableStream<SampleBlocks>;
  readonly #ready: Filling[] = [];
  readonly #memory = new SliceMemory();
  #filling: Filling | undefined;
  #inUse: Filling | undefined;
  #failure: Error | undefined;
  #waiting: (() => void) | undefined;

  constructor(stream: ClientReadableStream<SampleBlocks>) {
    this.#stream = stream;
    stream.on("data", ({ blocks }: SampleBlocks) => {
      try {
        for (const block of blocks) this.#take(block);
      } catch (error) {
        this.#fail(error as Error);
        stream.cancel();
      }
      if (this.#ready.length >= AHEAD) stream.pause();
    });
    stream.on("error", (error) => this.#fail(error));
    stream.on("end", () => this.#fail(new IsoergError("PROTOCOL", "the stream of samples ended before the last step")));
  }

  async next(): Promise<StepSlice> {
    if (this.#inUse) this.#memory.giveBack(this.#inUse);
    this.#inUse = undefined;
    while (this.#ready.length === 0) {
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
    const next = this.#ready.shift() as Filling;
    if (this.#ready.length < AHEAD && this.#stream.isPaused()) this.#stream.resume();
    this.#inUse = next;
    return next.slice;
  }

  get following(): StepSlice | null {
    return this.#ready[0]?.slice ?? null;
  }

  close(): void {
    this.#fail(new IsoergError("STOPPED", "the generation is over"));
    this.#stream.cancel();
  }

  #take(block: SampleBlock): void {
    const n = block.ids.length;
    const sampleBytes = n === 0 ? 0 : block.images.length / n; // of one image
    const filling = this.#filling ?? this.#begin(block, sampleBytes);
    const { slice } = filling;
    if (block.step !== slice.step || block.position !== slice.positions.from + filling.filled || filling.filled + n > slice.ids.length) {
      throw new IsoergError(
        "PROTOCOL",
        `samples of step ${block.step}, position ${block.position} came where step ${slice.step} was being filled`,
      );
    }
    const { ids, labels, images } = block;
    const isOfThisSlice = n === 0 ? images.length === 0 : sampleBytes * slice.ids.length === slice.images.length;
    if ((labels.length !== n && labels.length !== 2 * n) || !isOfThisSlice) {
      const what = `${ids.length} ids with ${labels.length} bytes of labels and ${images.length} of images`;
      throw new IsoergError(
        "PROTOCOL",
        `${what} came for step ${block.step}, of ${slice.ids.length} samples and ${slice.images.length} bytes`,
      );
    }
    slice.ids.set(block.ids, filling.filled);
    decodeLabels(block, slice.labels.subarray(filling.filled));
    slice.images.set(block.images, filling.filled * sampleBytes);
    filling.filled += n;
    if (filling.filled < slice.ids.length) {
      this.#filling = filling;
      return;
    }
    this.#filling = undefined;
    this.#ready.push(filling);
    this.#wake();
  }

  #begin(block: SampleBlock, sampleBytes: number): Filling {
    const n = block.sliceTo - block.sliceFrom;
    const imageBytes = n * sampleBytes;
    if (n < 0 || !Number.isInteger(sampleBytes) || 8 * n + imageBytes > MAX_SLICE_BYTES) {
      throw new IsoergError("PROTOCOL", `a slice of positions ${block.sliceFrom} to ${block.sliceTo}, ${imageBytes} bytes of images, came`);
    }
    const { step, epoch, batchSize } = block;
    const positions = { from: block.sliceFrom, to: block.sliceTo };
    return { ...this.#memory.take({ step, epoch, batchSize, positions, imageBytes }), filled: 0 };
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}

/** One byte a label, or two (little-endian) above 256 classes. */
function decodeLabels({ ids, labels }: SampleBlock, into: Int32Array): void {
  const view = new DataView(labels.buffer, labels.byteOffset, labels.byteLength);
  const isWide = labels.length === 2 * ids.length;
  for (let i = 0; i < ids.length; i++) into[i] = isWide ? view.getUint16(2 * i, true) : view.getUint8(i);
}
