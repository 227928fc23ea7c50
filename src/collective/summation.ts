/**
 * The sums of one generation, however they travel: over the ring of all ranks, in memory that all ranks share, or in shared
 * memory inside each host and over a ring between the hosts. One contract suite holds for all three.
 *
 * All ranks start the same sums in the same order, one at a time. When `sum` has resolved every rank holds the same bits,
 * and the vector is the caller's again; when it has rejected, the generation must be given up.
 */
import { allReduce } from "./all-reduce.js";
import type { RingTransport } from "./transport.js";

export interface SumTag {
  readonly step: number;
  /** Which sum of the step this is. */
  readonly bucket: number;
}

export interface Summation extends AsyncDisposable {
  readonly way: "ring" | "host" | "hosts";
  /** In place. */
  sum(values: Float32Array, tag: SumTag): Promise<void>;
  /** Ends pending and later sums with this reason. */
  interrupt(reason: Error): void;
}

/** Every sum goes round the ring of all ranks. */
export function sumOverRing(transport: RingTransport): Summation {
  return {
    way: "ring",
    sum: (values, tag) => allReduce(transport, values, tag),
    interrupt: (reason) => transport.interrupt(reason),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}
