/**
 * float32 to bfloat16 and back: the upper half of the bits, rounded to nearest, ties to even. Infinities stay, a NaN stays a NaN.
 *
 * Two bfloat16 lie in the place of one float32, so that a frame carries them as it carries any vector.
 */

/** How many float32 hold so many bfloat16. */
export function packedLength(numValues: number): number {
  return Math.ceil(numValues / 2);
}

/** `residual[i]` becomes what rounding took from `values[i]`; zero where that is no number. */
export function packBf16(values: Float32Array, into: Float32Array, residual: Float32Array): void {
  const bits = new Uint32Array(1);
  const number = new Float32Array(bits.buffer);
  const halves = new Uint16Array(into.buffer, into.byteOffset, 2 * into.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    number[0] = value;
    const word = bits[0] as number;
    const isNumber = !Number.isNaN(value);
    const half = isNumber ? ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff : (word >>> 16) | 0x40;
    halves[i] = half;
    bits[0] = half << 16;
    const lost = value - (number[0] as number);
    residual[i] = Number.isFinite(lost) ? lost : 0;
  }
}

export function unpackBf16(packed: Float32Array, into: Float32Array): void {
  const halves = new Uint16Array(packed.buffer, packed.byteOffset, 2 * packed.length);
  const words = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < words.length; i++) words[i] = (halves[i] as number) << 16;
}

/** target[i] += the i-th bfloat16, in float32. */
export function addBf16(target: Float32Array, packed: Float32Array): void {
  const halves = new Uint16Array(packed.buffer, packed.byteOffset, 2 * packed.length);
  const bits = new Uint32Array(1);
  const number = new Float32Array(bits.buffer);
  for (let i = 0; i < target.length; i++) {
    bits[0] = (halves[i] as number) << 16;
    target[i] = (target[i] as number) + (number[0] as number);
  }
}
