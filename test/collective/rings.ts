/**
 * Rings of every transport, opened the same way for the contract suites: all ranks in this process, with a door for strangers.
 */
import { Push } from "zeromq";
import { encodeFrameHeader, FRAME_HEADER_BYTES } from "../../src/collective/frames.js";
import { memoryRing } from "../../src/collective/memory-transport.js";
import type { FrameHeader, RingTransport } from "../../src/collective/transport.js";
import { bindRing } from "../../src/collective/zeromq-transport.js";

export interface RingOptions {
  readonly worldSize: number;
  readonly timeoutMs?: number;
  readonly maxPayloadLength?: number;
}

export interface Ring extends AsyncDisposable {
  readonly ranks: readonly RingTransport[];
  /** Sends message parts to a rank as a stranger would; `undefined` where the transport has no bytes that aren't frames. */
  inject(rank: number, header: Uint8Array, payload: Float32Array): Promise<void>;
  /** What a kill of this rank's process looks like to its neighbours. */
  kill(rank: number): void;
}

export interface RingKind {
  readonly name: string;
  open(options: RingOptions): Promise<Ring>;
}

export const RUN = 0xfeedface;
export const GENERATION = 7;

/** The transport of this rank, which the test knows to exist. */
export function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new Error(`no item ${index}`);
  return item;
}

export function headerBytes(header: FrameHeader, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES);
  encodeFrameHeader(header, payloadBytes, new DataView(bytes.buffer));
  return bytes;
}

async function closeAll(ranks: readonly RingTransport[]): Promise<void> {
  await Promise.all(ranks.map((transport) => transport[Symbol.asyncDispose]()));
}

export const memoryKind: RingKind = {
  name: "memory",
  async open(options) {
    const ranks = memoryRing({ run: RUN, generation: GENERATION, ...options });
    return {
      ranks,
      inject: (rank, header, payload) => at(ranks, rank).inject({ header, payload }),
      kill: (rank) => at(ranks, rank).interrupt(new Error(`rank ${rank} was killed`)),
      [Symbol.asyncDispose]: () => closeAll(ranks),
    };
  },
};

export const zeromqKind: RingKind = {
  name: "zeromq",
  async open(options) {
    const bound = await Promise.all(
      Array.from({ length: options.worldSize }, (_, rank) => bindRing({ run: RUN, generation: GENERATION, rank, ...options })),
    );
    const endpoints = bound.map((ring) => ring.endpoint);
    const ranks = await Promise.all(bound.map((ring) => ring.connect(endpoints)));
    return {
      ranks,
      async inject(rank, header, payload) {
        const stranger = new Push({ linger: 1000 });
        stranger.connect(at(endpoints, rank));
        await stranger.send([header, payload]);
        stranger.close();
      },
      kill: (rank) => at(ranks, rank).interrupt(new Error(`rank ${rank} was killed`)),
      [Symbol.asyncDispose]: () => closeAll(ranks),
    };
  },
};

export const ringKinds: readonly RingKind[] = [memoryKind, zeromqKind];
