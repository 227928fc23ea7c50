/**
 * The memory of one gradient on its way to the sum over all workers: flat, shared with the link, with the step's figures behind it,
 * so that one all-reduce carries both. Which gradients a step takes is in `step-gradient.ts`.
 *
 * A backward pass writes from the last layer to the first. As soon as a bucket's worth is final its sum is started, while the
 * layers before it are still being computed.
 */
import type { Figures } from "../objective/objective.js";
import { invariant } from "../util/error.js";
import type { Range } from "../util/range.js";
import type { Link } from "./link.js";

/** Room for the figures of a step. */
const MAX_FIGURES = 64;
/** 1 MiB: large enough that a message's cost vanishes, small enough that sums start early. */
const BUCKET_FLOATS = 256 * 1024;

export interface GradientOptions {
  /** Sums the figures by themselves, for a network that rounds long vectors. */
  readonly figuresApart?: boolean;
  /** Where the model's running statistics stand. */
  readonly statistics?: readonly Range[];
}

export class Gradient {
  /** dL/dparameters: this worker's share before the sums, the whole after them. */
  readonly values: Float32Array;
  /** After the sums: what is to be taken from running statistics, 0 elsewhere; null where the model has none. */
  readonly statistics: Float32Array | null;
  readonly #link: Link;
  readonly #memory: Float32Array;
  readonly #figuresApart: boolean;
  readonly #statisticRanges: readonly Range[];
  /** Where the part begins whose sum has been started. */
  #started = 0;
  #keys: readonly string[] = [];

  constructor(numParameters: number, link: Link, { figuresApart = false, statistics = [] }: GradientOptions = {}) {
    this.#link = link;
    this.#figuresApart = figuresApart;
    this.#statisticRanges = statistics;
    this.statistics = statistics.length === 0 ? null : new Float32Array(numParameters);
    this.#memory = link.allocate(numParameters + MAX_FIGURES);
    this.values = this.#memory.subarray(0, numParameters);
  }

  /** Begins a step with its figures, which are complete before the backward pass. */
  begin(figures: Figures): void {
    this.#keys = Object.keys(figures);
    invariant(this.#keys.length <= MAX_FIGURES, `${this.#keys.length} figures in one step`);
    this.#memory.set(Object.values(figures), this.values.length);
    const end = this.values.length + this.#keys.length;
    this.#started = this.#figuresApart ? this.values.length : end;
    if (this.#figuresApart) this.#link.startSum(this.#memory.subarray(this.values.length, end));
  }

  /** Says that `values` is final from `from` to where the last call began. */
  readonly ready = (from: number): void => {
    if (from > 0 && this.#started - from < BUCKET_FLOATS) return;
    this.#link.startSum(this.#memory.subarray(from, this.#started));
    this.#started = from;
  };

  /** Waits for all sums, takes the running statistics' part out and returns the figures over the global batch. */
  finish(): Record<string, number> {
    invariant(this.#started === 0, "some gradients were never ready");
    this.#link.finishSums();
    for (const { from, to } of this.#statisticRanges) {
      this.statistics?.set(this.values.subarray(from, to), from);
      this.values.fill(0, from, to);
    }
    return Object.fromEntries(this.#keys.map((key, i) => [key, this.#memory[this.values.length + i] as number]));
  }
}
