/**
 * Who sends what when in a ring all-reduce: pure, the same on every rank, no bytes and no clock.
 *
 * The vector is cut into one segment per rank. In the first worldSize - 1 rounds (reduce-scatter) partial sums travel round the
 * ring: in round k rank r sends segment r - k and adds what it receives to segment r - k - 1, so that in the end it owns the
 * full sum of segment r + 1. In as many rounds more (all-gather) the full sums travel on. Each rank sends 2 (P-1)/P of the
 * vector, which no all-reduce can beat (Patarasuk & Yuan 2009). Segments are cut into chunks, which go on as soon as they
 * are done: a chunk received in a round is the chunk sent in the next.
 */
import { invariant } from "../util/error.js";

/** Half-open range of elements. */
export interface ElementRange {
  readonly from: number;
  readonly to: number;
}

export interface RingShape {
  readonly rank: number;
  readonly worldSize: number;
  readonly numValues: number;
  /** Elements of the longest chunk. */
  readonly chunkLength: number;
}

/** What is done with a received chunk: added to this rank's, added and thereby complete, or put in its place. */
export type Action = "add" | "complete" | "replace";

export interface Transfer extends ElementRange {
  readonly round: number;
  readonly chunk: number;
}

export interface Arrival extends Transfer {
  readonly action: Action;
  /** Whether the chunk, as it then stands, is sent to the next rank as `round + 1`. */
  readonly sendOn: boolean;
}

/** Segments are as equal as can be; some are empty when there are fewer values than ranks. */
export function segmentRange(shape: RingShape, segment: number): ElementRange {
  const { worldSize, numValues } = shape;
  return { from: Math.floor((segment * numValues) / worldSize), to: Math.floor(((segment + 1) * numValues) / worldSize) };
}

/** What this rank sends of its own accord: its own segment, as round 0. All else that it sends is an arrival sent on. */
export function* ringDepartures(shape: RingShape): Generator<Transfer> {
  check(shape);
  if (shape.worldSize > 1) yield* chunksOf(shape, shape.rank, 0);
}

/** What this rank receives, in the order in which the previous rank sends it. */
export function* ringArrivals(shape: RingShape): Generator<Arrival> {
  check(shape);
  const { rank, worldSize } = shape;
  const numReducing = worldSize - 1;
  for (let round = 0; round < 2 * numReducing; round++) {
    // Both phases are one walk: the segment received falls by one each round.
    const segment = modulo(rank - 1 - round, worldSize);
    const action = round < numReducing - 1 ? "add" : round === numReducing - 1 ? "complete" : "replace";
    const sendOn = round + 1 < 2 * numReducing;
    for (const transfer of chunksOf(shape, segment, round)) yield { ...transfer, action, sendOn };
  }
}

function* chunksOf(shape: RingShape, segment: number, round: number): Generator<Transfer> {
  const { from, to } = segmentRange(shape, segment);
  for (let start = from, chunk = 0; start < to; start += shape.chunkLength, chunk++) {
    yield { round, chunk, from: start, to: Math.min(start + shape.chunkLength, to) };
  }
}

function check({ rank, worldSize, numValues, chunkLength }: RingShape): void {
  invariant(Number.isInteger(worldSize) && worldSize >= 1, `world size ${worldSize}`);
  invariant(Number.isInteger(rank) && rank >= 0 && rank < worldSize, `rank ${rank} of ${worldSize}`);
  invariant(Number.isInteger(numValues) && numValues >= 0, `${numValues} values`);
  invariant(Number.isInteger(chunkLength) && chunkLength >= 1, `chunks of ${chunkLength} values`);
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
