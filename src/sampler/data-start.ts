/**
 * Chains that begin at images of the step's own global batch (contrastive divergence, Hinton 2002). Which image, is drawn by the
 * chain's position; it may lie in another worker's slice, so the images travel through a sum to which each worker adds those
 * that it has. Adding zeros changes no bit: every cut of the batch gives the same starts.
 *
 * The sum carries one image for each chain of the global batch, in every step: small beside a large network's gradient.
 */
import { draws } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { invariant } from "../util/error.js";
import type { Start } from "./start.js";

export interface DataStartsOptions {
  readonly seed: bigint;
  /** Over all workers. */
  readonly numChains: number;
  readonly sampleSize: number;
  /** Sums values over all workers, in place, and waits for it. */
  readonly sumOverWorkers: (values: Float32Array) => void;
}

/** This worker's slice of the step's batch. */
export interface BatchSlice {
  /** [n*H*W*C] in [0,1] */
  readonly images: Float32Array;
  /** Its first sample's position, and the samples of the whole batch. */
  readonly from: number;
  readonly total: number;
}

export class DataStarts {
  readonly #options: DataStartsOptions;
  readonly #images: Float32Array; // [chains, H*W*C]
  #step = -1;

  constructor(options: DataStartsOptions) {
    this.#options = options;
    this.#images = new Float32Array(options.numChains * options.sampleSize);
  }

  /** Every worker calls this in every generative step, before chains are taken. */
  gather(step: number, slice: BatchSlice): void {
    const { seed, numChains, sampleSize, sumOverWorkers } = this.#options;
    const numSamples = slice.images.length / sampleSize;
    this.#images.fill(0);
    for (let chain = 0; chain < numChains; chain++) {
      const source = draws({ seed, purpose: PURPOSE.dataStart, step, position: chain }).below(slice.total) - slice.from;
      if (source < 0 || source >= numSamples) continue;
      this.#images.set(slice.images.subarray(source * sampleSize, (source + 1) * sampleSize), chain * sampleSize);
    }
    sumOverWorkers(this.#images);
    this.#step = step;
  }

  /** The start of the chain at a position, in the step that was gathered last. */
  readonly start: Start = (out, { position, step }, classIndex) => {
    invariant(step === this.#step, `starts of step ${step} are asked for, those of step ${this.#step} were gathered`);
    const { sampleSize } = this.#options;
    out.set(this.#images.subarray(position * sampleSize, (position + 1) * sampleSize));
    return { classIndex: classIndex ?? 0 };
  };
}
