/**
 * What a training loop needs from the rest of the run, as blocking calls: its turns, the sum over all workers. A vote is cast, and
 * its verdict is a turn, so that the next step can be begun in between.
 *
 * The loop is synchronous on purpose: it owns a thread and a device and has nothing else to do. Behind this interface
 * stands either one worker alone in its process (`solo-link.ts`: dry runs, tests, benchmarks) or the link to a coordinator
 * and to peers (`../worker/`), which lives on another thread and never waits for this one.
 */

import type { StatePart } from "../checkpoint/state-part.js";
import type { Adjustment } from "../config/adjustment.js";
import type { Range } from "../util/range.js";
import type { Phase } from "./clock.js";

export type { Range, StatePart };

/** A place among the workers, for one generation. */
export interface Assignment {
  readonly generation: number;
  readonly rank: number;
  readonly worldSize: number;
  readonly step: number;
  /** Positions whose chains this worker advances and keeps. */
  readonly chains: Range;
  /** What the stability guard has changed of the configuration so far. */
  readonly adjustment: Adjustment;
}

/** This rank's part of one step's global batch. */
export interface StepSlice {
  readonly step: number;
  readonly epoch: number;
  readonly batchSize: number;
  readonly positions: Range;
  readonly ids: Uint32Array;
  readonly labels: Int32Array;
  /** uint8 [n,H,W,C] */
  readonly images: Uint8Array;
}

export type Turn =
  /**
   * Take this place. `state` is what to start from: parts of a checkpoint or of another worker, "fresh" for the seed's initial
   * state, "keep" for what the loop holds. `chains` are rows of positions that came from elsewhere.
   */
  | {
      readonly kind: "generation";
      readonly assignment: Assignment;
      readonly state: "fresh" | "keep" | readonly StatePart[];
      readonly chains: readonly StatePart[];
    }
  /** Copy out what others may need, with `offer`: all of it, or the chains only. */
  | { readonly kind: "offer"; readonly what: "everything" | "chains" }
  /** Hand over this worker's part of a checkpoint now, with `save`. */
  | { readonly kind: "save" }
  /**
   * Compute this step on this slice. `following` is the slice of the step after it, where it is there already: once this one is voted
   * on, what of the next needs nobody else may be begun. It counts when that step's turn comes. Arrays are valid until their step's vote.
   */
  | (StepSlice & { readonly kind: "step"; readonly dataWaitMs: number; readonly following: StepSlice | null })
  /** On the vote that was cast; the first turn after it. A step that did not commit comes again. */
  | ({ readonly kind: "verdict" } & Verdict)
  | { readonly kind: "stop"; readonly outcome: "finished" | "asked" | "failed"; readonly reason: string };

export interface Ballot {
  readonly ok: boolean;
  readonly fault: "none" | "collective" | "non-finite" | "engine";
  readonly reason: string;
  /** Of the parameters that the step was computed from. */
  readonly checksum: bigint;
  readonly metrics: Readonly<Record<string, number>>;
  readonly phasesMs: Readonly<Record<string, number>>;
}

export interface Verdict {
  readonly commit: boolean;
  readonly checkpoint: boolean;
  readonly reason: string;
}

/** The all-reduce could not be finished: a peer is gone or the generation is over. The step will come again. */
export class CollectiveInterrupted extends Error {
  override readonly name = "CollectiveInterrupted";
}

export interface Link {
  /** Waits for what to do next. */
  next(): Turn;
  /** Tells that the assignment's state is in place. */
  ready(assignment: Assignment): void;
  /** Memory that `sum` can work in without a copy (shared with the link's thread). */
  allocate(numFloats: number): Float32Array;
  /** Starts summing a range of allocated memory over all workers, in place; ranges are summed in the order they were started. */
  startSum(values: Float32Array): void;
  /** Waits for all sums started. Throws CollectiveInterrupted. */
  finishSums(): void;
  /** What carried the last sums, where that is known: told to people, and nothing depends on it. */
  carrier?(): string | null;
  /** Casts this worker's vote. The verdict is one of the next turns. */
  vote(ballot: Ballot): void;
  /** Hands this worker's part of a checkpoint over; the data is copied before the call returns. */
  save(parts: readonly StatePart[]): void;
  /** Hands over what an offer asked for; the data is copied before the call returns. */
  offer(parts: readonly StatePart[]): void;
  /** Says what the loop is doing, for heartbeats and status. Cheap. */
  phase(name: Phase): void;
}
