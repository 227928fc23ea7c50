/**
 * A period of unchanged membership, from this worker's place in it: its part of the batch and of the chains, the ring to its
 * neighbours, the stream of its samples. It is opened when the generation is told and closed when that is over, with all that
 * was under way.
 */
import type { Client } from "@grpc/grpc-js";
import { slice } from "../data/plan.js";
import type { Range } from "../util/range.js";
import { callServerStream } from "../wire/client.js";
import type { GenerationMessage } from "../wire/messages.js";
import { coordination } from "../wire/proto.js";
import type { Healed } from "./healing.js";
import { Prefetch, type StepSlice } from "./prefetch.js";
import { Sums, type SumsOptions } from "./sums.js";

export interface PlaceOptions {
  readonly client: Client;
  readonly message: GenerationMessage;
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
  readonly prefetch: Prefetch;
  readonly #over = new AbortController();
  isOffered = false;
  isRingClosed = false;
  isStateReady = false;
  healing: Promise<{ healed: Healed } | { error: Error }> | null = null;
  healed: Healed | null = null;
  /** The step to compute, until it is handed out. */
  proceed: number | null = null;
  taking: Promise<{ slice: StepSlice } | { error: Error }> | null = null;

  constructor({ client, message, runHash, numChains, groupSize, sums }: PlaceOptions) {
    const { generation, rank, worldSize, sliceWeights, step } = message;
    this.message = message;
    this.chains = slice(numChains, rank, sliceWeights, groupSize);
    this.sums = new Sums({ run: runHash, generation, rank, worldSize }, sums);
    this.prefetch = new Prefetch(callServerStream(client, coordination.samples, { generation, rank, fromStep: step }));
  }

  /** Aborted when the generation is over for this worker. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  async close(reason: Error): Promise<void> {
    this.#over.abort(reason);
    this.prefetch.close();
    await this.sums.close(reason);
  }
}
