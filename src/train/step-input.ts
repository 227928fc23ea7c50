/** What one worker's training step is computed from; views are made of it, and the gradient from them. */
import type { Config } from "../config/schema.js";
import type { BoundModel } from "../model/model.js";
import type { Drives } from "../objective/drives.js";
import type { Objective } from "../objective/objective.js";
import type { Update } from "../optimizer/optimizer.js";
import type { TakenChains } from "../sampler/replay-buffer.js";
import type { PhaseClock } from "./clock.js";
import type { Gradient } from "./gradient.js";

/** The weights of a step under way, moved before the step is known to commit. */
export interface MovableWeights {
  /** The network at weights perturbed along the gradient over all workers (AWP, SAM), or null where none are; the caller disposes it. */
  perturbed(gradient: Float32Array, progress: number): BoundModel | null;
  /** Updates the weights and returns the network there. The state takes the update back where the step does not commit. */
  advance(update: Update): BoundModel;
}

export interface StepInput {
  readonly step: number;
  /** step / number of steps */
  readonly progress: number;
  readonly config: Config;
  readonly seed: bigint;
  readonly shape: readonly [number, number, number];
  readonly numClasses: number;
  /** This worker's slice of the global batch of `total` samples. A slice may be empty. */
  readonly clean: {
    /** As augmented, [n*H*W*C] in [0,1]. */
    readonly images: Float32Array;
    /** The same samples as they are in the data set. */
    readonly natural: () => Float32Array;
    readonly labels: Int32Array;
    /** Global positions of the samples. */
    readonly positions: Int32Array;
    readonly total: number;
  };
  /** This worker's chains, or null in a step without generative terms. */
  readonly chains: TakenChains | null;
  /** How far they are advanced, where a curriculum says; else `sampler.steps`. */
  readonly chainSteps?: number;
  /** Whether this step tells how the energies are spread. Default: no. */
  readonly looksAtSpread?: boolean;
  /** The network in the precision of the inner loops, for attacks and probes and for chains, and in that of the update. */
  readonly inner: BoundModel;
  readonly sampling: BoundModel;
  readonly update: BoundModel;
  /** For steps that take more than one gradient. */
  readonly weights: MovableWeights;
  readonly objective: Objective;
  readonly drives: Drives;
  readonly gradient: Gradient;
  readonly clock: PhaseClock;
  readonly sumOverWorkers: (values: Float32Array) => void;
}
