/**
 * The replay buffer: chains under way, by position (Du & Mordatch 2019; JEM).
 *
 * The buffer belongs to positions, not to workers: position p owns a row of slots, and every step it takes one of them (or
 * starts anew) by draws keyed by (seed, step, position). So a chain's history is the same for any number of workers, and a
 * worker holds exactly the rows of the positions it has. A slot that was never used starts from the initial distribution when
 * it is first taken.
 */
import type { StatePart } from "../checkpoint/state-part.js";
import type { SamplerConfig } from "../config/schema.js";
import { draws } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { invariant } from "../util/error.js";
import type { Range } from "../util/range.js";
import type { Start } from "./start.js";

/** Chains taken for one step, in the order of their positions. */
export interface TakenChains {
  readonly positions: Int32Array;
  readonly slots: Int32Array;
  /** The class whose E(x,y) each chain descends; null where they descend E(x). */
  readonly labels: Int32Array | null;
  /** [n*H*W*C] in [0,1] */
  readonly images: Float32Array;
  readonly numRestarted: number;
  /** Mean number of training steps that these chains have been under way. */
  readonly meanAge: number;
}

/** What `store` has overwritten: slots by position, their chains one after the other. */
export interface OverwrittenChains {
  readonly at: Int32Array;
  readonly images: Float32Array;
  readonly ages: Int32Array;
}

export class ReplayBuffer {
  readonly slotsPerPosition: number;
  readonly #seed: bigint;
  readonly #config: SamplerConfig;
  readonly #start: Start;
  readonly #sampleSize: number;
  readonly #numClasses: number;
  readonly #shape: readonly [number, number, number];
  #positions: Range = { from: 0, to: 0 };
  #chains = new Float32Array(0); // [positions, slots, H*W*C]
  #ages = new Int32Array(0); // [positions, slots]; 0: never used

  /** `numClasses` is read by class-conditional chains. */
  constructor(options: {
    seed: bigint;
    config: SamplerConfig;
    start: Start;
    shape: readonly [number, number, number];
    numClasses?: number;
  }) {
    this.#seed = options.seed;
    this.#config = options.config;
    this.#start = options.start;
    this.#shape = options.shape;
    this.#numClasses = options.numClasses ?? 1;
    this.#sampleSize = options.shape[0] * options.shape[1] * options.shape[2];
    this.slotsPerPosition = Math.max(1, Math.ceil(options.config.bufferSize / Math.max(1, options.config.chains)));
  }

  get positions(): Range {
    return this.#positions;
  }

  /** Forgets all chains, and holds no position. */
  clear(): void {
    this.#positions = { from: 0, to: 0 };
    this.#chains = new Float32Array(0);
    this.#ages = new Int32Array(0);
  }

  /** Takes over a range of positions: rows held already are kept, the others begin unused. Returns how many those are. */
  assign(positions: Range): number {
    const count = positions.to - positions.from;
    const chains = new Float32Array(count * this.#rowSize);
    const ages = new Int32Array(count * this.slotsPerPosition);
    const kept = { from: Math.max(positions.from, this.#positions.from), to: Math.min(positions.to, this.#positions.to) };
    const numKept = Math.max(0, kept.to - kept.from);
    if (numKept > 0) {
      const [target, source] = [kept.from - positions.from, kept.from - this.#positions.from];
      chains.set(this.#chains.subarray(source * this.#rowSize, (source + numKept) * this.#rowSize), target * this.#rowSize);
      ages.set(
        this.#ages.subarray(source * this.slotsPerPosition, (source + numKept) * this.slotsPerPosition),
        target * this.slotsPerPosition,
      );
    }
    this.#positions = positions;
    this.#chains = chains;
    this.#ages = ages;
    return count - numKept;
  }

  /** The chains of this step, one a position; those that start anew are drawn here. Changes nothing: `store` does. */
  take(step: number): TakenChains {
    const count = this.#positions.to - this.#positions.from;
    const taken = {
      positions: new Int32Array(count),
      slots: new Int32Array(count),
      labels: this.#config.conditional ? new Int32Array(count) : null,
      images: new Float32Array(count * this.#sampleSize),
    };
    let numRestarted = 0;
    let ageSum = 0;
    for (let i = 0; i < count; i++) {
      const position = this.#positions.from + i;
      const draw = draws({ seed: this.#seed, purpose: PURPOSE.chainPick, step, position });
      const slot = draw.below(this.slotsPerPosition);
      const restarts = draw.uniform() < this.#config.reinit;
      const image = taken.images.subarray(i * this.#sampleSize, (i + 1) * this.#sampleSize);
      const at = i * this.slotsPerPosition + slot;
      // A slot has one class for good, so a chain keeps its class without state; slots hold all classes alike.
      const label = this.#config.conditional ? (position + slot) % this.#numClasses : undefined;
      if (label !== undefined && taken.labels) taken.labels[i] = label;
      if (restarts || this.#ages[at] === 0) {
        this.#start(image, { seed: this.#seed, purpose: PURPOSE.chainStart, step, position }, label);
        numRestarted++;
      } else {
        image.set(this.#chains.subarray(at * this.#sampleSize, (at + 1) * this.#sampleSize));
        ageSum += this.#ages[at] as number;
      }
      taken.positions[i] = position;
      taken.slots[i] = restarts ? -1 - slot : slot;
    }
    return { ...taken, numRestarted, meanAge: count === 0 ? 0 : ageSum / count };
  }

  /** Puts the advanced chains back. `images` [n*H*W*C]. Returns what was there, for `goBack`. */
  store(taken: TakenChains, images: Float32Array): OverwrittenChains {
    const count = taken.positions.length;
    invariant(count === this.#positions.to - this.#positions.from, "chains are stored in the generation they were taken in");
    const before = { at: new Int32Array(count), images: new Float32Array(images.length), ages: new Int32Array(count) };
    const size = this.#sampleSize;
    taken.slots.forEach((mark, i) => {
      const restarted = mark < 0;
      const at = i * this.slotsPerPosition + (restarted ? -1 - mark : mark);
      const age = this.#ages[at] as number;
      before.at[i] = at;
      before.ages[i] = age;
      before.images.set(this.#chains.subarray(at * size, (at + 1) * size), i * size);
      this.#chains.set(images.subarray(i * size, (i + 1) * size), at * size);
      this.#ages[at] = restarted ? 1 : age + 1;
    });
    return before;
  }

  /** Takes the last `store` back: its step did not commit. */
  goBack({ at, images, ages }: OverwrittenChains): void {
    const size = this.#sampleSize;
    at.forEach((slot, i) => {
      this.#chains.set(images.subarray(i * size, (i + 1) * size), slot * size);
      this.#ages[slot] = ages[i] as number;
    });
  }

  /** This worker's rows of the checkpoint's `buffer` file. */
  save(): StatePart[] {
    const total = this.#config.chains;
    const row = this.#positions.from;
    return [
      { file: "buffer", tensor: "chains", dtype: "F32", shape: [total, this.slotsPerPosition, ...this.#shape], row, data: this.#chains },
      { file: "buffer", tensor: "ages", dtype: "I32", shape: [total, this.slotsPerPosition], row, data: this.#ages },
    ];
  }

  /** Takes over saved rows; those outside this worker's positions are passed over. */
  restore(parts: readonly StatePart[]): void {
    for (const part of parts) {
      if (part.file !== "buffer") continue;
      const target = part.tensor === "chains" ? this.#chains : this.#ages;
      const rowSize = part.tensor === "chains" ? this.#rowSize : this.slotsPerPosition;
      const from = Math.max(part.row, this.#positions.from);
      const to = Math.min(part.row + part.data.length / rowSize, this.#positions.to);
      if (to <= from) continue;
      const rows = part.data.subarray((from - part.row) * rowSize, (to - part.row) * rowSize);
      target.set(rows as Float32Array & Int32Array, (from - this.#positions.from) * rowSize);
    }
  }

  get #rowSize(): number {
    return this.slotsPerPosition * this.#sampleSize;
  }
}
