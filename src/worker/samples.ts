/**
 * Where a worker's samples come from: its own reading of the shards (`own-shards.ts`) where it can, else the coordinator's stream.
 * Found out once a run, while the first generation is told; a generation that begins before that gets its slices later.
 */
import type { Client } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { callServerStream } from "../wire/client.js";
import type { GenerationMessage, Welcome } from "../wire/messages.js";
import { coordination } from "../wire/proto.js";
import { type OwnShards, openOwnShards } from "./own-shards.js";
import { Prefetch } from "./prefetch.js";
import type { SliceSource } from "./slices.js";

export class WorkerSamples {
  readonly #shards: Promise<OwnShards | null>;

  constructor(welcome: Welcome, log: Logger) {
    this.#shards = openOwnShards(welcome, (notice) => log.warn({ notice }, "storage"));
    this.#shards.then(
      (shards) => log.info({ from: shards ? "its own shards" : "the coordinator" }, "samples"),
      () => {}, // told to whoever asks for a slice
    );
  }

  /** A rank's slices from the generation's first step on. */
  slicesOf(message: GenerationMessage, coordinator: Client, groupSize: number): SliceSource {
    const { generation, rank, step } = message;
    const source = this.#shards.then(
      (shards): SliceSource =>
        shards?.slicesOf(message, groupSize) ??
        new Prefetch(callServerStream(coordinator, coordination.samples, { generation, rank, fromStep: step })),
    );
    let found: SliceSource | null = null;
    source.then(
      (chosen) => {
        found = chosen;
      },
      () => {}, // as above
    );
    return {
      next: async () => (await source).next(),
      get following() {
        return found?.following ?? null;
      },
      close: () =>
        void source.then(
          (chosen) => chosen.close(),
          () => {},
        ),
    };
  }

  async close(): Promise<void> {
    const shards = await this.#shards.catch(() => null);
    await shards?.close();
  }
}
