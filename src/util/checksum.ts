/**
 * A 64-bit checksum of float32 bits, to show that two processes hold the same parameters: four 32-bit lanes, each over every
 * fourth word, mixed at the end as in MurmurHash3. Four, because a lane's step waits for the one before it; a training computes one
 * over all parameters in every step. Each step of a lane is a bijection of the lane for a given word and of the word for a given lane, so
 * that one changed word always shows. Against accident, not against malice.
 */
export function checksum(values: Float32Array): bigint {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const numWords = words.length;
  const whole = numWords - (numWords % 4);
  let a = 0x9747b28c ^ numWords;
  let b = 0x3c6ef372;
  let c = 0xdaa66d2b | 0;
  let d = 0x78dde6e4;
  for (let i = 0; i < whole; i += 4) {
    a = mix(a, words[i] as number);
    b = mix(b, words[i + 1] as number);
    c = mix(c, words[i + 2] as number);
    d = mix(d, words[i + 3] as number);
  }
  for (let i = whole; i < numWords; i++) a = mix(a, words[i] as number);
  const high = finish(a ^ finish(c));
  const low = finish(b ^ finish(d ^ high));
  return (BigInt(high) << 32n) | BigInt(low);
}

/** MurmurHash3's step: multiplied by odd numbers and rotated. */
function mix(lane: number, word: number): number {
  const k = Math.imul(word, 0xcc9e2d51);
  const h = lane ^ Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(h: number): number {
  let x = h ^ (h >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
