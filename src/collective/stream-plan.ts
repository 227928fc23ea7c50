/**
 * A sum as programs for streams (`native-streams.ts`): what each rank sends and receives in which order, and no bytes. Pure.
 *
 * Who exchanges what is decided in `ring-plan.ts` and `peer-plan.ts`; here it is put into stages. The ring is one stage: a connection is
 * first in, first out, so its rounds need no bounds, and each byte can go on as soon as it has been added. An exchange is a stage of its own.
 */
import { hostOf } from "./data-address.js";
import { planPeers, roundOf } from "./peer-plan.js";
import { type ElementRange, type RingShape, ringArrivals, segmentRange } from "./ring-plan.js";

export type StreamAlgorithm = "ring" | "doubling" | "halving";

export interface StreamPiece extends ElementRange {
  /** Whether it is added to what is there, or takes its place. */
  readonly add: boolean;
}

/**
 * When a stage may send and receive: at any time; after its first piece only as much as it has received, since it sends that on; or
 * receive only as far as it has sent, since it adds where it sends from.
 */
export type StageOrder = "free" | "chained" | "guarded";

export interface StreamStage {
  /** Alike on both sides of a connection. */
  readonly round: number;
  readonly to: number | null;
  readonly from: number | null;
  readonly order: StageOrder;
  readonly send: readonly ElementRange[];
  readonly receive: readonly StreamPiece[];
}

export type StreamShape = Omit<RingShape, "chunkLength">;

export function planStreams(algorithm: StreamAlgorithm, shape: StreamShape): readonly StreamStage[] {
  if (shape.worldSize === 1 || shape.numValues === 0) return [];
  return algorithm === "ring" ? [ringStage(shape)] : peerStages(algorithm, shape);
}

function ringStage(shape: StreamShape): StreamStage {
  const { rank, worldSize, numValues } = shape;
  const arrivals = [...ringArrivals({ ...shape, chunkLength: numValues })];
  return {
    ...{ round: 0, to: (rank + 1) % worldSize, from: (rank + worldSize - 1) % worldSize, order: "chained" },
    send: [segmentRange({ ...shape, chunkLength: numValues }, rank), ...arrivals.filter(({ sendOn }) => sendOn).map(rangeOf)],
    receive: arrivals.map((arrival) => ({ ...rangeOf(arrival), add: arrival.action !== "replace" })),
  };
}

function peerStages(algorithm: "doubling" | "halving", shape: StreamShape): StreamStage[] {
  const moves = planPeers(algorithm, shape);
  return moves.map((move, index): StreamStage => {
    const round = roundOf(moves.length, index, shape.rank, shape.worldSize);
    const { partner } = move;
    switch (move.kind) {
      case "send":
        return { round, to: partner, from: null, order: "free", send: [move.range], receive: [] };
      case "receive":
        return { round, to: null, from: partner, order: "free", send: [], receive: [{ ...move.range, add: move.action === "add" }] };
      case "exchange": {
        const add = move.action === "add";
        const overlap = move.send.from < move.receive.to && move.receive.from < move.send.to;
        const receive = [{ ...move.receive, add }];
        return { round, to: partner, from: partner, order: overlap ? "guarded" : "free", send: [move.send], receive };
      }
      default:
        return move satisfies never;
    }
  });
}

/**
 * How long, in ms, a rank that waits for a neighbour looks again and again before it sleeps, at most; how much of that helps is found out on the
 * way. A neighbour that has a core of its own mostly answers within it, and to be woken takes as long; where ranks share cores, it takes a neighbour's time.
 */
export function maxSpinMs(endpoints: readonly string[], rank: number, numCores: number): number {
  const onHost = endpoints.filter((endpoint) => hostOf(endpoint) === hostOf(endpoints[rank] ?? ""));
  return onHost.length <= numCores ? 0.2 : 0.05;
}

function rangeOf({ from, to }: ElementRange): ElementRange {
  return { from, to };
}

const ORDERS: readonly StageOrder[] = ["free", "chained", "guarded"];

/** As native/streams_module.cc reads it: of each stage its round, to, from, order, the counts of its pieces, and then those as from, length (, add). */
export function encodeStages(stages: readonly StreamStage[]): Float64Array {
  const numbers: number[] = [];
  for (const { round, to, from, order, send, receive } of stages) {
    numbers.push(round, to ?? -1, from ?? -1, ORDERS.indexOf(order), send.length, receive.length);
    for (const piece of send) numbers.push(piece.from, piece.to - piece.from);
    for (const piece of receive) numbers.push(piece.from, piece.to - piece.from, piece.add ? 1 : 0);
  }
  return Float64Array.from(numbers);
}
