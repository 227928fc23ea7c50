/**
 * The ring over ZeroMQ: one PULL socket that the previous rank connects to, one PUSH socket connected to the next rank.
 *
 * Opening has two halves, because endpoints are known only once all have bound: `bindRing` gives this rank's endpoint, the
 * coordinator collects them, `connect` takes the list and returns when hellos have gone all the way round. Sockets are of
 * one generation and never reconnect after that: ZeroMQ would replay old messages to whoever binds the port next. A peer
 * that dies is noticed by its connection's end, a silent one by heartbeats (below JavaScript, so that a busy thread isn't
 * taken for a dead one) and by the receive timeout. Frames go out from the caller's memory without a copy.
 */
import { Context, Pull, Push } from "zeromq";
import { IsoergError, invariant } from "../util/error.js";
import { decodeFrameHeader, encodeFrameHeader, FRAME_HEADER_BYTES } from "./frames.js";
import { decodeHello, encodeHello, type Hello, RING_PROTOCOL } from "./hello.js";
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

export interface BindRingOptions extends RingPlace {
  /** Address to listen on. Default: loopback. */
  readonly host?: string;
  /** The address that peers connect to, where that isn't the one listened on (0.0.0.0, or behind a translation). */
  readonly advertisedHost?: string;
  /** Longest wait for the next frame. It includes the time by which ranks are apart in their steps. Default 10 minutes. */
  readonly timeoutMs?: number;
  /** Longest wait for all ranks to say hello. Default 30 s. */
  readonly connectTimeoutMs?: number;
  /** Connections that don't answer for so long are ended. Default 15 s. */
  readonly heartbeatTimeoutMs?: number;
  readonly maxPayloadLength?: number;
  readonly signal?: AbortSignal;
}

export interface BoundRing extends AsyncDisposable {
  /** tcp://host:port, to be told to the previous rank. */
  readonly endpoint: string;
  /** Closes the ring: `endpoints` by rank, this one's included. Once. */
  connect(endpoints: readonly string[]): Promise<RingTransport>;
}

/** Frames, not bytes, that wait to be sent: enough to keep a connection busy, and at most a few MiB. */
const SEND_HIGH_WATER_MARK = 8;
/**
 * Frames that wait to be received are not limited. ZeroMQ stops reading a connection whose queue is full, and with it the
 * heartbeats, so that a rank that comes late to a sum would be taken for dead. A ring bounds them anyway: without the late rank
 * nobody gets further than this sum, so at most its vector waits.
 */
const RECEIVE_HIGH_WATER_MARK = 0;
const DEFAULT_TIMEOUT_MS = 600_000;
/** After a connection's end: how long what it had delivered may take to be read. */
const DRAIN_MS = 50;
/** After an orderly close: how long the last frames may take to leave. */
const LINGER_MS = 1000;

let sharedContext: Context | undefined;

/** One for all rings of this process. Not `blocky`: a process that ends doesn't wait for sockets that nobody reads. */
function ringContext(): Context {
  sharedContext ??= new Context({ blocky: false });
  return sharedContext;
}

export async function bindRing(options: BindRingOptions): Promise<BoundRing> {
  const host = options.host ?? "127.0.0.1";
  options.signal?.throwIfAborted();
  const sockets = openSockets(options);
  try {
    await sockets.pull.bind(`tcp://${bracketed(host)}:*`);
  } catch (error) {
    closeSockets(sockets, 0);
    throw new IsoergError("NETWORK", `rank ${options.rank}: can't listen on ${host} for the ring`, {
      cause: error,
      hint: "give an address of this machine",
    });
  }
  const bound = sockets.pull.lastEndpoint;
  invariant(bound !== null, "a bound socket has an endpoint");
  const port = bound.slice(bound.lastIndexOf(":") + 1);
  const transport = new ZeromqTransport(options, sockets);
  let used = false;
  return {
    endpoint: `tcp://${bracketed(options.advertisedHost ?? host)}:${port}`,
    async connect(endpoints) {
      invariant(!used, "a bound ring connects once");
      used = true;
      await transport.open(endpoints, options.connectTimeoutMs ?? 30_000);
      return transport;
    },
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}

interface Sockets {
  readonly pull: Pull;
  readonly push: Push;
}

class ZeromqTransport implements RingTransport {
  readonly place: RingPlace;
  readonly maxPayloadLength: number;
  readonly #pull: Pull;
  readonly #push: Push;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.interrupt(asError(this.#signal?.reason));
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  #opened = false;
  #connections = 0; // to the PULL socket, strangers included
  #disconnected = false; // the last of them
  #broken: Error | undefined;
  #sendBroken: Error | undefined;
  #receiving = false;
  #drainTimer: NodeJS.Timeout | undefined;
  #framesSent = 0;
  #framesReceived = 0;
  #bytesSent = 0;
  #framesDropped = 0;

  constructor(options: BindRingOptions, sockets: Sockets) {
    const { run, generation, rank, worldSize } = options;
    this.place = { run, generation, rank, worldSize };
    this.maxPayloadLength = maxPayloadLength(options);
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#pull = sockets.pull;
    this.#push = sockets.push;
    this.#pull.events.on("accept", () => {
      this.#connections++;
      this.#disconnected = false;
    });
    this.#pull.events.on("disconnect", () => {
      this.#connections--;
      this.#disconnected = this.#connections <= 0;
      if (this.#disconnected) this.#whenPreviousMayBeGone();
    });
    this.#push.events.on("disconnect", () => this.#whenNextIsGone());
    this.#signal = options.signal;
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (this.#signal?.aborted) this.#onAbort();
  }

  /** Connects to the next rank and waits until every rank's hello has come by, this one's own included. */
  async open(endpoints: readonly string[], timeoutMs: number): Promise<void> {
    const { rank, worldSize } = this.place;
    try {
      const next = endpoints[nextRank(this.place)];
      if (endpoints.length !== worldSize || next === undefined) {
        throw new IsoergError("PROTOCOL", `rank ${rank}: ${endpoints.length} endpoints for ${worldSize} ranks`);
      }
      if (this.#broken !== undefined) throw this.#broken;
      this.#push.connect(next);
      await this.#exchangeHellos(performance.now() + timeoutMs, timeoutMs);
      this.#pull.receiveTimeout = this.#timeoutMs;
      this.#opened = true;
      if (this.#disconnected) this.#whenPreviousMayBeGone();
    } catch (error) {
      this.interrupt(asError(error));
      throw this.#broken ?? error;
    }
  }

  async send(tag: FrameTag, payload: Float32Array): Promise<void> {
    invariant(payload.length <= this.maxPayloadLength, `a frame of ${payload.length} values, ${this.maxPayloadLength} at most`);
    const { run, generation, rank: sender } = this.place;
    encodeFrameHeader({ run, generation, sender, ...tag }, payload.byteLength, this.#headerView);
    await this.#sendParts([this.#header, payload]);
    this.#framesSent++;
    this.#bytesSent += payload.byteLength;
  }

  async receive(): Promise<Frame> {
    for (;;) {
      const [header, payload, ...others] = await this.#receiveParts();
      if (header !== undefined && payload !== undefined && others.length === 0) {
        const decoded = decodeFrameHeader(header, payload.byteLength, this.maxPayloadLength * Float32Array.BYTES_PER_ELEMENT);
        if (decoded.ok && isForPlace(decoded.header, this.place)) {
          this.#framesReceived++;
          return { header: decoded.header, payload: asFloats(payload) };
        }
      }
      this.#framesDropped++;
    }
  }

  interrupt(reason: Error): void {
    this.#close(reason, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close(
      new IsoergError("STOPPED", `rank ${this.place.rank}: the ring of generation ${this.place.generation} is closed`),
      LINGER_MS,
    );
  }

  counts(): TransportCounts {
    return {
      framesSent: this.#framesSent,
      framesReceived: this.#framesReceived,
      bytesSent: this.#bytesSent,
      framesDropped: this.#framesDropped,
    };
  }

  async #exchangeHellos(until: number, timeoutMs: number): Promise<void> {
    const { rank, worldSize } = this.place;
    await this.#sendParts([encodeHello(this.place)]);
    const seen = new Set<number>();
    while (seen.size < worldSize) {
      const leftMs = Math.ceil(until - performance.now());
      if (leftMs <= 0) throw this.#noHello(seen, timeoutMs);
      this.#pull.receiveTimeout = leftMs;
      const parts = await this.#receiveParts().catch((error: unknown) => {
        throw this.#broken ?? (isTimeout(error) ? this.#noHello(seen, timeoutMs) : error);
      });
      const [bytes] = parts;
      const hello = parts.length === 1 && bytes !== undefined ? decodeHello(bytes) : undefined;
      if (hello === undefined || bytes === undefined || !this.#isOfThisRing(hello) || seen.has(hello.rank)) {
        this.#framesDropped++;
        continue;
      }
      if (seen.size === 0 && hello.rank !== previousRank(this.place)) {
        throw new IsoergError("PROTOCOL", `rank ${rank}: rank ${hello.rank} is connected in place of rank ${previousRank(this.place)}`);
      }
      seen.add(hello.rank);
      if (hello.rank !== rank) await this.#sendParts([bytes]);
    }
  }

  #isOfThisRing(hello: Hello): boolean {
    const { run, generation, rank, worldSize } = this.place;
    if (hello.run !== run || hello.generation !== generation) return false;
    if (hello.protocol !== RING_PROTOCOL) {
      throw new IsoergError(
        "PROTOCOL",
        `rank ${rank}: rank ${hello.rank} speaks ring protocol ${hello.protocol}, this one ${RING_PROTOCOL}`,
        {
          hint: "run the same version of isoerg everywhere",
        },
      );
    }
    if (hello.worldSize !== worldSize) {
      throw new IsoergError(
        "PROTOCOL",
        `rank ${rank}: rank ${hello.rank} counts ${hello.worldSize} ranks in generation ${generation}, this one ${worldSize}`,
      );
    }
    return true;
  }

  #noHello(seen: ReadonlySet<number>, timeoutMs: number): Error {
    const { rank, worldSize, generation } = this.place;
    const missing = Array.from({ length: worldSize }, (_, other) => other).filter((other) => other !== rank && !seen.has(other));
    const from = missing.length > 0 ? `no hello from rank ${missing.join(", ")}` : "its own hello did not come round";
    return new IsoergError("NETWORK", `rank ${rank}: ${from} for ${timeoutMs} ms (generation ${generation})`, {
      hint: "the ports that workers listen on must be reachable from the other workers",
    });
  }

  async #sendParts(parts: (Uint8Array | Float32Array)[]): Promise<void> {
    const broken = this.#broken ?? this.#sendBroken;
    if (broken !== undefined) throw broken;
    try {
      await this.#push.send(parts);
    } catch (error) {
      const gone = this.#broken ?? this.#sendBroken;
      if (gone !== undefined) throw gone;
      throw isTimeout(error) ? this.#nothingTaken() : error;
    }
  }

  async #receiveParts(): Promise<Uint8Array[]> {
    if (this.#broken !== undefined) throw this.#broken;
    this.#receiving = true;
    try {
      return await this.#pull.receive();
    } catch (error) {
      if (this.#broken !== undefined) throw this.#broken;
      if (!this.#opened) throw error;
      this.interrupt(isTimeout(error) ? (this.#disconnected ? this.#previousIsGone() : this.#nothingCame()) : asError(error));
      throw this.#broken ?? error;
    } finally {
      this.#receiving = false;
    }
  }

  /** What the previous rank sent before its connection ended is still there to be read: only when nothing is left is it gone. */
  #whenPreviousMayBeGone(): void {
    if (!this.#opened || this.#broken !== undefined) return;
    clearTimeout(this.#drainTimer);
    this.#drainTimer = setTimeout(() => {
      if (!this.#disconnected) return;
      if (this.#receiving && this.#pull.readable) this.#whenPreviousMayBeGone();
      else if (this.#receiving) this.interrupt(this.#previousIsGone());
      else this.#pull.receiveTimeout = 0;
    }, DRAIN_MS);
  }

  #nothingTaken(): Error {
    return new IsoergError("NETWORK", `rank ${this.place.rank}: rank ${nextRank(this.place)} took nothing for ${this.#timeoutMs} ms`);
  }

  #nothingCame(): Error {
    return new IsoergError(
      "NETWORK",
      `rank ${this.place.rank}: nothing came from rank ${previousRank(this.place)} for ${this.#timeoutMs} ms`,
    );
  }

  #previousIsGone(): Error {
    return new IsoergError("NETWORK", `rank ${this.place.rank}: rank ${previousRank(this.place)}, the previous in the ring, is gone`);
  }

  /** The previous rank's frames may be all that this one still needs, so only sending ends. Closing keeps ZeroMQ from reconnecting. */
  #whenNextIsGone(): void {
    if (!this.#opened || this.#broken !== undefined) return;
    this.#sendBroken ??= new IsoergError("NETWORK", `rank ${this.place.rank}: rank ${nextRank(this.place)}, the next in the ring, is gone`);
    this.#push.linger = 0;
    this.#push.close();
  }

  #close(reason: Error, lingerMs: number): void {
    if (this.#broken !== undefined) return;
    this.#broken = reason;
    clearTimeout(this.#drainTimer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    closeSockets({ pull: this.#pull, push: this.#push }, lingerMs);
  }
}

function openSockets(options: BindRingOptions): Sockets {
  const heartbeatTimeout = options.heartbeatTimeoutMs ?? 15_000;
  const common = {
    context: ringContext(),
    linger: 0,
    ipv6: options.host?.includes(":") ?? false,
    heartbeatInterval: Math.max(1, Math.floor(heartbeatTimeout / 5)),
    heartbeatTimeout,
    tcpKeepalive: 1,
  };
  return {
    pull: new Pull({
      ...common,
      receiveHighWaterMark: RECEIVE_HIGH_WATER_MARK,
      maxMessageSize: maxPayloadLength(options) * Float32Array.BYTES_PER_ELEMENT + 256,
    }),
    push: new Push({ ...common, sendHighWaterMark: SEND_HIGH_WATER_MARK, sendTimeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS }),
  };
}

function closeSockets({ pull, push }: Sockets, lingerMs: number): void {
  pull.close();
  if (push.closed) return;
  push.linger = lingerMs;
  push.close();
}

function maxPayloadLength(options: { readonly maxPayloadLength?: number }): number {
  return options.maxPayloadLength ?? 1 << 18;
}

/** Over the message's own memory where it is aligned, as it nearly always is. */
function asFloats(bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, byteLength } = bytes;
  const numValues = byteLength / Float32Array.BYTES_PER_ELEMENT;
  if (byteOffset % Float32Array.BYTES_PER_ELEMENT === 0) return new Float32Array(buffer, byteOffset, numValues);
  return new Float32Array(new Uint8Array(bytes).buffer);
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new IsoergError("STOPPED", String(reason ?? "the ring was closed"));
}
