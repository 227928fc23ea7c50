/**
 * What ranks tell each other before the first step: who they are, and in which run and generation they believe to be.
 *
 * Each rank sends its hello to the next one, which sends it on, all the way round. A rank that has seen all of them, its own
 * included, knows that every neighbour is there and that the ring is closed. On the wire a hello is one message part, a
 * MessagePack map; a frame is two (`frames.ts`).
 *
 * Hellos come from whoever reaches the port, so they are not given to a general decoder (which knows extensions, announced lengths
 * and definitions that outlive a message): `decodeHello` reads the one form that `encodeHello` writes, byte for byte, and nothing else.
 */
import { Packr } from "msgpackr";
import type { RingPlace } from "./transport.js";

/** Of hello, frames and the agreement after them. Raised when one of them changes. */
export const RING_PROTOCOL = 3;

const MAX_HELLO_BYTES = 256;
const packr = new Packr({ useRecords: false });
const FIELDS = ["protocol", "run", "generation", "rank", "worldSize"] as const;
const utf8 = new TextDecoder();

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
  const reader = new HelloReader(bytes);
  if (!reader.beginMap(FIELDS.length)) return undefined;
  const values: number[] = [];
  for (const name of FIELDS) {
    const value = reader.key(name) ? reader.count() : undefined;
    if (value === undefined) return undefined;
    values.push(value);
  }
  if (!reader.isAtEnd) return undefined;
  const [protocol, run, generation, rank, worldSize] = values as [number, number, number, number, number];
  return rank < worldSize ? { protocol, run, generation, rank, worldSize } : undefined;
}

/** The few forms of the MessagePack specification that a hello is made of, each in the writer's one encoding. */
class HelloReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** map 16, which is what the writer takes for every map. */
  beginMap(numFields: number): boolean {
    if (this.#bytes.length < 3 || this.#bytes[0] !== 0xde || this.#view.getUint16(1) !== numFields) return false;
    this.#at = 3;
    return true;
  }

  /** fixstr */
  key(name: string): boolean {
    if (this.#bytes[this.#at] !== 0xa0 + name.length) return false;
    const from = this.#at + 1;
    this.#at = from + name.length;
    return utf8.decode(this.#bytes.subarray(from, this.#at)) === name;
  }

  /** A positive fixint, uint 8, 16 or 32: the shortest that holds the value. */
  count(): number | undefined {
    const first = this.#bytes[this.#at++];
    if (first === undefined) return undefined;
    if (first < 0x80) return first;
    const width = first === 0xcc ? 1 : first === 0xcd ? 2 : first === 0xce ? 4 : 0;
    if (width === 0 || this.#at + width > this.#bytes.length) return undefined;
    const at = this.#at;
    this.#at += width;
    const value = width === 1 ? this.#view.getUint8(at) : width === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
    const shortest = value < 0x80 ? 0 : value < 0x100 ? 1 : value < 0x10000 ? 2 : 4;
    return width === shortest ? value : undefined;
  }
}
