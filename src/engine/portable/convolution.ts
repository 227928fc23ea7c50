/**
 * Convolution and its two gradients in TensorFlow.js operations, and the layout of a filter: here a filter stays as it is.
 *
 * Padding is a number of pixels on each side, as PyTorch counts it; sizes that the stride does not divide are cut at the
 * far side. The filter's gradient has no function in the core API, only a kernel, so it is called by that name.
 */

import type { Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { ConvGeometry, EngineOps } from "../ops.js";

type Shape4D = [number, number, number, number];

export const convolution: Pick<EngineOps, "layoutFilter" | "conv2d" | "conv2dInputGrad" | "conv2dFilterGrad"> = {
  layoutFilter(filter: Tensor4D): Tensor {
    return filter.clone();
  },

  conv2d(x: Tensor4D, filter: Tensor, bias: Tensor1D | null, { stride, padding }: ConvGeometry): Tensor4D {
    return tf.tidy(() => {
      const y = tf.conv2d(x, filter as Tensor4D, stride, padding);
      return bias === null ? y : tf.add<Tensor4D>(y, bias);
    });
  },

  conv2dInputGrad(dy: Tensor4D, filter: Tensor, inputShape: readonly number[], { stride, padding }: ConvGeometry): Tensor4D {
    return tf.conv2dTranspose(dy, filter as Tensor4D, [...inputShape] as Shape4D, stride, padding);
  },

  conv2dFilterGrad(x: Tensor4D, dy: Tensor4D, filterShape: readonly number[], { stride, padding }: ConvGeometry): Tensor4D {
    return tf
      .engine()
      .runKernel(
        tf.Conv2DBackpropFilter,
        { x, dy },
        { strides: [stride, stride], pad: padding, dataFormat: "NHWC", dimRoundingMode: "floor", filterShape: [...filterShape] },
      );
  },
};
