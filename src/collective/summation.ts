/**
 * The sums of one generation, however they travel: over the ring of all ranks, in memory that all ranks share, or in shared
 * memory inside each host and over a ring between the hosts. One contract suite holds for all three.
 *
 * All ranks start the same sums in the same order, one at a time. When `sum` has resolved every rank holds the same bits,
 * and the vector is the caller's again; when it has rejected, the generation must be given up.
 */
import { IsoergError } from "../util/error.js";
import { allReduce, canGoWhole } from "./all-reduce.js";
import { allReduceBf16, EXACT_LENGTH, Residuals } from "./bf16-ring.js";
import { type Algorithm, type CostConstants, fastest } from "./cost-model.js";
import { allReduceByPeers } from "./peer-reduce.js";
import type { PeerTransport } from "./peer-transport.js";
import type { StreamAlgorithm } from "./stream-plan.js";
import type { StreamSums } from "./stream-sums.js";
import type { RingTransport, SumTag } from "./transport.js";

/** TCP driven by native code, or ZeroMQ. */
export type Carrier = "streams" | "zeromq";

export interface Summation extends AsyncDisposable {
  readonly way: "ring" | "host" | "hosts";
  /** What carries sums between hosts, where any do. */
  readonly carrier: Carrier | null;
  /** In place. */
  sum(values: Float32Array, tag: SumTag): Promise<void>;
  /** Ends pending and later sums with this reason. */
  interrupt(reason: Error): void;
}

export interface NetworkOptions {
  /** Connections to partners at distances; null where there is only the ring. */
  readonly peers?: PeerTransport | null;
  /** Connections that native code drives; null or left out where there are none. They belong to the ring's transport, and end with it. */
  readonly streams?: StreamSums | null;
  /** The same on all ranks. */
  readonly cost?: CostConstants;
  /** What long vectors travel as. Default fp32. */
  readonly wire?: "fp32" | "bf16";
}

/** Over the network, by the algorithm that the cost model says is the fastest for this length. */
export function sumOverNetwork(
  transport: RingTransport,
  { peers = null, streams = null, cost, wire = "fp32" }: NetworkOptions = {},
): Pick<Summation, "sum"> {
  if (streams && wire === "fp32") return sumOverStreams(transport, streams, cost);
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

/** By native code; the ring is only watched, for its end is theirs. */
function sumOverStreams(transport: RingTransport, streams: StreamSums, cost: CostConstants | undefined): Pick<Summation, "sum"> {
  void transport.ended.then((reason) => streams.lose(reason));
  return {
    async sum(values, tag) {
      try {
        await streams.sum(values, { ...tag, algorithm: chooseForStreams(values.length, transport.place.worldSize, cost) });
      } catch (error) {
        transport.interrupt(error instanceof Error ? error : new IsoergError("NETWORK", String(error)));
        throw error;
      }
    },
  };
}

/** Pure; without the ring's way for short vectors, which partners at distances do in fewer hops. */
export function chooseForStreams(numValues: number, worldSize: number, constants?: CostConstants): StreamAlgorithm {
  const among: readonly StreamAlgorithm[] = worldSize >= MIN_RANKS_FOR_HALVING ? ["doubling", "halving", "ring"] : ["doubling", "ring"];
  return fastest(numValues, worldSize, { among, ...(constants && { constants }) }) as StreamAlgorithm;
}

/** Between two or three, halving does what the ring does. */
const MIN_RANKS_FOR_HALVING = 4;

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

export function carrierOf({ streams, wire = "fp32" }: NetworkOptions): Carrier {
  return streams && wire === "fp32" ? "streams" : "zeromq";
}

/** Every sum goes over the network, between all ranks. */
export function sumOverRing(transport: RingTransport, options: NetworkOptions = {}): Summation {
  return {
    way: "ring",
    carrier: carrierOf(options),
    sum: sumOverNetwork(transport, options).sum,
    interrupt(reason) {
      options.streams?.interrupt(reason);
      transport.interrupt(reason);
      options.peers?.interrupt(reason);
    },
    async [Symbol.asyncDispose]() {
      options.streams?.interrupt(new IsoergError("STOPPED", `the sums of generation ${transport.place.generation} are over`));
      await options.peers?.[Symbol.asyncDispose]();
      await transport[Symbol.asyncDispose]();
    },
  };
}
