/**
 * A period of unchanged membership, from this worker's place in it: its part of the batch and of the chains, the ring to its
 * neighbours, its samples. It is opened when the generation is told and closed when that is over, with all that
 * was under way.
 */
import { slice } from "../data/plan.js";
import type { StepSlice } from "../train/link.js";
import type { Range } from "../util/range.js";
import type { GenerationMessage } from "../wire/messages.js";
import type { Healed } from "./healing.js";
import type { SliceSource } from "./slices.js";
import { Sums, type SumsOptions } from "./sums.js";

export interface PlaceOptions {
  readonly message: GenerationMessage;
  /** Its samples from the generation's first step on. */
  readonly slices: SliceSource;
  /** Of the run, for the ring's frames. */
  readonly runHash: number;
  readonly numChains: number;
  /** Of chains that slices don't part. */
  readonly groupSize: number;
  readonly sums: SumsOptions;
}

export class Place {
  readonly message: GenerationMessage;
  readonly chains: Range;
  readonly sums: Sums;
  readonly slices: SliceSource;
  readonly #over = new AbortController();
  isOffered = false;
  isRingClosed = false;
  isStateReady = false;
  healing: Promise<{ healed: Healed } | { error: Error }> | null = null;
  healed: Healed | null = null;
  /** The step to compute, until it is handed out. */
  proceed: number | null = null;
  taking: Promise<{ slice: StepSlice } | { error: Error }> | null = null;

  constructor({ message, slices, runHash, numChains, groupSize, sums }: PlaceOptions) {
    const { generation, rank, worldSize, sliceWeights } = message;
    this.message = message;
    this.chains = slice(numChains, rank, sliceWeights, groupSize);
    this.sums = new Sums({ run: runHash, generation, rank, worldSize }, sums);
    this.slices = slices;
  }

  /** Aborted when the generation is over for this worker. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  async close(reason: Error): Promise<void> {
    this.#over.abort(reason);
    this.slices.close();
    await this.sums.close(reason);
  }
}
