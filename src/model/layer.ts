/**
 * What a layer is: its parameters, its output's shape, its cost, and, once bound to values, a forward and a
 * vector-Jacobian product.
 *
 * Tensors have one owner at a time. `forward` takes x over and `backward` takes dy over: each frees its argument or puts it
 * aside in `Kept`. Results belong to the caller. So an activation lives exactly as long as somebody still needs it, and
 * nothing here depends on `tf.tidy`. Shapes are of one sample, without the batch.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import type { Precision } from "../engine/ops.js";
import type { GradientSink } from "./gradient-sink.js";
import type { Initial } from "./initialise.js";
import type { Kept } from "./kept.js";
import type { LayerMemory } from "./pass-memory.js";

/** Of one sample: [H,W,C] for images, [N] for features. */
export type Shape = readonly number[];

export interface ParameterSpec {
  /** Within the layer, for example `weight`; a sequence puts the layer's own name before it. */
  readonly name: string;
  readonly shape: Shape;
  readonly decay: boolean;
  /** See `Parameter`. */
  readonly statistic?: boolean;
  readonly initial: Initial;
}

/** Values of one parameter, in its shape, and where its gradient goes. The layer that is bound to it takes `value` over. */
export interface BoundParameter {
  readonly value: Tensor;
  readonly offset: number;
  readonly size: number;
}

export interface Layer {
  readonly parameters: readonly ParameterSpec[];
  readonly outputShape: Shape;
  /** Multiply-accumulates of one sample's forward pass, in convolutions and matrix products. */
  readonly macsPerSample: number;
  /** What its passes hold, layer by layer in the order of a forward pass; absent: nothing beyond its input and output. */
  readonly memory?: readonly LayerMemory[];
  /** `parameters` in the order of this layer's own. */
  bind(parameters: readonly BoundParameter[], precision: Precision): BoundLayer;
}

/** What a backward pass is for. */
export interface Wanted {
  /** Takes the parameters' gradients; null where none are computed. */
  readonly sink: GradientSink | null;
  /** Whether dL/dx is needed. */
  readonly input: boolean;
}

export interface BoundLayer {
  /** x -> y; what the way back needs is put into `kept`. */
  forward(x: Tensor, kept: Kept): Tensor;
  /** dL/dy -> dL/dx, or null where `wanted.input` is false. Takes back what `forward` put into `kept`, in reverse order. */
  backward(dy: Tensor, kept: Kept, wanted: Wanted): Tensor | null;
  dispose(): void;
}

/** A layer that waits to know what shape comes in. */
export type LayerBuilder = (inputShape: Shape) => Layer;
