/**
 * The plan: which samples make up the global batch of a step, and which part of it is whose.
 *
 * Pure functions of (seed, step) and of the sizes: every process computes the same plan alone, so that exactly-once needs no
 * ledger and recovery needs only the last committed step. An epoch is one permutation of the data set. It is made from
 * blocks of consecutive samples (an order of the blocks, and an order within each), so that a reader touches few shards
 * at a time; where the blocks begin is drawn anew for each epoch. The last batch of an epoch is smaller, never padded.
 * The world size appears in `slice` only.
 */
import type { Config } from "../config/schema.js";
import { draws } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { invariant } from "../util/error.js";
import type { Range } from "../util/range.js";

export interface PlanOptions {
  readonly numSamples: number;
  /** Samples of one shuffled block. */
  readonly shuffleBlock: number;
  /** Samples of one global batch. */
  readonly batchSize: number;
  readonly seed: bigint;
}

/** The plan of an experiment over so many samples. */
export function planOptionsOf({ data, seed }: Pick<Config, "data" | "seed">, numSamples: number): PlanOptions {
  return { numSamples, shuffleBlock: data.shuffleBlock, batchSize: data.batchSize, seed: BigInt(seed) };
}

/** The global batch of one step; the position of a sample is its index in `ids`. */
export interface Batch {
  readonly epoch: number;
  readonly indexInEpoch: number;
  /** Not to be changed: the plan may give it again. */
  readonly ids: Uint32Array;
}

/**
 * Cuts positions 0..total-1 into one contiguous range for each weight, in proportion to it, by rank. The ranges cover every position
 * once. A range may be empty. Cuts fall between groups of `groupSize` positions.
 */
export function slices(total: number, weights: readonly number[], groupSize = 1): Range[] {
  let sum = 0;
  for (const [rank, weight] of weights.entries()) {
    invariant(Number.isFinite(weight) && weight >= 0, `weight ${weight} of rank ${rank}`);
    sum += weight;
  }
  invariant(sum > 0, "all weights are zero");
  const groups = Math.ceil(total / groupSize);
  // Summed in the same order as the sum of all, so that the last range's end is `total` exactly.
  let through = 0;
  let from = 0;
  return weights.map((weight) => {
    through += weight;
    const to = Math.min(total, groupSize * Math.round((groups * through) / sum));
    const range = { from, to };
    from = to;
    return range;
  });
}

/** The range of one rank. */
export function slice(total: number, rank: number, weights: readonly number[], groupSize = 1): Range {
  const range = slices(total, weights, groupSize)[rank];
  invariant(range !== undefined, `rank ${rank} of ${weights.length}`);
  return range;
}

/** Steps in which each sample takes part once. */
export function stepsPerEpoch({ numSamples, batchSize }: Pick<PlanOptions, "numSamples" | "batchSize">): number {
  return Math.ceil(numSamples / batchSize);
}

/** Steps of a training of so many epochs (a fraction is allowed); at least one. */
export function numSteps(sizes: Pick<PlanOptions, "numSamples" | "batchSize">, epochs: number): number {
  return Math.max(1, Math.round(epochs * stepsPerEpoch(sizes)));
}

/** The global batch of a step, computed from nothing. Costs the blocks it touches; `createPlan` remembers them. */
export function batchOf(options: PlanOptions, step: number): Batch {
  return createPlan(options).batchOf(step);
}

export interface Plan {
  readonly options: PlanOptions;
  readonly stepsPerEpoch: number;
  batchOf(step: number): Batch;
}

/** The plan with a memory of the last batch, of one epoch's block order and of the last blocks, for a reader that goes through the steps. */
export function createPlan(options: PlanOptions): Plan {
  const { numSamples, shuffleBlock, batchSize } = options;
  for (const [name, value] of Object.entries({ numSamples, shuffleBlock, batchSize })) {
    invariant(Number.isInteger(value) && value >= 1 && value < 2 ** 32, `a plan with ${name} = ${value}`);
  }
  const steps = stepsPerEpoch(options);
  let last: { readonly step: number; readonly batch: Batch } | undefined;
  let order: EpochOrder | undefined;
  const blocks = new Map<number, Uint32Array>();
  const block = (epochOrder: EpochOrder, place: number): Uint32Array => {
    let ids = blocks.get(place);
    if (ids === undefined) {
      // A batch runs through consecutive places, so the oldest entry is the one that is done with.
      if (blocks.size >= 2) blocks.delete(blocks.keys().next().value as number);
      ids = blockIds(options, epochOrder, place);
      blocks.set(place, ids);
    }
    return ids;
  };
  return {
    options,
    stepsPerEpoch: steps,
    batchOf(step) {
      if (last?.step === step) return last.batch;
      invariant(Number.isInteger(step) && step >= 0, `the plan has no step ${step}`);
      const epoch = Math.floor(step / steps);
      if (order?.epoch !== epoch) {
        order = epochOrder(options, epoch);
        blocks.clear();
      }
      const indexInEpoch = step % steps;
      const from = indexInEpoch * batchSize;
      const ids = new Uint32Array(Math.min(batchSize, numSamples - from));
      for (let done = 0; done < ids.length; ) {
        const { place, offset } = locate(options, order, from + done);
        const part = block(order, place).subarray(offset, offset + ids.length - done);
        ids.set(part, done);
        done += part.length;
      }
      last = { step, batch: { epoch, indexInEpoch, ids } };
      return last.batch;
    },
  };
}

/** Where an epoch's blocks begin and in which order they come. The last block may be short. */
interface EpochOrder {
  readonly epoch: number;
  /** Id of the first sample of block 0; blocks go on from there, around the end of the data set. */
  readonly rotation: number;
  readonly blockAt: Uint32Array;
  /** Place in the order of the last block, the only one that may be short. */
  readonly placeOfLast: number;
}

function epochOrder({ numSamples, shuffleBlock, seed }: PlanOptions, epoch: number): EpochOrder {
  const random = draws({ seed, purpose: PURPOSE.shuffle, step: epoch, inner: 0, position: 0 });
  const rotation = random.below(numSamples);
  const blockAt = shuffled(Math.ceil(numSamples / shuffleBlock), (i) => i, random.below);
  return { epoch, rotation, blockAt, placeOfLast: blockAt.indexOf(blockAt.length - 1) };
}

/** The sample ids of the block at a place of the epoch's order, shuffled. */
function blockIds({ numSamples, shuffleBlock, seed }: PlanOptions, order: EpochOrder, place: number): Uint32Array {
  const block = order.blockAt[place] as number;
  const first = block * shuffleBlock;
  const random = draws({ seed, purpose: PURPOSE.shuffle, step: order.epoch, inner: 1, position: block });
  return shuffled(Math.min(shuffleBlock, numSamples - first), (i) => (order.rotation + first + i) % numSamples, random.below);
}

/** Which block holds the i-th sample of the epoch. Only the places after the short block are moved by what it lacks. */
function locate(
  { numSamples, shuffleBlock }: PlanOptions,
  { blockAt, placeOfLast }: EpochOrder,
  i: number,
): { place: number; offset: number } {
  const lacking = blockAt.length * shuffleBlock - numSamples;
  const endOfLast = (placeOfLast + 1) * shuffleBlock - lacking;
  const unshifted = i < endOfLast ? i : i + lacking;
  return { place: Math.floor(unshifted / shuffleBlock), offset: unshifted % shuffleBlock };
}

/** Fisher & Yates, inside out. */
function shuffled(length: number, valueAt: (i: number) => number, below: (n: number) => number): Uint32Array {
  const out = new Uint32Array(length);
  for (let i = 0; i < length; i++) {
    const j = below(i + 1);
    out[i] = out[j] as number;
    out[j] = valueAt(i);
  }
  return out;
}
