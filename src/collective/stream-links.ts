/**
 * The TCP connections of a rank's streams: who connects to whom, how the ends prove themselves, and the handing over to native code.
 *
 * Each rank listens for those that send to it (the previous of the ring, its partners) and connects to those it sends to. Node
 * opens the connections and does the handshake (`stream-handshake.ts`); then the descriptor is duplicated by the native side, and Node's
 * own closed. Nothing travels on a connection between the handshake and the agreement that all ranks have theirs, so Node has
 * read nothing that the native side needs. A port is open only from `bindStreams` to `connect`'s end.
 */
import { once } from "node:events";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { availableParallelism } from "node:os";
import { IsoergError, invariant } from "../util/error.js";
import { advertised, type DataAddress, LOOPBACK } from "./data-address.js";
import type { DataPorts } from "./data-ports.js";
import type { NativeStreams } from "./native-streams.js";
import { partnersOf } from "./peer-plan.js";
import {
  decodeGreeting,
  encodeGreeting,
  GREETING_BYTES,
  isProof,
  NONCE_BYTES,
  newNonce,
  PROOF_BYTES,
  proofOf,
} from "./stream-handshake.js";
import { maxSpinMs } from "./stream-plan.js";
import { type StreamLinks, StreamSums } from "./stream-sums.js";
import { nextRank, previousRank, type RingPlace } from "./transport.js";

export interface BindStreamsOptions extends RingPlace, DataAddress {
  readonly native: NativeStreams;
  /** Of the generation; who does not know it is not let in. */
  readonly secret: Uint8Array;
  /** Longest wait for the other ranks in a sum. Default 10 minutes. */
  readonly timeoutMs?: number;
  /** Longest wait for all connections. Default 5 s. */
  readonly connectTimeoutMs?: number;
  /** Connections that don't answer for so long are ended. Default 15 s. */
  readonly heartbeatTimeoutMs?: number;
}

export interface BoundStreams {
  /** tcp://host:port */
  readonly endpoint: string;
  /** Opens all of this rank's connections; `endpoints` by rank. No sum may begin before all ranks have theirs. Rejects where one can't be had; then nothing stays open. */
  connect(endpoints: readonly string[], signal?: AbortSignal): Promise<StreamSums>;
  close(): void;
}

const CONNECT_TIMEOUT_MS = 5000;
/** Connections under way beyond those that are expected: strangers may hold no more. */
const SPARE_CONNECTIONS = 32;

export async function bindStreams(options: BindStreamsOptions): Promise<BoundStreams> {
  const { native, run, generation, rank, host = LOOPBACK, heartbeatTimeoutMs = 15_000 } = options;
  const handle = native.openStreams(run, generation, rank, heartbeatTimeoutMs);
  const door = new Door(options, handle);
  try {
    const port = await door.listen(host, options.ports);
    return {
      endpoint: `tcp://${advertised(options, port)}`,
      async connect(endpoints, signal) {
        const over = new AbortController();
        const timer = setTimeout(() => over.abort(), options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS);
        const giveUp = (): void => over.abort();
        signal?.addEventListener("abort", giveUp, { once: true });
        try {
          await Promise.all([
            door.admitted(over.signal),
            ...targetsOf(options).map((to) => reach(options, handle, to, endpoints[to] ?? "", over.signal)),
          ]);
        } catch (error) {
          native.closeStreams(handle);
          throw error;
        } finally {
          clearTimeout(timer);
          signal?.removeEventListener("abort", giveUp);
          over.abort(); // whatever else is under way
          door.close();
        }
        const links: StreamLinks = { native, handle, place: { run, generation, rank, worldSize: options.worldSize } };
        const waits = { timeoutMs: options.timeoutMs ?? 600_000, maxSpinMs: maxSpinMs(endpoints, rank, availableParallelism()) };
        return new StreamSums(links, waits);
      },
      close() {
        door.close();
        native.closeStreams(handle);
      },
    };
  } catch (error) {
    native.closeStreams(handle);
    throw error;
  }
}

/** Ranks that this one sends to. */
function targetsOf(place: RingPlace): readonly number[] {
  return [...new Set([nextRank(place), ...partnersOf(place.rank, place.worldSize)])];
}

/** Ranks that send to this one. */
function sourcesOf(place: RingPlace): readonly number[] {
  return [...new Set([previousRank(place), ...partnersOf(place.rank, place.worldSize)])];
}

/** The listening end. */
class Door {
  readonly #options: BindStreamsOptions;
  readonly #handle: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #missing: Set<number>;
  #onAll: () => void = () => {};
  readonly #all = new Promise<void>((resolve) => {
    this.#onAll = resolve;
  });

  constructor(options: BindStreamsOptions, handle: number) {
    this.#options = options;
    this.#handle = handle;
    this.#missing = new Set(sourcesOf(options));
    this.#server = createServer({ noDelay: true }, (socket) => {
      this.#sockets.add(socket);
      const timer = setTimeout(() => socket.destroy(), options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS);
      // Whoever fails the handshake is cut off without a word; who is missing in the end is told by `admitted`.
      this.#admit(socket)
        .catch(() => {})
        .finally(() => {
          clearTimeout(timer);
          this.#sockets.delete(socket);
          socket.destroy();
        });
    });
    this.#server.on("error", () => {}); // of accepting: whoever is missing is told in time
    this.#server.maxConnections = this.#missing.size + SPARE_CONNECTIONS;
  }

  async listen(host: string, ports: DataPorts | undefined): Promise<number> {
    const listenOn = async (port: number): Promise<void> => {
      this.#server.listen({ host, port, exclusive: true });
      await once(this.#server, "listening");
    };
    if (ports) await ports.take(listenOn);
    else await listenOn(0);
    const address = this.#server.address();
    invariant(address !== null && typeof address === "object", "a server that listens has an address");
    return address.port;
  }

  /** Resolves when every rank that sends to this one is connected. */
  async admitted(signal: AbortSignal): Promise<void> {
    const { rank } = this.#options;
    const late = once(signal, "abort").then(() => {
      throw new IsoergError("NETWORK", `rank ${rank}: no stream from rank ${[...this.#missing].join(", ")}`);
    });
    await Promise.race([this.#all, late]);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #admit(socket: Socket): Promise<void> {
    const { native, secret, run, generation, rank } = this.#options;
    const bytes = await read(socket, GREETING_BYTES);
    const greeting = decodeGreeting(bytes);
    const isForUs = greeting?.run === run && greeting.generation === generation && greeting.receiver === rank;
    if (!greeting || !isForUs || !this.#missing.has(greeting.sender)) return;
    const nonce = newNonce();
    socket.write(Buffer.concat([nonce, proofOf(secret, "listens", bytes, nonce)]));
    const proof = await read(socket, PROOF_BYTES);
    if (!isProof(proof, proofOf(secret, "connects", bytes, nonce)) || !this.#missing.has(greeting.sender)) return;
    if (native.addStream(this.#handle, greeting.sender, 0, descriptorOf(socket)) !== 1) return;
    this.#missing.delete(greeting.sender);
    if (this.#missing.size === 0) this.#onAll();
  }
}

/** The connecting end. */
async function reach(options: BindStreamsOptions, handle: number, to: number, endpoint: string, signal: AbortSignal): Promise<void> {
  const { native, secret, run, generation, rank } = options;
  const match = /^tcp:\/\/(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(endpoint);
  if (!match) throw new IsoergError("PROTOCOL", `rank ${rank}: the endpoint of rank ${to} is none: ${endpoint}`);
  const socket = dial({ host: (match[1] ?? match[2]) as string, port: Number(match[3]), noDelay: true });
  const giveUp = (): void => void socket.destroy(new Error("no answer in time"));
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    await once(socket, "connect");
    const greeting = encodeGreeting({ run, generation, sender: rank, receiver: to, nonce: newNonce() });
    socket.write(greeting);
    const answer = await read(socket, NONCE_BYTES + PROOF_BYTES);
    const nonce = answer.subarray(0, NONCE_BYTES);
    if (!isProof(answer.subarray(NONCE_BYTES), proofOf(secret, "listens", greeting, nonce))) {
      throw new IsoergError("PROTOCOL", `rank ${rank}: who listens at ${endpoint} is not rank ${to} of this generation`);
    }
    await new Promise<void>((resolve, reject) => {
      socket.write(proofOf(secret, "connects", greeting, nonce), (error) => (error ? reject(error) : resolve()));
    });
    if (native.addStream(handle, to, 1, descriptorOf(socket)) !== 1)
      throw new IsoergError("NETWORK", "the stream could not be handed over");
  } catch (error) {
    if (error instanceof IsoergError) throw error;
    throw new IsoergError("NETWORK", `rank ${rank}: no stream to rank ${to} at ${endpoint}: ${(error as Error).message}`, { cause: error });
  } finally {
    signal.removeEventListener("abort", giveUp);
    socket.destroy();
  }
}

/** Exactly so many bytes. Rejects where the connection ends before. */
async function read(socket: Socket, numBytes: number): Promise<Uint8Array> {
  const ended = new AbortController();
  const onEnd = (): void => ended.abort(new IsoergError("NETWORK", "the connection was closed in the handshake"));
  socket.once("end", onEnd).once("error", onEnd).once("close", onEnd);
  try {
    const bytes = new Uint8Array(numBytes);
    for (let have = 0; ; ) {
      // What is there is taken: to wait for "readable" with bytes in the buffer is to be told of them again and again.
      const some = socket.read(Math.max(1, Math.min(numBytes - have, socket.readableLength))) as Uint8Array | null;
      if (some) {
        bytes.set(some, have);
        have += some.byteLength;
        if (have === numBytes) return bytes;
        continue;
      }
      await once(socket, "readable", { signal: ended.signal });
    }
  } finally {
    socket.off("end", onEnd).off("close", onEnd);
  }
}

/** libuv's descriptor of a connection: not documented, but there since Node began, and cluster needs it. */
function descriptorOf(socket: Socket): number {
  const fd = (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) throw new IsoergError("NETWORK", "this Node does not tell a connection's descriptor");
  return fd;
}
