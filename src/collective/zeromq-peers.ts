/**
 * Partners over ZeroMQ: one PULL socket that all partners connect to, one PUSH socket to each of them, for one generation.
 *
 * Frames are sorted by their sender as they come, since a partner of a later round may be early. A partner whose connection
 * ends is gone once what it had sent is read; one that is silent is noticed by heartbeats and by the receive timeout.
 */
import type { Pull, Push } from "zeromq";
import { IsoergError, invariant } from "../util/error.js";
import { CurvePlace, connectPlainly } from "./curve.js";
import { advertised, LOOPBACK, portOf } from "./data-address.js";
import { decodeFrameHeader, encodeFrameHeader, FRAME_HEADER_BYTES } from "./frames.js";
import { partnersOf } from "./peer-plan.js";
import type { PeerTransport } from "./peer-transport.js";
import { isTimeout, openPull, openPush, type RingSocketOptions, ringContext } from "./ring-sockets.js";
import type { Frame, FrameTag, RingPlace } from "./transport.js";
import { type BindRingOptions, bindPull } from "./zeromq-transport.js";

export interface BoundPeers {
  readonly endpoint: string;
  /** `endpoints` by rank. */
  connect(endpoints: readonly string[]): PeerTransport;
  interrupt(reason: Error): void;
}

const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT;
/** After a connection's end: how long what it had delivered may take to be read. */
const DRAIN_MS = 50;
const LINGER_MS = 1000;

export async function bindPeers(options: BindRingOptions): Promise<BoundPeers> {
  const { host = LOOPBACK, timeoutMs = 600_000, heartbeatTimeoutMs = 15_000, maxPayloadLength = 1 << 18 } = options;
  const sockets: RingSocketOptions = {
    isIpv6: host.includes(":"),
    maxMessageBytes: maxPayloadLength * FLOAT_BYTES,
    sendTimeoutMs: timeoutMs,
    heartbeatTimeoutMs,
  };
  const pull = openPull(sockets);
  const curve = options.curve ? await CurvePlace.create(ringContext()) : null;
  curve?.guardPull(pull);
  await bindPull(pull, host, options.ports);
  const endpoint = pull.lastEndpoint;
  invariant(endpoint !== null, "a bound socket has an endpoint");
  const transport = new ZeromqPeers(options, { pull, timeoutMs, maxPayloadLength, curve });
  const address = `tcp://${advertised(options, portOf(endpoint))}`;
  return {
    endpoint: curve?.endpoint(address) ?? address,
    connect(endpoints) {
      transport.connect(endpoints, () => openPush(sockets));
      return transport;
    },
    interrupt: (reason) => transport.interrupt(reason),
  };
}

interface Inbox {
  readonly frames: Frame[];
  waiting: { resolve(frame: Frame): void; reject(reason: Error): void } | undefined;
  isGone: boolean;
}

class ZeromqPeers implements PeerTransport {
  readonly place: RingPlace;
  readonly maxPayloadLength: number;
  readonly #timeoutMs: number;
  readonly #pull: Pull;
  readonly #curve: CurvePlace | null;
  readonly #pushes = new Map<number, Push>();
  readonly #inboxes = new Map<number, Inbox>();
  #broken: Error | undefined;

  constructor(
    { run, generation, rank, worldSize }: RingPlace,
    { pull, timeoutMs, maxPayloadLength, curve }: { pull: Pull; timeoutMs: number; maxPayloadLength: number; curve: CurvePlace | null },
  ) {
    this.place = { run, generation, rank, worldSize };
    this.maxPayloadLength = maxPayloadLength;
    this.#timeoutMs = timeoutMs;
    this.#pull = pull;
    this.#curve = curve;
    for (const partner of partnersOf(rank, worldSize)) this.#inboxes.set(partner, { frames: [], waiting: undefined, isGone: false });
    void this.#readAll();
  }

  connect(endpoints: readonly string[], open: () => Push): void {
    this.#curve?.admit([...this.#inboxes.keys()].map((partner) => endpoints[partner] as string));
    for (const [partner, inbox] of this.#inboxes) {
      const endpoint = endpoints[partner];
      invariant(endpoint !== undefined, `rank ${partner} has an endpoint`);
      const push = open();
      push.events.on("disconnect", () => {
        inbox.isGone = true;
        setTimeout(() => this.#endIfGone(partner, inbox), DRAIN_MS).unref();
      });
      if (this.#curve) this.#curve.connect(push, endpoint);
      else connectPlainly(push, endpoint);
      this.#pushes.set(partner, push);
    }
  }

  async send(to: number, tag: FrameTag, payload: Float32Array): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    const push = this.#pushes.get(to);
    invariant(push, `rank ${to} is a partner of rank ${this.place.rank}`);
    const { run, generation, rank: sender } = this.place;
    const header = new Uint8Array(FRAME_HEADER_BYTES);
    encodeFrameHeader({ run, generation, sender, ...tag }, payload.byteLength, new DataView(header.buffer));
    try {
      await push.send([header, payload]);
    } catch (error) {
      if (this.#broken !== undefined) throw this.#broken;
      const told = isTimeout(error)
        ? new IsoergError("NETWORK", `rank ${sender}: rank ${to} took nothing for ${this.#timeoutMs} ms`)
        : error;
      throw told;
    }
  }

  async receive(from: number): Promise<Frame> {
    if (this.#broken !== undefined) throw this.#broken;
    const inbox = this.#inboxes.get(from);
    invariant(inbox && inbox.waiting === undefined, `rank ${from} is a partner of rank ${this.place.rank}, asked once at a time`);
    const queued = inbox.frames.shift();
    if (queued) return queued;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Frame>((resolve, reject) => {
        inbox.waiting = { resolve, reject };
        timer = setTimeout(() => this.interrupt(this.#nothingCame(from)), this.#timeoutMs);
        if (inbox.isGone) setTimeout(() => this.#endIfGone(from, inbox), DRAIN_MS).unref();
      });
    } finally {
      clearTimeout(timer);
      inbox.waiting = undefined;
    }
  }

  interrupt(reason: Error): void {
    this.#close(reason, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close(
      new IsoergError("STOPPED", `rank ${this.place.rank}: the partners of generation ${this.place.generation} are closed`),
      LINGER_MS,
    );
  }

  async #readAll(): Promise<void> {
    try {
      for (;;) {
        const [header, payload, ...others] = await this.#pull.receive();
        if (header === undefined || payload === undefined || others.length > 0) continue;
        const decoded = decodeFrameHeader(header, payload.byteLength, this.maxPayloadLength * FLOAT_BYTES);
        if (!decoded.ok || decoded.header.run !== this.place.run || decoded.header.generation !== this.place.generation) continue;
        const inbox = this.#inboxes.get(decoded.header.sender);
        if (inbox === undefined) continue;
        const frame = { header: decoded.header, payload: asFloats(payload) };
        if (inbox.waiting) inbox.waiting.resolve(frame);
        else inbox.frames.push(frame);
      }
    } catch (error) {
      this.interrupt(error instanceof Error ? error : new IsoergError("NETWORK", String(error)));
    }
  }

  #endIfGone(partner: number, inbox: Inbox): void {
    if (!inbox.isGone || inbox.waiting === undefined || inbox.frames.length > 0) return;
    this.interrupt(new IsoergError("NETWORK", `rank ${this.place.rank}: rank ${partner}, its partner, is gone`));
  }

  #nothingCame(from: number): Error {
    return new IsoergError("NETWORK", `rank ${this.place.rank}: nothing came from rank ${from} for ${this.#timeoutMs} ms`);
  }

  #close(reason: Error, lingerMs: number): void {
    if (this.#broken !== undefined) return;
    this.#broken = reason;
    this.#pull.close();
    this.#curve?.close();
    for (const push of this.#pushes.values()) {
      push.linger = lingerMs;
      push.close();
    }
    for (const inbox of this.#inboxes.values()) inbox.waiting?.reject(reason);
  }
}

function asFloats(bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, byteLength } = bytes;
  if (byteOffset % FLOAT_BYTES === 0) return new Float32Array(buffer, byteOffset, byteLength / FLOAT_BYTES);
  return new Float32Array(new Uint8Array(bytes).buffer);
}
