/**
 * A ring inside one process: what dry runs use, and the reference that the ZeroMQ ring is compared with.
 *
 * It behaves as sockets do where that matters: a queue is bounded, so that a sender waits for a slow receiver; a payload is read
 * from the sender's memory when it is received, not when it is sent, so that breaking the ownership rule shows; headers pass
 * through their bytes.
 */
import { IsoergError, invariant } from "../util/error.js";
import { decodeFrameHeader, encodeFrameHeader, FRAME_HEADER_BYTES } from "./frames.js";
import {
  type Frame,
  type FrameTag,
  isForPlace,
  nextRank,
  previousRank,
  type RingPlace,
  type RingTransport,
  type TransportCounts,
} from "./transport.js";

export interface MemoryRingOptions {
  readonly worldSize: number;
  readonly run: number;
  readonly generation: number;
  /** Frames that a queue holds before its sender waits. */
  readonly queueLength?: number;
  readonly timeoutMs?: number;
  readonly maxPayloadLength?: number;
}

/** What is in flight: the header's bytes, and the payload where the sender has it. */
export interface QueuedFrame {
  readonly header: Uint8Array;
  readonly payload: Float32Array;
}

/** The transports by rank, wired to each other. */
export function memoryRing(options: MemoryRingOptions): readonly MemoryTransport[] {
  const { worldSize, run, generation } = options;
  const queues = Array.from({ length: worldSize }, () => new Queue(options.queueLength ?? 8));
  return queues.map((inbox, rank) => {
    const place = { run, generation, rank, worldSize };
    const outbox = queues[nextRank(place)];
    invariant(outbox !== undefined, "a ring has a next rank");
    return new MemoryTransport(place, inbox, outbox, options);
  });
}

export class MemoryTransport implements RingTransport {
  readonly place: RingPlace;
  readonly maxPayloadLength: number;
  readonly ended: Promise<Error>;
  readonly #inbox: Queue;
  readonly #outbox: Queue;
  readonly #timeoutMs: number;
  #broken: Error | undefined;
  #framesSent = 0;
  #framesReceived = 0;
  #bytesSent = 0;
  #framesDropped = 0;

  constructor(place: RingPlace, inbox: Queue, outbox: Queue, options: { readonly timeoutMs?: number; readonly maxPayloadLength?: number }) {
    this.place = place;
    this.#inbox = inbox;
    this.#outbox = outbox;
    this.ended = Promise.race([inbox.readEnd, outbox.writeEnd]);
    this.#timeoutMs = options.timeoutMs ?? 60_000;
    this.maxPayloadLength = options.maxPayloadLength ?? 1 << 18;
  }

  async send(tag: FrameTag, payload: Float32Array): Promise<void> {
    const { run, generation, rank: sender } = this.place;
    const header = new Uint8Array(FRAME_HEADER_BYTES);
    encodeFrameHeader({ run, generation, sender, ...tag }, payload.byteLength, new DataView(header.buffer));
    if (this.#broken !== undefined) throw this.#broken;
    await this.#outbox.put({ header, payload });
    if (this.#broken !== undefined) throw this.#broken;
    this.#framesSent++;
    this.#bytesSent += payload.byteLength;
  }

  async receive(): Promise<Frame> {
    const until = performance.now() + this.#timeoutMs;
    for (;;) {
      if (this.#broken !== undefined) throw this.#broken;
      const queued = await this.#inbox.take(until - performance.now(), () => this.interrupt(this.#nothingCame()));
      const decoded = decodeFrameHeader(queued.header, queued.payload.byteLength, this.maxPayloadLength * Float32Array.BYTES_PER_ELEMENT);
      if (decoded.ok && isForPlace(decoded.header, this.place)) {
        this.#framesReceived++;
        return { header: decoded.header, payload: new Float32Array(queued.payload) };
      }
      this.#framesDropped++;
    }
  }

  /** Puts a frame before this rank as if a stranger, or a rank of another generation, had sent it. */
  async inject(frame: QueuedFrame): Promise<void> {
    await this.#inbox.put(frame);
  }

  interrupt(reason: Error): void {
    if (this.#broken !== undefined) return;
    this.#broken = reason;
    const { rank } = this.place;
    // What the neighbours see: their sends go nowhere, and after what is queued already nothing more comes from here.
    this.#inbox.close(reason, new IsoergError("NETWORK", `rank ${previousRank(this.place)}: rank ${rank}, the next in the ring, is gone`));
    this.#outbox.end(new IsoergError("NETWORK", `rank ${nextRank(this.place)}: rank ${rank}, the previous in the ring, is gone`), reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.interrupt(new IsoergError("STOPPED", `rank ${this.place.rank}: the ring of generation ${this.place.generation} is closed`));
  }

  counts(): TransportCounts {
    return {
      framesSent: this.#framesSent,
      framesReceived: this.#framesReceived,
      bytesSent: this.#bytesSent,
      framesDropped: this.#framesDropped,
    };
  }

  #nothingCame(): Error {
    const { rank } = this.place;
    return new IsoergError("NETWORK", `rank ${rank}: nothing came from rank ${previousRank(this.place)} for ${this.#timeoutMs} ms`);
  }
}

interface Waiting<T> {
  resolve(value: T): void;
  reject(reason: Error): void;
}

/** One direction between two ranks: bounded, first in first out, one reader; each end can be closed on its own. */
class Queue {
  readonly #capacity: number;
  readonly #frames: QueuedFrame[] = [];
  #reader: Waiting<QueuedFrame> | undefined;
  #writers: Waiting<void>[] = [];
  #readEnded: Error | undefined; // for the reader, once what is queued has been read
  #writeEnded: Error | undefined;
  #tellReader: (reason: Error) => void = () => {};
  #tellWriter: (reason: Error) => void = () => {};
  readonly readEnd = new Promise<Error>((resolve) => {
    this.#tellReader = resolve;
  });
  readonly writeEnd = new Promise<Error>((resolve) => {
    this.#tellWriter = resolve;
  });

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  async put(frame: QueuedFrame): Promise<void> {
    while (this.#frames.length >= this.#capacity && this.#writeEnded === undefined) {
      await new Promise<void>((resolve, reject) => this.#writers.push({ resolve, reject }));
    }
    if (this.#writeEnded !== undefined) throw this.#writeEnded;
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) this.#frames.push(frame);
    else reader.resolve(frame);
  }

  /** `onTimeout` is expected to end the queue. */
  async take(timeoutMs: number, onTimeout: () => void): Promise<QueuedFrame> {
    const queued = this.#frames.shift();
    this.#writers.shift()?.resolve();
    if (queued !== undefined) return queued;
    if (this.#readEnded !== undefined) throw this.#readEnded;
    invariant(this.#reader === undefined, "one receive at a time");
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<QueuedFrame>((resolve, reject) => {
        this.#reader = { resolve, reject };
        timer = setTimeout(onTimeout, timeoutMs);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** The reader is gone: it gets `readerReason`, its writer `writerReason`. */
  close(readerReason: Error, writerReason: Error): void {
    this.#frames.length = 0;
    this.end(readerReason, writerReason);
  }

  /** The writer is gone: what is queued can still be read. */
  end(readerReason: Error, writerReason: Error): void {
    this.#readEnded ??= readerReason;
    this.#writeEnded ??= writerReason;
    this.#tellReader(this.#readEnded);
    this.#tellWriter(this.#writeEnded);
    this.#reader?.reject(this.#readEnded);
    this.#reader = undefined;
    for (const writer of this.#writers.splice(0)) writer.reject(this.#writeEnded);
  }
}
