/**
 * The sums of one generation: a ring to the neighbours, opened when the generation begins, and the all-reduces that the
 * training thread starts, done one after the other while it computes on. When the generation is over, or a peer is lost,
 * whatever is pending ends with the reason, and later sums do at once.
 */
import { allReduce } from "../collective/all-reduce.js";
import type { RingTransport } from "../collective/transport.js";
import { type BindRingOptions, type BoundRing, bindRing } from "../collective/zeromq-transport.js";
import type { SumsResult } from "./messages.js";

export type RingAddress = Pick<BindRingOptions, "host" | "advertisedHost">;

export class Sums {
  readonly #place: { readonly run: number; readonly generation: number; readonly rank: number; readonly worldSize: number };
  readonly #stop = new AbortController();
  #bound: BoundRing | undefined;
  #transport: RingTransport | undefined;
  #pending: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #step = 0;
  #bucket = 0;

  constructor(place: { run: number; generation: number; rank: number; worldSize: number }) {
    this.#place = place;
  }

  /** Listens for the previous rank. @returns the endpoint; empty for a worker alone. */
  async bind(address: RingAddress): Promise<string> {
    if (this.#place.worldSize === 1) return "";
    this.#bound = await bindRing({ ...this.#place, ...address, signal: this.#stop.signal });
    return this.#bound.endpoint;
  }

  /** Closes the ring. */
  async connect(endpoints: readonly string[]): Promise<void> {
    this.#transport = await this.#bound?.connect(endpoints);
  }

  beginStep(step: number): void {
    this.#step = step;
    this.#bucket = 0;
  }

  /** Starts a sum, in place. `values` is over shared memory and not to be touched before `finish`. */
  start(values: Float32Array): void {
    const tag = { step: this.#step, bucket: this.#bucket++ };
    this.#pending = this.#pending.then(async () => {
      if (this.#failure || !this.#transport) return;
      await allReduce(this.#transport, values, tag);
    });
    this.#pending = this.#pending.catch((error: Error) => {
      this.#failure ??= error;
    });
  }

  /** Waits for all sums started. */
  async finish(): Promise<SumsResult> {
    await this.#pending;
    const failure = this.#failure ?? (this.#stop.signal.aborted ? (this.#stop.signal.reason as Error) : undefined);
    return failure ? { done: false, reason: failure.message } : { done: true };
  }

  /** Ends the generation's ring: pending sums end with this reason, sockets close. */
  async close(reason: Error): Promise<void> {
    this.#stop.abort(reason);
    this.#transport?.interrupt(reason);
    await this.#pending;
    await this.#bound?.[Symbol.asyncDispose]();
  }
}
