/**
 * Puts the convolution's gradients in place as kernels of the wasm backend, so that the core API and every gradient that
 * TensorFlow.js itself derives use them: the filter gradient, which that backend lacks, and the input gradient, which it has slow.
 */

import type { KernelFunc, NamedAttrMap, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { filterGradient, type Geometry, inputGradient } from "./convolution-gradients.js";

type Shape4D = [number, number, number, number];

/** Registers the kernels. Call once, before the first tensor. */
export function registerKernels(): void {
  tf.registerKernel({ kernelName: tf.Conv2DBackpropFilter, backendName: "wasm", kernelFunc: backpropFilter });
  tf.unregisterKernel(tf.Conv2DBackpropInput, "wasm");
  tf.registerKernel({ kernelName: tf.Conv2DBackpropInput, backendName: "wasm", kernelFunc: backpropInput });
}

const backpropFilter: KernelFunc = ({ inputs, attrs }) => {
  const { x, dy } = inputs as { x: Tensor4D; dy: Tensor4D };
  const filterShape = attrs?.filterShape as Shape4D;
  return filterGradient(x, dy, filterShape, geometry(x.shape, filterShape, attrs));
};

const backpropInput: KernelFunc = ({ inputs, attrs }) => {
  const { dy, filter } = inputs as { dy: Tensor4D; filter: Tensor4D };
  const inputShape = attrs?.inputShape as Shape4D;
  return inputGradient(dy, filter, inputShape, geometry(inputShape, filter.shape, attrs));
};

function geometry(inputShape: Shape4D, filterShape: Shape4D, attrs: NamedAttrMap | undefined): Geometry {
  const { strides, pad, dimRoundingMode } = attrs as Pick<tf.Conv2DBackpropInputAttrs, "strides" | "pad" | "dimRoundingMode">;
  const info = tf.backend_util.computeConv2DInfo(inputShape, filterShape, strides, 1, pad, dimRoundingMode);
  if (info.strideHeight !== info.strideWidth) throw new Error(`wasm: strides ${strides} differ between height and width`);
  return { stride: info.strideHeight, padTop: info.padInfo.top, padLeft: info.padInfo.left };
}
