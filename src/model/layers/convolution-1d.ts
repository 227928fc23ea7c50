/**
 * A convolution along the length of signals [B,L,1,cin] -> [B,L',1,cout], with symmetric zero padding of half the filter's size,
 * L' = floor((L - 1)/stride) + 1 for odd sizes, as PyTorch's Conv1d counts it. In float32 throughout.
 *
 * It is written as a matrix product over the patches (each output's `size` inputs side by side), since engines have square
 * convolutions only; a signal's patches are small.
 */
import type { Tensor, Tensor2D, Tensor3D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { invariant } from "../../util/error.js";
import type { BoundLayer, BoundParameter, LayerBuilder, ParameterSpec } from "../layer.js";

export interface Convolution1dOptions {
  readonly channels: number;
  /** Of the filter along the length: odd. */
  readonly size: number;
  readonly stride: number;
  readonly bias: boolean;
  /** Weights ~ N(0, gain / sqrt(fan in)); 0 for zeros. */
  readonly gain: number;
}

export function convolution1d({ channels, size, stride, bias: hasBias, gain }: Convolution1dOptions): LayerBuilder {
  return (inputShape) => {
    const [length, , cin] = inputShape as [number, number, number];
    const padding = (size - 1) / 2;
    const outLength = Math.floor((length + 2 * padding - size) / stride) + 1;

    /** [B,L,1,cin] -> [B*L', size*cin] */
    function patchesOf(x: Tensor): Tensor2D {
      const signal = tf.reshape(x, [x.shape[0] as number, length, cin]) as Tensor3D;
      // Beyond the end as well, so that every tap has `stride` inputs for each output.
      const padded = tf.pad(signal, [
        [0, 0],
        [padding, Math.max(0, (outLength - 1) * stride + size + stride - length - padding)],
        [0, 0],
      ]) as Tensor3D;
      const taps = Array.from({ length: size }, (_, tap) => {
        const run = tf.slice(padded, [0, tap, 0], [-1, outLength * stride, cin]);
        return tf.slice(tf.reshape(run, [-1, outLength, stride, cin]), [0, 0, 0, 0], [-1, outLength, 1, cin]);
      });
      return tf.reshape(tf.concat(taps, 2), [-1, size * cin]) as Tensor2D;
    }

    /** The transpose of `patchesOf`: every input gets the sum over the patches that it is in. */
    function fold(dPatches: Tensor2D, batch: number): Tensor {
      const taps = tf.reshape(dPatches, [batch, outLength, size, cin]);
      const total = padding + Math.max(length + padding, (outLength - 1) * stride + size + stride);
      let sum: Tensor | null = null;
      for (let tap = 0; tap < size; tap++) {
        const own = tf.slice(taps, [0, 0, tap, 0], [-1, -1, 1, -1]); // [B,L',1,cin]
        const spread = tf.pad(own, [
          [0, 0],
          [0, 0],
          [0, stride - 1],
          [0, 0],
        ]);
        const line = tf.pad(tf.reshape(spread, [batch, outLength * stride, cin]), [
          [0, 0],
          [tap, total - tap - outLength * stride],
          [0, 0],
        ]);
        sum = sum === null ? line : tf.add(sum, line);
      }
      invariant(sum, "a convolution has at least one tap");
      return tf.reshape(tf.slice(sum, [0, padding, 0], [-1, length, -1]), [batch, length, 1, cin]);
    }

    function bind([weight, bias]: readonly BoundParameter[]): BoundLayer {
      invariant(weight, "a convolution has a weight");
      const matrix = tf.reshape(weight.value, [size * cin, channels]) as Tensor2D;
      weight.value.dispose();
      return {
        forward(x, kept) {
          const y = tf.tidy(() => {
            const product = tf.matMul(patchesOf(x), matrix);
            return tf.reshape(bias ? tf.add(product, bias.value) : product, [x.shape[0] as number, outLength, 1, channels]);
          });
          kept.forParameters(x);
          return y;
        },
        backward(dy, kept, { sink, input }) {
          const batch = dy.shape[0] as number;
          const rows = tf.reshape(dy, [batch * outLength, channels]) as Tensor2D;
          dy.dispose();
          if (sink) {
            const x = kept.take();
            if (bias) sink.write(bias, tf.sum(rows, 0));
            sink.write(
              weight,
              tf.tidy(() => tf.reshape(tf.matMul(patchesOf(x), rows, true, false), [size, cin, channels])),
            );
            x.dispose();
          }
          const dx = input ? tf.tidy(() => fold(tf.matMul(rows, matrix, false, true), batch)) : null;
          rows.dispose();
          return dx;
        },
        dispose() {
          matrix.dispose();
          bias?.value.dispose();
        },
      };
    }

    const std = gain / Math.sqrt(size * cin);
    const weightSpec: ParameterSpec = {
      name: "weight",
      shape: [size, cin, channels],
      decay: true,
      initial: std === 0 ? { kind: "constant", value: 0 } : { kind: "normal", std },
    };
    const biasSpec: ParameterSpec = { name: "bias", shape: [channels], decay: false, initial: { kind: "constant", value: 0 } };
    return {
      parameters: hasBias ? [weightSpec, biasSpec] : [weightSpec],
      outputShape: [outLength, 1, channels],
      macsPerSample: outLength * size * cin * channels,
      // The patches stand beside input and output while a pass is under way.
      memory: [{ input: length * cin, output: outLength * (channels + size * cin), keptForInput: 0, keptForParameters: length * cin }],
      bind,
    };
  };
}
