/**
 * A 64-bit checksum of float32 bits, to show that two processes hold the same parameters: two 32-bit lanes with different
 * multipliers over all words, mixed at the end as in MurmurHash3. Against accident, not against malice.
 */
export function checksum(values: Float32Array): bigint {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let a = 0x9747b28c ^ words.length;
  let b = 0x3c6ef372;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as number;
    a = Math.imul(a ^ word, 0xcc9e2d51);
    a = (a << 15) | (a >>> 17);
    b = Math.imul(b + word, 0x1b873593) ^ (a >>> 13);
  }
  return (BigInt(finish(a)) << 32n) | BigInt(finish(b));
}

function finish(h: number): number {
  let x = h ^ (h >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
