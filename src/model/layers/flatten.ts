/** [B,H,W,C] -> [B,H*W*C], the same storage under another shape; in float32, as the linear layers after it. */
import * as tf from "@tensorflow/tfjs-core";
import { ops, type Precision } from "../../engine/ops.js";
import type { BoundLayer, LayerBuilder } from "../layer.js";

export function flatten(): LayerBuilder {
  return (inputShape) => {
    const size = inputShape.reduce((product, length) => product * length, 1);

    function bind(_: unknown, precision: Precision): BoundLayer {
      return {
        forward(x) {
          const full = ops().toPrecision(x, "fp32");
          const y = tf.reshape(full, [x.shape[0] as number, size]);
          full.dispose();
          x.dispose();
          return y;
        },
        backward(dy) {
          const shaped = tf.reshape(dy, [dy.shape[0] as number, ...inputShape]);
          dy.dispose();
          const dx = ops().toPrecision(shaped, precision);
          shaped.dispose();
          return dx;
        },
        dispose() {},
      };
    }
    return { parameters: [], outputShape: [size], macsPerSample: 0, bind };
  };
}
