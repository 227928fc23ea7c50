/** [B,H,W,C] -> [B,H*W*C]: the same storage under another shape. In float32 only, as the linear layers after it. */
import * as tf from "@tensorflow/tfjs-core";
import type { BoundLayer, LayerBuilder } from "../layer.js";

export function flatten(): LayerBuilder {
  return (inputShape) => {
    const size = inputShape.reduce((product, length) => product * length, 1);
    const bound: BoundLayer = {
      forward(x) {
        const y = tf.reshape(x, [x.shape[0] as number, size]);
        x.dispose();
        return y;
      },
      backward(dy) {
        const dx = tf.reshape(dy, [dy.shape[0] as number, ...inputShape]);
        dy.dispose();
        return dx;
      },
      dispose() {},
    };
    return { parameters: [], outputShape: [size], macsPerSample: 0, bind: () => bound };
  };
}
