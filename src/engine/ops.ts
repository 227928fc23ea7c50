/**
 * What isoerg asks of a tensor engine beyond the TensorFlow.js core API: the declared extras.
 *
 * Networks here are layers with an explicit forward and vector-Jacobian product, not a recorded tape, so an engine offers
 * both halves of each operation. Every engine has all of them: `portable.ts` writes them in plain TensorFlow.js operations
 * (the reference), `torch/` calls fused ATen operators. One contract suite holds both to the same values.
 *
 * Images are [B,H,W,C] float32 to the caller. A tensor may be *stored* in bfloat16 by an engine that can (`toPrecision`);
 * its TensorFlow.js dtype stays float32, operations on it run in bfloat16, and reading it gives float32 back. Engines
 * without bfloat16 keep float32.
 */

import type { Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { invariant } from "../util/error.js";

/**
 * `tf32`: float32 storage, but convolutions may round their factors to 10 bits of mantissa where a GPU has tensor cores for that;
 * elsewhere it is fp32.
 */
export type Precision = "fp32" | "tf32" | "bf16";

export type Activation =
  | { readonly kind: "relu" }
  | { readonly kind: "silu" }
  | { readonly kind: "gelu" } // exact, by erf
  | { readonly kind: "elu" }
  | { readonly kind: "leaky-relu"; readonly slope: number }
  | { readonly kind: "softplus"; readonly sharpness: number } // (1/a) log(1 + exp(a x)), Xie et al. 2020
  | { readonly kind: "smooth-relu"; readonly sharpness: number }; // x - log(1 + b x)/b for x >= 0, else 0, Xie et al. 2020

/** Symmetric zero padding in pixels on each side, as PyTorch counts it. */
export interface ConvGeometry {
  readonly stride: number;
  readonly padding: number;
}

/** Which positions draw, from which stream. See random/philox.ts for the counter layout. */
export interface NoiseKey {
  readonly seed: bigint;
  readonly purpose: number;
  readonly step: number;
  /** Counts draws of one purpose within a step (the inner step of an attack or a chain). */
  readonly inner: number;
  /** Global position of each row of the result. */
  readonly positions: Int32Array;
}

export interface EngineOps {
  /** Stores x in a precision; returns a new handle (the same storage where nothing changes). */
  toPrecision<T extends Tensor>(x: T, precision: Precision): T;

  /** Lays a filter [kh,kw,cin,cout] out for the three convolution calls, once per update. Opaque; dispose it when the weights change. */
  layoutFilter(filter: Tensor4D, precision: Precision): Tensor;
  /** x [B,H,W,cin] -> [B,H',W',cout], with bias [cout] if given. x is in the filter's precision. */
  conv2d(x: Tensor4D, filter: Tensor, bias: Tensor1D | null, geometry: ConvGeometry): Tensor4D;
  /** dy [B,H',W',cout] -> dL/dx of the given shape [B,H,W,cin]. */
  conv2dInputGrad(dy: Tensor4D, filter: Tensor, inputShape: readonly number[], geometry: ConvGeometry): Tensor4D;
  /** -> dL/dfilter [kh,kw,cin,cout], in float32 whatever the precision of x and dy. */
  conv2dFilterGrad(x: Tensor4D, dy: Tensor4D, filterShape: readonly number[], geometry: ConvGeometry, precision?: Precision): Tensor4D;

  activation<T extends Tensor>(x: T, activation: Activation): T;
  /** dL/dx from the activation's input x and dL/dy. */
  activationGrad<T extends Tensor>(x: T, dy: T, activation: Activation): T;

  /** Group normalisation over (H, W, C/groups) of each sample, Wu & He 2018. Returns y and what its gradient needs. gamma, beta: [C]. */
  groupNorm(x: Tensor4D, gamma: Tensor1D, beta: Tensor1D, groups: number, epsilon: number): { y: Tensor4D; mean: Tensor; rstd: Tensor };
  groupNormGrad(
    dy: Tensor4D,
    x: Tensor4D,
    mean: Tensor,
    rstd: Tensor,
    gamma: Tensor1D,
    groups: number,
    want: "input" | "all",
  ): { dx: Tensor4D; dgamma: Tensor1D | null; dbeta: Tensor1D | null };

  /** Mean over height and width: [B,H,W,C] -> [B,C]; and its gradient back to [B,H,W,C]. */
  spatialMean(x: Tensor4D): tf.Tensor2D;
  spatialMeanGrad(dy: tf.Tensor2D, inputShape: readonly number[]): Tensor4D;

  /** Uniform [0,1) or standard normal values [positions.length, ...sampleShape], a function of the key alone. */
  noise(kind: "uniform" | "normal", key: NoiseKey, sampleShape: readonly number[]): Tensor;

  /**
   * Records what `body` launches for an input of x's shape, to be launched as one from then on (CUDA graphs); null where the engine
   * or the work can't. `body` must not read values back, and everything else that it reads must outlive the recording unchanged.
   */
  record?(x: Tensor, body: (given: Tensor) => Tensor[]): Recording | null;

  /** Copies a tensor's float32 values into memory that the caller owns (shared memory allowed), without an allocation in between. */
  readInto(x: Tensor, target: Float32Array): void;
}

/** Work of fixed shapes that was recorded once, to be run on other values of its input. */
export interface Recording {
  /** The results for x, as tensors of the caller's. */
  run(x: Tensor): Tensor[];
  dispose(): void;
}

const registry = new Map<string, EngineOps>();

/** Declares the extras of a TensorFlow.js backend; called once by each engine's module. */
export function registerOps(backendName: string, ops: EngineOps): void {
  registry.set(backendName, ops);
}

/** The extras of the backend that TensorFlow.js is using now. */
export function ops(): EngineOps {
  const found = registry.get(tf.getBackend());
  invariant(found, `engine '${tf.getBackend()}' has not declared its operations`);
  return found;
}
