/**
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011), checked against the vectors published with Random123.
 *
 * There is no state: a value is a function of (seed, purpose, step, inner, position, index in the row). So it is the same
 * on every worker, at every world size and after every resume, and no worker draws what it does not need.
 *
 *   key     = (seed low 32 bits, seed high 32 bits)
 *   counter = (block in the row, position, step, purpose * 2^24 + inner)
 *   block b gives the four words of values 4b .. 4b+3 of the row
 *   uniform = (word >>> 8) * 2^-24, in [0,1), exact in float32
 *   normal  = Box & Muller on the pairs (u0,u1), (u2,u3), in float64, rounded to float32
 */
import { invariant } from "../../util/error.js";

/** Of one kind of draw. `purpose` is below 256, `inner` (draws of one purpose within a step) below 2^24, `step` below 2^32. */
export interface StreamKey {
  readonly seed: bigint;
  readonly purpose: number;
  readonly step: number;
  readonly inner?: number;
}

/** One row: the stream of one global position. */
export interface RowKey extends StreamKey {
  readonly position: number;
}

/** Many rows: the streams of these global positions, in this order. */
export interface RowsKey extends StreamKey {
  readonly positions: ArrayLike<number>;
}

const TWO_TO_MINUS_24 = 2 ** -24;

/** Writes the four words of one Philox4x32-10 block into `out[0..3]`. Arguments are taken modulo 2^32. */
export function philox4x32(c0: number, c1: number, c2: number, c3: number, k0: number, k1: number, out: Uint32Array): void {
  for (let round = 0; round < 10; round++) {
    // Both products are 32 x 32 -> 64 bits. The high halves are put together from 16-bit limbs, all in wrapping 32-bit arithmetic.
    const aLow = c0 & 0xffff;
    const aHigh = c0 >>> 16;
    const a1 = (Math.imul(aHigh, 0x1f53) + (Math.imul(aLow, 0x1f53) >>> 16)) | 0;
    const a2 = (Math.imul(aLow, 0xd251) + (a1 & 0xffff)) | 0;
    const high0 = (Math.imul(aHigh, 0xd251) + (a1 >>> 16) + (a2 >>> 16)) | 0;
    const low0 = Math.imul(c0, 0xd2511f53);

    const bLow = c2 & 0xffff;
    const bHigh = c2 >>> 16;
    const b1 = (Math.imul(bHigh, 0x8d57) + (Math.imul(bLow, 0x8d57) >>> 16)) | 0;
    const b2 = (Math.imul(bLow, 0xcd9e) + (b1 & 0xffff)) | 0;
    const high1 = (Math.imul(bHigh, 0xcd9e) + (b1 >>> 16) + (b2 >>> 16)) | 0;
    const low1 = Math.imul(c2, 0xcd9e8d57);

    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** Fills a row with uniform values in [0,1). */
export function fillUniform(out: Float32Array, at: RowKey): void {
  uniformRow(out, 0, out.length, at.position, words(at));
}

/** Fills a row with standard normal values. */
export function fillNormal(out: Float32Array, at: RowKey): void {
  normalRow(out, 0, out.length, at.position, words(at));
}

/** Fills `out` [positions.length, size] with uniform values, each row from the stream of its position. */
export function fillUniformRows(out: Float32Array, at: RowsKey): void {
  eachRow(out, at, uniformRow);
}

/** Fills `out` [positions.length, size] with standard normal values, each row from the stream of its position. */
export function fillNormalRows(out: Float32Array, at: RowsKey): void {
  eachRow(out, at, normalRow);
}

/** A sequence of host decisions (a coin, an offset, a choice), read in order from the row of one position. */
export interface Draws {
  uint32(): number;
  /** In [0,1), a multiple of 2^-24. */
  uniform(): number;
  /** An integer in 0..n-1, each exactly as likely; n is 1..2^32. */
  below(n: number): number;
}

export function draws(at: RowKey): Draws {
  const { k0, k1, step, tag } = words(at);
  const { position } = at;
  const block = new Uint32Array(4);
  let index = 0;
  const uint32 = (): number => {
    if ((index & 3) === 0) philox4x32(index >>> 2, position, step, tag, k0, k1, block);
    return block[index++ & 3] as number;
  };
  return {
    uint32,
    uniform: () => (uint32() >>> 8) * TWO_TO_MINUS_24,
    below(n) {
      invariant(Number.isInteger(n) && n >= 1 && n <= 2 ** 32, `below(${n}) has no value`);
      // Words at or above the largest multiple of n would favour the small remainders: draw again.
      const limit = 2 ** 32 - (2 ** 32 % n);
      let word = uint32();
      while (word >= limit) word = uint32();
      return word % n;
    },
  };
}

/** The parts of key and counter that a stream's rows share, as 32-bit words. */
interface Words {
  readonly k0: number;
  readonly k1: number;
  readonly step: number;
  readonly tag: number;
}

function words(key: StreamKey): Words {
  const { seed, purpose, step, inner = 0 } = key;
  invariant(Number.isInteger(purpose) && purpose >= 0 && purpose < 256, `random purpose ${purpose} is not in 0..255`);
  invariant(Number.isInteger(inner) && inner >= 0 && inner < 2 ** 24, `inner step ${inner} is not in 0..2^24-1`);
  invariant(Number.isInteger(step) && step >= 0 && step < 2 ** 32, `step ${step} is not in 0..2^32-1`);
  return {
    k0: Number(seed & 0xffffffffn) | 0,
    k1: Number((seed >> 32n) & 0xffffffffn) | 0,
    step: step | 0,
    tag: (purpose * 2 ** 24 + inner) | 0,
  };
}

type FillRow = (out: Float32Array, from: number, to: number, position: number, words: Words) => void;

function eachRow(out: Float32Array, at: RowsKey, fill: FillRow): void {
  const numRows = at.positions.length;
  if (numRows === 0) return;
  const size = out.length / numRows;
  invariant(Number.isInteger(size), `${out.length} values can't be cut into ${numRows} rows`);
  const shared = words(at);
  for (let row = 0; row < numRows; row++) fill(out, row * size, (row + 1) * size, at.positions[row] as number, shared);
}

// Host code is single-threaded and neither filler re-enters itself, so one scratch block serves all.
const scratch = new Uint32Array(4);

function uniformRow(out: Float32Array, from: number, to: number, position: number, { k0, k1, step, tag }: Words): void {
  for (let i = from, block = 0; i < to; i += 4, block++) {
    philox4x32(block, position, step, tag, k0, k1, scratch);
    const end = Math.min(4, to - i);
    for (let j = 0; j < end; j++) out[i + j] = ((scratch[j] as number) >>> 8) * TWO_TO_MINUS_24;
  }
}

function normalRow(out: Float32Array, from: number, to: number, position: number, { k0, k1, step, tag }: Words): void {
  for (let i = from, block = 0; i < to; i += 4, block++) {
    philox4x32(block, position, step, tag, k0, k1, scratch);
    for (let j = 0; j < 4 && i + j < to; j += 2) {
      // The half keeps the logarithm finite; the largest |value| is then 5.9.
      const radius = Math.sqrt(-2 * Math.log((((scratch[j] as number) >>> 8) + 0.5) * TWO_TO_MINUS_24));
      const angle = 2 * Math.PI * (((scratch[j + 1] as number) >>> 8) * TWO_TO_MINUS_24);
      out[i + j] = radius * Math.cos(angle);
      if (i + j + 1 < to) out[i + j + 1] = radius * Math.sin(angle);
    }
  }
}
