/**
 * y = x W + b on features: [B,N] -> [B,M]. Always in float32, whatever precision a model is bound to: a head costs next to
 * nothing, and logits are where energies are read from.
 */

import type { Tensor2D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { invariant } from "../../util/error.js";
import type { BoundLayer, BoundParameter, LayerBuilder } from "../layer.js";

export interface LinearOptions {
  readonly features: number;
  /** Weights ~ N(0, gain / sqrt(fan in)). */
  readonly gain: number;
}

export function linear({ features, gain }: LinearOptions): LayerBuilder {
  return (inputShape) => {
    const [fanIn] = inputShape as [number];

    function bind([weight, bias]: readonly BoundParameter[]): BoundLayer {
      invariant(weight && bias, "a linear layer has a weight and a bias");
      const matrix = weight.value as Tensor2D;
      return {
        forward(x, kept) {
          const product = tf.matMul(x as Tensor2D, matrix);
          const y = tf.add(product, bias.value);
          product.dispose();
          kept.forParameters(x);
          return y;
        },
        backward(dy, kept, { sink, input }) {
          if (sink) {
            const x = kept.take() as Tensor2D;
            sink.write(bias, tf.sum(dy, 0));
            sink.write(weight, tf.matMul(x, dy as Tensor2D, true, false));
            x.dispose();
          }
          const dx = input ? tf.matMul(dy as Tensor2D, matrix, false, true) : null;
          dy.dispose();
          return dx;
        },
        dispose() {
          matrix.dispose();
          bias.value.dispose();
        },
      };
    }

    return {
      parameters: [
        { name: "weight", shape: [fanIn, features], decay: true, initial: { kind: "normal", std: gain / Math.sqrt(fanIn) } },
        { name: "bias", shape: [features], decay: false, initial: { kind: "constant", value: 0 } },
      ],
      outputShape: [features],
      macsPerSample: fanIn * features,
      memory: [{ input: fanIn, output: features, keptForInput: 0, keptForParameters: fanIn }],
      bind,
    };
  };
}
