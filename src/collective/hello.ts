/**
 * What ranks tell each other before the first step: who they are, and in which run and generation they believe to be.
 *
 * Each rank sends its hello to the next one, which sends it on, all the way round. A rank that has seen all of them, its own
 * included, knows that every neighbour is there and that the ring is closed. On the wire a hello is one message part, a
 * MessagePack map; a frame is two (`frames.ts`).
 */
import { Packr, Unpackr } from "msgpackr";
import type { RingPlace } from "./transport.js";

/** Of hello, frames and the agreement after them. Raised when one of them changes. */
export const RING_PROTOCOL = 2;

const MAX_HELLO_BYTES = 256;
const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

export interface Hello extends RingPlace {
  readonly protocol: number;
}

export function encodeHello(place: RingPlace): Uint8Array {
  const { run, generation, rank, worldSize } = place;
  return packr.pack({ protocol: RING_PROTOCOL, run, generation, rank, worldSize } satisfies Hello);
}

/** Undefined for anything that isn't a hello. */
export function decodeHello(bytes: Uint8Array): Hello | undefined {
  if (bytes.byteLength === 0 || bytes.byteLength > MAX_HELLO_BYTES) return undefined;
  let value: unknown;
  try {
    value = unpackr.unpack(bytes);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const [protocol, run, generation, rank, worldSize] = ["protocol", "run", "generation", "rank", "worldSize"].map((name) => fields[name]);
  if (!isCount(protocol) || !isCount(run) || !isCount(generation) || !isCount(rank) || !isCount(worldSize)) return undefined;
  return rank < worldSize ? { protocol, run, generation, rank, worldSize } : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}
