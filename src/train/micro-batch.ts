/**
 * A slice cut into chunks that go through the network one after the other, so that memory is bounded by the chunk.
 *
 * Every sample's result is its own, so cutting changes nothing but the order of sums. The one exception is a norm whose
 * statistics are over groups of samples: chunks must then be made of whole groups, which `checkMicroBatch` asks.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";

/** Consecutive ranges of at most `microBatch` (null: all) that cover 0..n. None for n = 0. */
export function chunksOf(n: number, microBatch: number | null): Range[] {
  const size = microBatch ?? n;
  const chunks: Range[] = [];
  for (let from = 0; from < n; from += size) chunks.push({ from, to: Math.min(n, from + size) });
  return chunks;
}

/** @throws IsoergError CONFIG unless chunks hold whole groups of a norm that takes its statistics over `groupSize` samples. */
export function checkMicroBatch(microBatch: number | null, groupSize: number): void {
  if (microBatch === null || microBatch % groupSize === 0) return;
  throw new IsoergError("CONFIG", `memory.microBatch is ${microBatch}, which is no multiple of the norm's groups of ${groupSize} samples`, {
    hint: `take ${Math.max(1, Math.round(microBatch / groupSize)) * groupSize}`,
  });
}

/** `make` of each chunk [m,H,W,C] of `x` [n,H,W,C], put together again. `x` stays the caller's; n is at least 1. */
export function byChunks(x: Tensor4D, microBatch: number | null, make: (chunk: Tensor4D, range: Range) => Tensor4D): Tensor4D {
  const chunks = chunksOf(x.shape[0], microBatch);
  if (chunks.length === 1) return make(x, chunks[0] as Range);
  const results = chunks.map((range) => {
    const chunk = rows(x, range);
    const result = make(chunk, range);
    chunk.dispose();
    return result;
  });
  const whole = tf.concat(results, 0) as Tensor4D;
  tf.dispose(results);
  return whole;
}

/** Samples from..to of x; of all of them a second handle. */
export function rows(x: Tensor4D, { from, to }: Range): Tensor4D {
  if (to - from === x.shape[0]) return x.clone();
  return tf.slice(x, [from, 0, 0, 0], [to - from, ...x.shape.slice(1)]) as Tensor4D;
}
