/**
 * The activations and their derivatives in TensorFlow.js operations. Each derivative is taken at the activation's input x,
 * in a form that neither overflows nor cancels for large |x|.
 */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Activation } from "../ops.js";

/** y = f(x), elementwise. */
export function activation<T extends Tensor>(x: T, f: Activation): T {
  return tf.tidy(() => value(x, f) as T);
}

/** dL/dx = dL/dy f'(x), elementwise. */
export function activationGrad<T extends Tensor>(x: T, dy: T, f: Activation): T {
  return tf.tidy(() => tf.mul<T>(dy, derivative(x, f)));
}

function value(x: Tensor, f: Activation): Tensor {
  switch (f.kind) {
    case "relu":
      return tf.relu(x);
    case "silu":
      return tf.mul(x, tf.sigmoid(x));
    case "gelu": // x Phi(x)
      return tf.mul(x, normalCdf(x));
    case "elu":
      return tf.elu(x);
    case "leaky-relu":
      return tf.leakyRelu(x, f.slope);
    case "softplus": {
      // (1/a) log(1 + exp(a x)) = max(x, 0) + (1/a) log(1 + exp(-a|x|))
      const tail = tf.log1p(tf.exp(tf.mul(tf.abs(x), -f.sharpness)));
      return tf.add(tf.relu(x), tf.div(tail, f.sharpness));
    }
    case "smooth-relu": {
      // r - (1/b) log(1 + b r), r = max(x, 0)
      const r = tf.relu(x);
      return tf.sub(r, tf.div(tf.log1p(tf.mul(r, f.sharpness)), f.sharpness));
    }
    default:
      return f satisfies never;
  }
}

function derivative(x: Tensor, f: Activation): Tensor {
  switch (f.kind) {
    case "relu":
      return tf.step(x);
    case "silu": {
      // s + x s (1 - s)
      const s = tf.sigmoid(x);
      return tf.add(s, tf.mul(tf.mul(x, s), tf.sub(1, s)));
    }
    case "gelu": // Phi(x) + x phi(x)
      return tf.add(normalCdf(x), tf.mul(x, normalDensity(x)));
    case "elu": // exp(x) below zero, 1 above
      return tf.exp(tf.minimum(x, 0));
    case "leaky-relu":
      return tf.step(x, f.slope);
    case "softplus":
      return tf.sigmoid(tf.mul(x, f.sharpness));
    case "smooth-relu": {
      // b r / (1 + b r)
      const br = tf.mul(tf.relu(x), f.sharpness);
      return tf.div(br, tf.add(br, 1));
    }
    default:
      return f satisfies never;
  }
}

/** Phi(x) = (1 + erf(x / sqrt 2)) / 2 */
function normalCdf(x: Tensor): Tensor {
  return tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
}

/** phi(x) = exp(-x^2 / 2) / sqrt(2 pi) */
function normalDensity(x: Tensor): Tensor {
  return tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
}
