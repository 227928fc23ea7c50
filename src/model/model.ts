/**
 * A classifier as the rest of the program sees it: parameters in one flat vector, and passes over a batch.
 *
 * All parameters live in one float32 vector, so that the all-reduce, the optimizer, the EMA, a checksum and a checkpoint are
 * each one operation on one array. `bind` lays them out for the engine once per update; inner loops (attack, sampling) then
 * run input-gradient passes that never compute a weight's gradient and free activations as they go.
 */
import type { Tensor1D, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import type { Precision } from "../engine/ops.js";
import type { BatchPart, StatisticsPolicy } from "./group-statistics.js";
import type { LayerMemory } from "./pass-memory.js";

export interface Parameter {
  /** Dotted path, for example `stage2.0.conv1.weight`; the name in checkpoints. */
  readonly name: string;
  /** Filters are [kh,kw,cin,cout], linear weights [in,out]. */
  readonly shape: readonly number[];
  /** Where it begins in the flat vector. */
  readonly offset: number;
  readonly size: number;
  /** Whether weight decay applies: weights yes, biases and norms no. */
  readonly decay: boolean;
  /**
   * Measured rather than learned: running statistics of a norm. In place of a gradient stands what is to be taken from it, which
   * adds up over chunks and workers as gradients do; no optimizer touches it.
   */
  readonly statistic?: boolean;
}

/** dL/dlogits [B,K] from logits [B,K], for a loss that is a sum over samples. */
export type Head = (logits: Tensor2D) => Tensor2D;

export interface Model {
  readonly parameters: readonly Parameter[];
  readonly numParameters: number;
  /** [H,W,C] */
  readonly inputShape: readonly [number, number, number];
  readonly numClasses: number;
  /** Multiply-accumulates of one sample's forward pass; an input-gradient pass costs about twice that, an update three times. */
  readonly macsPerSample: number;
  /** What its passes hold, layer by layer; see `peakOfPass`. */
  readonly memory: readonly LayerMemory[];
  /** Initial values, a function of the seed alone. */
  initial(seed: bigint): Float32Array;
  /**
   * Lays the parameters (flat, float32) out for passes in a precision. Dispose the result when they change.
   * @param statistics of norms over groups of samples; the running ones in every pass unless given
   */
  bind(parameters: Tensor1D, precision: Precision, statistics?: StatisticsPolicy): BoundModel;
}

/**
 * What attacks, chains and analyses need of a model: logits and input gradients. The networks of this program are one, and so is a
 * TensorFlow.js model that was trained elsewhere (src/evaluate/foreign/).
 */
export interface Classifier {
  /** x [B,H,W,C], float32 in [0,1] -> logits [B,K], float32. Keeps nothing. */
  logits(x: Tensor4D): Tensor2D;
  /** dL/dx [B,H,W,C] in float32, and the logits it was computed at. No weight gradients. */
  inputGradient(x: Tensor4D, head: Head): { logits: Tensor2D; gradient: Tensor4D };
  /** What the last linear layer sees, [B,N] in float32; absent where a model has no such layer. Keeps nothing. */
  features?(x: Tensor4D): Tensor2D;
  dispose(): void;
}

/** Parameters laid out for passes. */
export interface BoundModel extends Classifier {
  /**
   * A forward pass that keeps what its backward needs.
   * @param parts of which x is made, one after the other; for norms over groups of samples. By default one that feeds no running statistics
   */
  forward(x: Tensor4D, parts?: readonly BatchPart[]): Pass;
}

export interface Pass {
  readonly logits: Tensor2D;
  /**
   * Writes dL/dparameters (float32, flat) over `into`, from the last layer to the first, and frees what was kept.
   * `onReady(from, to)` is called as soon as a range of `into` has its final values; the ranges cover it all.
   */
  backward(dLogits: Tensor2D, into: Float32Array, onReady?: (from: number, to: number) => void): void;
  /** The same, and dL/dx [B,H,W,C] in float32: for attacks that move with the update's own backward pass. */
  backwardToInput(dLogits: Tensor2D, into: Float32Array, onReady?: (from: number, to: number) => void): Tensor4D;
  /** For a pass whose backward is not wanted. */
  dispose(): void;
}
