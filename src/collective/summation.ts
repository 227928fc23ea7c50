/**
 * The sums of one generation, however they travel: over the ring of all ranks, in memory that all ranks share, or in shared
 * memory inside each host and over a ring between the hosts. One contract suite holds for all three.
 *
 * All ranks start the same sums in the same order, one at a time. When `sum` has resolved every rank holds the same bits,
 * and the vector is the caller's again; when it has rejected, the generation must be given up.
 */
import { allReduce, canGoWhole } from "./all-reduce.js";
import { allReduceBf16, EXACT_LENGTH, Residuals } from "./bf16-ring.js";
import { type Algorithm, type CostConstants, fastest } from "./cost-model.js";
import { allReduceByPeers } from "./peer-reduce.js";
import type { PeerTransport } from "./peer-transport.js";
import type { RingTransport, SumTag } from "./transport.js";

export interface Summation extends AsyncDisposable {
  readonly way: "ring" | "host" | "hosts";
  /** In place. */
  sum(values: Float32Array, tag: SumTag): Promise<void>;
  /** Ends pending and later sums with this reason. */
  interrupt(reason: Error): void;
}

export interface NetworkOptions {
  /** Connections to partners at distances; null where there is only the ring. */
  readonly peers?: PeerTransport | null;
  /** The same on all ranks. */
  readonly cost?: CostConstants;
  /** What long vectors travel as. Default fp32. */
  readonly wire?: "fp32" | "bf16";
}

/** Over the network, by the algorithm that the cost model says is the fastest for this length. */
export function sumOverNetwork(
  transport: RingTransport,
  { peers = null, cost, wire = "fp32" }: NetworkOptions = {},
): Pick<Summation, "sum"> {
  const residuals = new Residuals();
  return {
    async sum(values, tag) {
      if (wire === "bf16" && values.length > EXACT_LENGTH) return allReduceBf16(transport, values, { ...tag, residuals });
      const algorithm = chooseAlgorithm(values.length, transport, { peers, ...(cost && { cost }) });
      if (peers && (algorithm === "doubling" || algorithm === "halving")) await allReduceByPeers(peers, values, { ...tag, algorithm });
      else await allReduce(transport, values, { ...tag, ...(algorithm === "whole" || algorithm === "ring" ? { algorithm } : {}) });
    },
  };
}

/** Pure; the same on all ranks, since they have the same length, world and constants. */
export function chooseAlgorithm(
  numValues: number,
  transport: Pick<RingTransport, "place" | "maxPayloadLength">,
  options: NetworkOptions,
): Algorithm {
  const among: Algorithm[] = ["ring"];
  if (canGoWhole(numValues, transport)) among.unshift("whole");
  if (options.peers) among.unshift("doubling", "halving");
  return fastest(numValues, transport.place.worldSize, { among, ...(options.cost && { constants: options.cost }) });
}

/** Every sum goes over the network, between all ranks. */
export function sumOverRing(transport: RingTransport, options: NetworkOptions = {}): Summation {
  return {
    way: "ring",
    sum: sumOverNetwork(transport, options).sum,
    interrupt(reason) {
      transport.interrupt(reason);
      options.peers?.interrupt(reason);
    },
    async [Symbol.asyncDispose]() {
      await options.peers?.[Symbol.asyncDispose]();
      await transport[Symbol.asyncDispose]();
    },
  };
}
