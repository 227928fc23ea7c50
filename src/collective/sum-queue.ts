/**
 * Sums in the order in which they were started, one after the other, over one ring.
 *
 * What a link needs to let the training thread go on computing while earlier buckets are summed. After a failure nothing
 * more is summed: the ring is broken, and the next generation brings another queue.
 */
import { type AllReduceOptions, allReduce } from "./all-reduce.js";
import type { RingTransport } from "./transport.js";

export class SumQueue {
  readonly #transport: RingTransport;
  #last: Promise<void> = Promise.resolve();

  constructor(transport: RingTransport) {
    this.#transport = transport;
  }

  /** Sums `values` in place once all sums started before have finished. A failure is also told by `finish`. */
  start(values: Float32Array, options: AllReduceOptions): Promise<void> {
    const sum = this.#last.then(() => allReduce(this.#transport, values, options));
    sum.catch(() => {}); // told by whoever awaits the sum or `finish`; nobody need do both
    this.#last = sum;
    return sum;
  }

  /** Resolves when all sums started so far have finished, rejects with the first failure among them. */
  finish(): Promise<void> {
    return this.#last;
  }
}
