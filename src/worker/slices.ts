/**
 * Where a generation's slices come from: the coordinator's stream (`prefetch.ts`), or the shards themselves (`shard-slices.ts`).
 * And the memory that they lie in: ids, labels and images of a slice in one piece, which the training thread reads without a copy.
 */
import type { StepSlice } from "../train/link.js";

export interface SliceSource {
  /** The next slice; the one before it is given back. Rejects when its source failed or was closed. */
  next(): Promise<StepSlice>;
  /** What `next` will give, if it is there already. */
  readonly following: StepSlice | null;
  close(): void;
}

/** Slices that wait at most. */
export const AHEAD = 4;

export interface HeldSlice {
  readonly slice: StepSlice;
  readonly memory: SharedArrayBuffer;
}

/** Shared memory that slices take and give back. */
export class SliceMemory {
  readonly #free: SharedArrayBuffer[] = [];

  take({
    imageBytes,
    ...head
  }: Pick<StepSlice, "step" | "epoch" | "batchSize" | "positions"> & { readonly imageBytes: number }): HeldSlice {
    const n = head.positions.to - head.positions.from;
    const sizeBytes = 8 * n + imageBytes;
    const at = this.#free.findIndex(({ byteLength }) => byteLength >= sizeBytes);
    const memory = at < 0 ? new SharedArrayBuffer(sizeBytes) : (this.#free.splice(at, 1)[0] as SharedArrayBuffer);
    const slice = {
      ...head,
      ids: new Uint32Array(memory, 0, n),
      labels: new Int32Array(memory, 4 * n, n),
      images: new Uint8Array(memory, 8 * n, imageBytes),
    };
    return { slice, memory };
  }

  giveBack({ memory }: HeldSlice): void {
    if (this.#free.length <= AHEAD) this.#free.push(memory);
  }
}
