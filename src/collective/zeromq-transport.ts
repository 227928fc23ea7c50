/**
 * The ring over ZeroMQ: one PULL socket that the previous rank connects to, one PUSH socket connected to the next rank.
 *
 * Opening has two halves, because endpoints are known only once all have bound: `bindRing` gives this rank's endpoint, the
 * coordinator collects them, `connect` takes the list and returns when hellos have gone all the way round. Sockets are of
 * one generation and never reconnect after that: ZeroMQ would replay old messages to whoever binds the port next. A peer
 * that dies is noticed by its connection's end, a silent one by heartbeats (below JavaScript, so that a busy thread isn't
 * taken for a dead one) and by the receive timeout. Frames go out from the caller's memory without a copy.
 */
import type { Pull, Push } from "zeromq";
import { IsoergError, invariant } from "../util/error.js";
import { CurvePlace, connectPlainly } from "./curve.js";
import { advertised, type DataAddress, hostPort, LOOPBACK, portOf } from "./data-address.js";
import type { DataPorts } from "./data-ports.js";
import { decodeFrameHeader, encodeFrameHeader, FRAME_HEADER_BYTES } from "./frames.js";
import { exchangeHellos } from "./hello-exchange.js";
import { closeSockets, isTimeout, openSockets, type RingSockets, ringContext } from "./ring-sockets.js";
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

export interface BindRingOptions extends RingPlace, DataAddress {
  /** Longest wait for the next frame. It includes the time by which ranks are apart in their steps. Default 10 minutes. */
  readonly timeoutMs?: number;
  /** Longest wait for all ranks to say hello. Default 30 s. */
  readonly connectTimeoutMs?: number;
  /** Connections that don't answer for so long are ended. Default 15 s. */
  readonly heartbeatTimeoutMs?: number;
  readonly maxPayloadLength?: number;
  /** Encrypt, and admit only the keys that the endpoints name. The same on all ranks. Default: plaintext. */
  readonly curve?: boolean;
  readonly signal?: AbortSignal;
}

export interface BoundRing extends AsyncDisposable {
  /** tcp://host:port, to be told to the previous rank. */
  readonly endpoint: string;
  /** Closes the ring: `endpoints` by rank, this one's included. Once. */
  connect(endpoints: readonly string[]): Promise<RingTransport>;
}

const DEFAULT_TIMEOUT_MS = 600_000;
/** After a connection's end: how long what it had delivered may take to be read. */
const DRAIN_MS = 50;
/** After an orderly close: how long the last frames may take to leave. */
const LINGER_MS = 1000;

export async function bindRing(options: BindRingOptions): Promise<BoundRing> {
  const host = options.host ?? LOOPBACK;
  options.signal?.throwIfAborted();
  const { timeoutMs = DEFAULT_TIMEOUT_MS, heartbeatTimeoutMs = 15_000, maxPayloadLength = 1 << 18 } = options;
  const sockets = openSockets({
    isIpv6: host.includes(":"),
    maxMessageBytes: maxPayloadLength * Float32Array.BYTES_PER_ELEMENT,
    sendTimeoutMs: timeoutMs,
    heartbeatTimeoutMs,
  });
  const curve = options.curve ? await CurvePlace.create(ringContext()) : null;
  curve?.guardPull(sockets.pull);
  try {
    await bindPull(sockets.pull, host, options.ports);
  } catch (error) {
    closeSockets(sockets, 0);
    curve?.close();
    throw new IsoergError("NETWORK", `rank ${options.rank}: can't listen on ${host} for the ring: ${(error as Error).message}`, {
      cause: error,
      hint: "give an address of this machine",
    });
  }
  const bound = sockets.pull.lastEndpoint;
  invariant(bound !== null, "a bound socket has an endpoint");
  const transport = new ZeromqTransport({ ...options, timeoutMs, maxPayloadLength }, sockets, curve);
  let used = false;
  const address = `tcp://${advertised(options, portOf(bound))}`;
  return {
    endpoint: curve?.endpoint(address) ?? address,
    async connect(endpoints) {
      invariant(!used, "a bound ring connects once");
      used = true;
      await transport.open(endpoints, options.connectTimeoutMs ?? 30_000);
      return transport;
    },
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}

/** Listens on one of the given ports, else on any that is free. */
export async function bindPull(pull: Pull, host: string, ports?: DataPorts): Promise<void> {
  const bind = (port: number | "*"): Promise<void> => pull.bind(`tcp://${hostPort(host, port)}`);
  if (ports === undefined) await bind("*");
  else await ports.take(bind);
}

class ZeromqTransport implements RingTransport {
  readonly place: RingPlace;
  readonly maxPayloadLength: number;
  #tellEnd: (reason: Error) => void = () => {};
  readonly ended = new Promise<Error>((resolve) => {
    this.#tellEnd = resolve;
  });
  readonly #pull: Pull;
  readonly #push: Push;
  readonly #curve: CurvePlace | null;
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

  constructor(
    options: BindRingOptions & { readonly timeoutMs: number; readonly maxPayloadLength: number },
    sockets: RingSockets,
    curve: CurvePlace | null,
  ) {
    const { run, generation, rank, worldSize } = options;
    this.place = { run, generation, rank, worldSize };
    this.maxPayloadLength = options.maxPayloadLength;
    this.#timeoutMs = options.timeoutMs;
    this.#pull = sockets.pull;
    this.#push = sockets.push;
    this.#curve = curve;
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
      // The ring's first and only neighbour on this side is the previous rank.
      this.#curve?.admit([endpoints[previousRank(this.place)] as string]);
      if (this.#curve) this.#curve.connect(this.#push, next);
      else connectPlainly(this.#push, next);
      await exchangeHellos(
        this.place,
        {
          send: (hello) => this.#sendParts([hello]),
          receive: (waitMs) => {
            this.#pull.receiveTimeout = waitMs;
            return this.#receiveParts();
          },
          drop: () => {
            this.#framesDropped++;
          },
        },
        timeoutMs,
      );
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
      if (this.#receiving && this.#pull.readable) return this.#whenPreviousMayBeGone();
      this.#tellEnd(this.#previousIsGone());
      if (this.#receiving) this.interrupt(this.#previousIsGone());
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
    this.#tellEnd(this.#sendBroken);
    this.#push.linger = 0;
    this.#push.close();
  }

  #close(reason: Error, lingerMs: number): void {
    if (this.#broken !== undefined) return;
    this.#broken = reason;
    this.#tellEnd(reason);
    clearTimeout(this.#drainTimer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    closeSockets({ pull: this.#pull, push: this.#push }, lingerMs);
    this.#curve?.close();
  }
}

/** Over the message's own memory where it is aligned, as it nearly always is. */
function asFloats(bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, byteLength } = bytes;
  const numValues = byteLength / Float32Array.BYTES_PER_ELEMENT;
  if (byteOffset % Float32Array.BYTES_PER_ELEMENT === 0) return new Float32Array(buffer, byteOffset, numValues);
  return new Float32Array(new Uint8Array(bytes).buffer);
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new IsoergError("STOPPED", String(reason ?? "the ring was closed"));
}
