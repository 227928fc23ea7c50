/**
 * A 2-D convolution with square filters and symmetric zero padding of half their size, as PyTorch counts it.
 * The filter is laid out once for all passes of an update; an input-gradient pass keeps nothing at all.
 */

import type { Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { ops, type Precision } from "../../engine/ops.js";
import { invariant } from "../../util/error.js";
import type { BoundLayer, BoundParameter, LayerBuilder, ParameterSpec } from "../layer.js";
import { numValues } from "../pass-memory.js";

export interface ConvolutionOptions {
  readonly channels: number;
  /** Height and width of the filter: odd. */
  readonly size: number;
  readonly stride: number;
  readonly bias: boolean;
  /** Weights ~ N(0, gain / sqrt(fan in)); 0 for zeros. */
  readonly gain: number;
}

export function convolution(options: ConvolutionOptions): LayerBuilder {
  const { channels, size, stride, bias: hasBias, gain } = options;
  return (inputShape) => {
    const [height, width, cin] = inputShape as [number, number, number];
    const padding = (size - 1) / 2;
    const geometry = { stride, padding };
    const outputShape = [outputSize(height), outputSize(width), channels];
    const filterShape = [size, size, cin, channels];

    function outputSize(input: number): number {
      return Math.floor((input + 2 * padding - size) / stride) + 1;
    }

    function bind([weight, bias]: readonly BoundParameter[], precision: Precision): BoundLayer {
      invariant(weight, "a convolution has a weight");
      const filter = ops().layoutFilter(weight.value as Tensor4D, precision);
      const shift = bias ? (ops().toPrecision(bias.value, precision) as Tensor1D) : null;
      weight.value.dispose();
      bias?.value.dispose();
      return {
        forward(x, kept) {
          const y = ops().conv2d(x as Tensor4D, filter, shift, geometry);
          kept.forParameters(x);
          return y;
        },
        backward(dy, kept, { sink, input }) {
          if (sink) {
            const x = kept.take();
            if (bias) sink.write(bias, channelSum(dy, precision));
            sink.write(weight, ops().conv2dFilterGrad(x as Tensor4D, dy as Tensor4D, filterShape, geometry, precision));
            x.dispose();
          }
          const dx = input ? ops().conv2dInputGrad(dy as Tensor4D, filter, [dy.shape[0] as number, ...inputShape], geometry) : null;
          dy.dispose();
          return dx;
        },
        dispose() {
          filter.dispose();
          shift?.dispose();
        },
      };
    }

    const weightSpec: ParameterSpec = {
      name: "weight",
      shape: filterShape,
      decay: true,
      initial: normal(gain / Math.sqrt(size * size * cin)),
    };
    const biasSpec: ParameterSpec = { name: "bias", shape: [channels], decay: false, initial: { kind: "constant", value: 0 } };
    return {
      parameters: hasBias ? [weightSpec, biasSpec] : [weightSpec],
      outputShape,
      memory: [{ input: numValues(inputShape), output: numValues(outputShape), keptForInput: 0, keptForParameters: numValues(inputShape) }],
      macsPerSample: (outputShape[0] as number) * (outputShape[1] as number) * size * size * cin * channels,
      bind,
    };
  };
}

function normal(std: number): ParameterSpec["initial"] {
  return std === 0 ? { kind: "constant", value: 0 } : { kind: "normal", std };
}

/** Sum over batch, height and width, in float32: [B,H,W,C] -> [C]. */
function channelSum(dy: Tensor, precision: Precision): Tensor {
  if (precision === "fp32") return tf.sum(dy, [0, 1, 2]);
  const full = ops().toPrecision(dy, "fp32");
  const sum = tf.sum(full, [0, 1, 2]);
  full.dispose();
  return sum;
}
