/**
 * The nearest training image of each generated one, to show that samples are no copies. A distance alone says little, so test images,
 * which can't be copies, are measured in the same way beside them.
 *
 * Candidates are found by one matrix product for each block of training data; the distance that is kept is computed from the candidate's own
 * numbers in float64, since |a|^2 + |b|^2 - 2ab loses all digits where the distance is small, which is where it matters.
 */
import * as tf from "@tensorflow/tfjs-core";
import { invariant } from "../../util/error.js";
import { quantile, sorted } from "../../util/quantile.js";
import type { Features } from "./frechet.js";

export interface Nearest {
  /** Root of the mean squared difference to the nearest one, by query. */
  readonly distance: Float64Array;
  /** Which one that is. */
  readonly index: Int32Array;
}

export interface NearestSearch {
  /** Candidates that come next; indices count on. */
  add(candidates: Features): void;
  readonly result: Nearest;
  readonly numCandidates: number;
}

/** Queries [n,d] against candidates that arrive in blocks. An engine must have been started. */
export function nearestSearch(queries: Features): NearestSearch {
  const { numSamples, numFeatures: size } = queries;
  const distance = new Float64Array(numSamples).fill(Number.POSITIVE_INFINITY);
  const index = new Int32Array(numSamples).fill(-1);
  let seen = 0;
  return {
    result: { distance, index },
    get numCandidates() {
      return seen;
    },
    add(candidates) {
      invariant(candidates.numFeatures === size, "queries and candidates of two sizes");
      if (candidates.numSamples === 0) return;
      const winners = tf.tidy(() => {
        const q = tf.tensor2d(Float32Array.from(queries.values), [numSamples, size]);
        const c = tf.tensor2d(Float32Array.from(candidates.values), [candidates.numSamples, size]);
        // |q|^2 is the same for all candidates of a query.
        const scores = tf.sub(tf.sum(tf.square(c), 1), tf.mul(tf.matMul(q, c, false, true), 2));
        return tf.argMin(scores, 1).dataSync<"int32">();
      });
      for (let i = 0; i < numSamples; i++) {
        const winner = winners[i] as number;
        let sum = 0;
        for (let f = 0; f < size; f++) {
          sum += ((queries.values[i * size + f] as number) - (candidates.values[winner * size + f] as number)) ** 2;
        }
        const root = Math.sqrt(sum / size);
        if (root < (distance[i] as number)) {
          distance[i] = root;
          index[i] = seen + winner;
        }
      }
      seen += candidates.numSamples;
    },
  };
}

export interface NearestFigures {
  readonly numGenerated: number;
  readonly numTest: number;
  readonly generatedMedian: number;
  readonly testMedian: number;
  readonly generatedSmallest: number;
  readonly testSmallest: number;
  readonly nearerThanTest: number;
}

/** Distances of generated and of test samples to their nearest training sample. */
export function nearestFigures(generated: ArrayLike<number>, test: ArrayLike<number>): NearestFigures {
  const [g, t] = [sorted(generated), sorted(test)];
  const close = quantile(t, 0.01);
  return {
    numGenerated: g.length,
    numTest: t.length,
    generatedMedian: quantile(g, 0.5),
    testMedian: quantile(t, 0.5),
    generatedSmallest: g[0] as number,
    testSmallest: t[0] as number,
    nearerThanTest: g.filter((value) => value < close).length / g.length,
  };
}
