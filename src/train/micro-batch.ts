/**
 * A slice cut into chunks that go through the network one after the other, so that memory is bounded by the chunk.
 *
 * Every sample's result is its own, so cutting changes nothing but the order of sums. The one exception is a norm whose
 * statistics are over groups of samples: chunks are then made of whole groups, and `memory.microBatch` is a multiple of their size.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Range } from "../util/range.js";

/** Consecutive ranges of at most `microBatch` (null: all) that cover 0..n. None for n = 0. */
export function chunksOf(n: number, microBatch: number | null): Range[] {
  const size = microBatch ?? n;
  const chunks: Range[] = [];
  for (let from = 0; from < n; from += size) chunks.push({ from, to: Math.min(n, from + size) });
  return chunks;
}

/**
 * Chunks of parts of so many samples, one after the other. They are cut as if they were one, unless a part ends within a group of
 * samples: then each part is cut by itself, so that no chunk ends within one.
 */
export function chunksOfParts(parts: readonly number[], microBatch: number | null, groupSize: number): Range[] {
  const n = parts.reduce((sum, rows) => sum + rows, 0);
  if (microBatch === null || parts.every((rows) => rows % groupSize === 0)) return chunksOf(n, microBatch);
  let begin = 0;
  return parts.flatMap((rows) => {
    const own = chunksOf(rows, microBatch).map(({ from, to }) => ({ from: begin + from, to: begin + to }));
    begin += rows;
    return own;
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
