/**
 * How much of what is generated looks real (precision) and how much of what is real can be generated (recall), in a feature space:
 * a manifold is the union of balls around its samples, each as wide as the distance to the k-th nearest of the others
 * (Kynkäänniemi et al. 2019, improved precision and recall). Both depend on the number of samples, which is kept with them.
 */
import { invariant } from "../../util/error.js";
import type { Features } from "./frechet.js";

export interface PrecisionRecall {
  readonly precision: number;
  readonly recall: number;
  readonly neighbours: number;
  readonly numReal: number;
  readonly numGenerated: number;
}

/** @param options.neighbours k; 3 in the paper. */
export function precisionRecall(real: Features, generated: Features, options: { neighbours?: number } = {}): PrecisionRecall {
  const { neighbours = 3 } = options;
  invariant(real.numFeatures === generated.numFeatures, "features of two sizes are not comparable");
  invariant(real.numSamples > neighbours && generated.numSamples > neighbours, `${neighbours} neighbours need more samples than that`);
  return {
    precision: covered(generated, real, neighbours),
    recall: covered(real, generated, neighbours),
    neighbours,
    numReal: real.numSamples,
    numGenerated: generated.numSamples,
  };
}

/** Share of `points` inside the manifold of `centres`. */
function covered(points: Features, centres: Features, k: number): number {
  const radii = squaredRadii(centres, k);
  let inside = 0;
  for (let i = 0; i < points.numSamples; i++) {
    for (let j = 0; j < centres.numSamples; j++) {
      const radius = radii[j] as number;
      if (squaredDistance(points, i, centres, j, radius) <= radius) {
        inside++;
        break;
      }
    }
  }
  return inside / points.numSamples;
}

/** Squared distance of each sample to its k-th nearest other one. */
export function squaredRadii(features: Features, k: number): Float64Array {
  const { numSamples } = features;
  const radii = new Float64Array(numSamples);
  const nearest = new Float64Array(k); // ascending
  for (let i = 0; i < numSamples; i++) {
    nearest.fill(Number.POSITIVE_INFINITY);
    for (let j = 0; j < numSamples; j++) {
      if (j === i) continue;
      const distance = squaredDistance(features, i, features, j, nearest[k - 1] as number);
      if (distance >= (nearest[k - 1] as number)) continue;
      let place = k - 1;
      for (; place > 0 && (nearest[place - 1] as number) > distance; place--) nearest[place] = nearest[place - 1] as number;
      nearest[place] = distance;
    }
    radii[i] = nearest[k - 1] as number;
  }
  return radii;
}

/** Gives up (with a value above `limit`) as soon as the sum is larger than the limit. */
function squaredDistance(a: Features, i: number, b: Features, j: number, limit: number): number {
  const size = a.numFeatures;
  const from = i * size;
  const other = j * size;
  let sum = 0;
  for (let f = 0; f < size; f++) {
    const difference = (a.values[from + f] as number) - (b.values[other + f] as number);
    sum += difference * difference;
    if ((f & 31) === 31 && sum > limit) return sum;
  }
  return sum;
}
