/**
 * The sums of one generation: a ring to the neighbours, opened when the generation begins, an agreement on who shares memory,
 * and the all-reduces that the training thread starts, done one after the other while it computes on. When the generation is
 * over, or a peer is lost, whatever is pending ends with the reason, and later sums do at once.
 *
 * Where all workers are on one host the training thread sums by itself, in their shared memory, and nothing comes here.
 */
import type { DataAddress } from "../collective/data-address.js";
import { HostMember } from "../collective/host-member.js";
import type { HostMemory } from "../collective/host-memory.js";
import { agreeOnSummation } from "../collective/host-summation.js";
import type { NativeStreams } from "../collective/native-streams.js";
import { splitTokens, withToken } from "../collective/stream-handshake.js";
import { bindStreams } from "../collective/stream-links.js";
import type { NetworkOptions, Summation } from "../collective/summation.js";
import { bindPeers } from "../collective/zeromq-peers.js";
import { type BindRingOptions, type BoundRing, bindRing } from "../collective/zeromq-transport.js";
import type { SumsResult } from "./thread-messages.js";

export type RingAddress = DataAddress & Pick<BindRingOptions, "curve">;

/** This process's vectors lie in memory that others of the host can map. */
export interface SharedVectors {
  readonly memory: HostMemory;
  readonly arena: number;
}

export interface SumsOptions {
  /** Null: vectors are this process's own, and every sum goes round the ring. */
  readonly shared?: SharedVectors | null;
  /** Drives TCP between hosts where traffic is not encrypted. Null: ZeroMQ carries everything. */
  readonly streams?: NativeStreams | null;
  /** What is chosen for the network between hosts; the same on all workers. */
  readonly network?: Pick<NetworkOptions, "cost" | "wire">;
  /** Told why memory could not be shared. */
  readonly onRefusal?: (reason: string) => void;
}

export class Sums {
  readonly #place: { readonly run: number; readonly generation: number; readonly rank: number; readonly worldSize: number };
  readonly #network: Pick<NetworkOptions, "cost" | "wire">;
  readonly #onRefusal: (reason: string) => void;
  readonly #stop = new AbortController();
  readonly #host: HostMember | null;
  readonly #streams: NativeStreams | null;
  #address: RingAddress = {};
  #bound: BoundRing | undefined;
  #summation: Summation | undefined;
  #pending: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #step = 0;
  #bucket = 0;

  constructor(place: { run: number; generation: number; rank: number; worldSize: number }, options: SumsOptions = {}) {
    this.#place = place;
    this.#network = options.network ?? {};
    this.#onRefusal = options.onRefusal ?? (() => {});
    this.#streams = options.streams ?? null;
    this.#host = options.shared && place.worldSize > 1 ? this.#openMember(options.shared) : null;
  }

  /** The member of shared memory that the training thread takes for this generation's; null for none. */
  get member(): number | null {
    return this.#host?.handle ?? null;
  }

  /** How sums travel, once that is agreed. */
  get way(): Summation["way"] | null {
    return this.#summation?.way ?? null;
  }

  /** What carries them between hosts, or inside this one, once that is agreed. */
  get carriedBy(): "memory" | "streams" | "zeromq" | "curve" | null {
    if (!this.#summation) return null;
    const carrier = this.#summation.carrier ?? "memory";
    return carrier === "zeromq" && this.#address.curve ? "curve" : carrier;
  }

  /** Listens for the previous rank. @returns the endpoint; empty for a worker alone. */
  async bind(address: RingAddress): Promise<string> {
    if (this.#place.worldSize === 1) return "";
    this.#address = address;
    this.#bound = await bindRing({ ...this.#place, ...address, signal: this.#stop.signal });
    // Streams are plaintext: where the ring is encrypted there are none.
    return this.#streams && !address.curve ? withToken(this.#bound.endpoint) : this.#bound.endpoint;
  }

  /** Closes the ring and agrees with all ranks on how sums travel. */
  async connect(told: readonly string[]): Promise<void> {
    const { endpoints, secret } = splitTokens(told, this.#place);
    const native = this.#address.curve ? null : this.#streams;
    const transport = await this.#bound?.connect(endpoints);
    if (!transport) return;
    const { signal } = this.#stop;
    const summation = await agreeOnSummation({
      transport,
      member: this.#host,
      bind: (place) => bindRing({ ...place, ...this.#address, signal }),
      bindPeers: (place) => bindPeers({ ...place, ...this.#address }),
      ...(native && secret && { bindStreams: (place) => bindStreams({ ...place, ...this.#address, native, secret }) }),
      ...this.#network,
      onRefusal: this.#onRefusal,
    });
    this.#summation = summation;
    if (!signal.aborted) return;
    summation.interrupt(signal.reason as Error); // the generation ended meanwhile
    throw signal.reason;
  }

  beginStep(step: number): void {
    this.#step = step;
    this.#bucket = 0;
  }

  /** Starts a sum, in place. `values` is over shared memory and not to be touched before `finish`. */
  start(values: Float32Array): void {
    const tag = { step: this.#step, bucket: this.#bucket++ };
    this.#pending = this.#pending.then(async () => {
      if (!this.#failure) await this.#summation?.sum(values, tag);
    });
    this.#pending = this.#pending.catch((error: Error) => {
      this.#failure ??= error;
    });
  }

  /** Waits for all sums started. */
  async finish(): Promise<SumsResult> {
    await this.#pending;
    const failure = this.#failure ?? (this.#stop.signal.aborted ? (this.#stop.signal.reason as Error) : undefined);
    return failure ? { done: false, reason: failure.message } : { done: true, by: this.carriedBy };
  }

  /** Ends the generation's sums: pending ones end with this reason, sockets close. */
  async close(reason: Error): Promise<void> {
    this.#stop.abort(reason);
    this.#host?.close(reason);
    this.#summation?.interrupt(reason);
    await this.#pending;
    await this.#bound?.[Symbol.asyncDispose]();
  }

  #openMember({ memory, arena }: SharedVectors): HostMember | null {
    try {
      return new HostMember({ memory, arena, place: this.#place });
    } catch (error) {
      this.#onRefusal(error instanceof Error ? error.message : String(error));
      return null;
    }
  }
}
