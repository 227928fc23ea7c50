/**
 * A rank's slices, read from the shards by the worker itself: the plan is pure, so it knows alone which samples are whose. Slices
 * are put together a few steps ahead, and shards asked for further ahead than that, so that a step doesn't wait for a download.
 *
 * The ballot names the samples that took part, and the coordinator holds them against its own plan: a worker that read otherwise
 * would be found out before the step commits. One object a generation; the data set, its memory and this host's cache outlive it.
 */
import type { Dataset } from "../data/dataset.js";
import { createPlan, type Plan, type PlanOptions, slice } from "../data/plan.js";
import { pixelsOf } from "../data/samples.js";
import type { StepSlice } from "../train/link.js";
import { IsoergError } from "../util/error.js";
import { AHEAD, type HeldSlice, SliceMemory, type SliceSource } from "./slices.js";

export interface ShardSlicesOptions {
  readonly dataset: Pick<Dataset, "read" | "shape" | "shardOf" | "warm">;
  readonly plan: PlanOptions;
  readonly numSteps: number;
  readonly fromStep: number;
  readonly rank: number;
  readonly weights: readonly number[];
  /** Of samples that slices don't part. */
  readonly groupSize: number;
  /** Shards asked for beside those of the slice at hand. */
  readonly aheadShards: number;
}

/** No further than this is looked for shards to ask for: where all samples lie in few, there is nothing to find. */
const MAX_STEPS_AHEAD = 1024;

export class ShardSlices implements SliceSource {
  readonly #options: ShardSlicesOptions;
  readonly #plan: Plan;
  readonly #ahead: Plan;
  readonly #memory = new SliceMemory();
  readonly #ready: HeldSlice[] = [];
  /** Shards that steps to come need, as far as they were looked at, and the last such step. */
  readonly #asked = new Map<number, number>();
  /** The first step whose shards were not looked at. */
  #lookedTo: number;
  #inUse: HeldSlice | undefined;
  #failure: Error | undefined;
  #changed: () => void = () => {};

  constructor(options: ShardSlicesOptions) {
    this.#options = options;
    this.#plan = createPlan(options.plan);
    this.#ahead = createPlan(options.plan);
    this.#lookedTo = options.fromStep;
    this.#run().catch((error: Error) => this.#fail(error));
  }

  async next(): Promise<StepSlice> {
    if (this.#inUse) this.#memory.giveBack(this.#inUse);
    this.#inUse = undefined;
    while (this.#ready.length === 0) {
      if (this.#failure) throw this.#failure;
      await this.#change();
    }
    this.#inUse = this.#ready.shift() as HeldSlice;
    this.#notify();
    return this.#inUse.slice;
  }

  get following(): StepSlice | null {
    return this.#ready[0]?.slice ?? null;
  }

  close(): void {
    this.#fail(new IsoergError("STOPPED", "the generation is over"));
  }

  async #run(): Promise<void> {
    const { dataset, numSteps, fromStep } = this.#options;
    const imageBytes = pixelsOf(dataset.shape);
    for (let step = fromStep; step < numSteps && !this.#failure; step++) {
      const { epoch, ids } = this.#plan.batchOf(step);
      const positions = this.#sliceOf(ids.length);
      const own = ids.subarray(positions.from, positions.to);
      this.#askAhead(step, own);
      const held = this.#memory.take({ step, epoch, batchSize: ids.length, positions, imageBytes: own.length * imageBytes });
      held.slice.ids.set(own);
      await dataset.read(own, held.slice);
      this.#ready.push(held);
      this.#notify();
      while (this.#ready.length >= AHEAD && !this.#failure) await this.#change();
    }
    this.#fail(new IsoergError("PROTOCOL", "samples were asked for after the last step"));
  }

  #sliceOf(total: number): { from: number; to: number } {
    const { rank, weights, groupSize } = this.#options;
    return slice(total, rank, weights, groupSize);
  }

  /** Looks along the plan until enough shards are asked for that later steps need and this one doesn't. */
  #askAhead(step: number, own: Uint32Array): void {
    const { dataset, numSteps, aheadShards } = this.#options;
    for (const [shard, last] of this.#asked) if (last <= step) this.#asked.delete(shard);
    const atHand = new Set(Array.from(own, (id) => dataset.shardOf(id)));
    let numAhead = [...this.#asked.keys()].filter((shard) => !atHand.has(shard)).length;
    const end = Math.min(numSteps, step + MAX_STEPS_AHEAD);
    for (this.#lookedTo = Math.max(this.#lookedTo, step + 1); this.#lookedTo < end && numAhead < aheadShards; this.#lookedTo++) {
      const { ids } = this.#ahead.batchOf(this.#lookedTo);
      const { from, to } = this.#sliceOf(ids.length);
      for (const id of ids.subarray(from, to)) {
        const shard = dataset.shardOf(id);
        if (!this.#asked.has(shard) && !atHand.has(shard)) {
          dataset.warm(shard);
          numAhead++;
        }
        this.#asked.set(shard, this.#lookedTo);
      }
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#notify();
  }

  #change(): Promise<void> {
    const before = this.#changed;
    return new Promise((resolve) => {
      this.#changed = () => {
        before();
        resolve();
      };
    });
  }

  #notify(): void {
    const changed = this.#changed;
    this.#changed = () => {};
    changed();
  }
}
