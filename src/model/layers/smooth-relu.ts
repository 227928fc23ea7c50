/**
 * SmoothReLU with a learned sharpness (Xie et al. 2020, "Smooth Adversarial Training"): y = x - log(1 + b x)/b for x >= 0, else 0,
 * with b = beta^2. beta is one parameter a layer; the published code begins at 20, so b at 400.
 *
 *   dy/dx = b r / (1 + b r)      dy/db = log(1 + b r)/b^2 - r/(b (1 + b r))      db/dbeta = 2 beta      r = max(x, 0)
 *
 * For small b r the two terms of dy/db cancel; the series r^2 (1/2 - 2 b r/3 + ...) is taken there.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { type Activation, ops, type Precision } from "../../engine/ops.js";
import { invariant } from "../../util/error.js";
import type { BoundLayer, BoundParameter, LayerBuilder } from "../layer.js";
import { numValues } from "../pass-memory.js";

/** Below this b r the series is more exact in float32 than the difference. */
const SERIES_BELOW = 0.05;

export function learnableSmoothRelu({ sharpness }: { readonly sharpness: number }): LayerBuilder {
  return (inputShape) => {
    const size = numValues(inputShape);

    function bind([parameter]: readonly BoundParameter[], precision: Precision): BoundLayer {
      invariant(parameter, "a learnable activation has a parameter");
      const beta = parameter.value.dataSync<"float32">()[0] as number;
      parameter.value.dispose();
      const activation: Activation = { kind: "smooth-relu", sharpness: beta * beta };
      return {
        forward(x, kept) {
          const y = ops().activation(x, activation);
          kept.forInput(x);
          return y;
        },
        backward(dy, kept, { sink, input }) {
          const x = kept.take();
          if (sink) sink.write(parameter, betaGradient(x, dy, beta, precision));
          const dx = input ? ops().activationGrad(x, dy, activation) : null;
          x.dispose();
          dy.dispose();
          return dx;
        },
        dispose() {},
      };
    }

    return {
      parameters: [{ name: "beta", shape: [1], decay: false, initial: { kind: "constant", value: Math.sqrt(sharpness) } }],
      outputShape: inputShape,
      macsPerSample: 0,
      memory: [{ input: size, output: size, keptForInput: size, keptForParameters: 0 }],
      bind,
    };
  };
}

/** dL/dbeta [1], in float32. */
function betaGradient(x: Tensor, dy: Tensor, beta: number, precision: Precision): Tensor {
  const b = beta * beta;
  return tf.tidy(() => {
    const full = (t: Tensor): Tensor => (precision === "fp32" ? t : ops().toPrecision(t, "fp32"));
    const r = tf.relu(full(x));
    const br = tf.mul(r, b);
    const difference = tf.sub(tf.div(tf.log1p(br), b * b), tf.div(r, tf.mul(tf.add(br, 1), b)));
    // log(1+u)/b^2 - u/(b^2 (1+u)) = (u^2/2 - 2u^3/3 + 3u^4/4 - ...)/b^2, u = b r
    const series = tf.div(tf.mul(tf.square(br), tf.add(tf.mul(br, tf.sub(tf.mul(br, 0.75), 2 / 3)), 0.5)), b * b);
    const slope = tf.where(tf.less(br, SERIES_BELOW), series, difference);
    return tf.reshape(tf.mul(tf.sum(tf.mul(slope, full(dy))), 2 * beta), [1]);
  });
}
