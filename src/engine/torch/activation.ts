/** Activations and their derivatives: each one fused operation where there is one, of ATen or of native/activation.h. */
import type { Activation } from "../ops.js";
import { aten } from "./aten.js";
import { smoothActivation } from "./own-kernels.js";
import type { Value } from "./value.js";

const relu = aten("relu");
const silu = aten("silu");
const siluBackward = aten("silu_backward");
const gelu = aten("gelu");
const elu = aten("elu");
const leakyRelu = aten("leaky_relu");
const softplus = aten("softplus");
const thresholdBackward = aten("threshold_backward");
const geluBackward = aten("gelu_backward");
const eluBackward = aten("elu_backward");
const leakyReluBackward = aten("leaky_relu_backward");
const softplusBackward = aten("softplus_backward");
const mulScalar = aten("mul.Scalar");
const addScalar = aten("add.Scalar");
const mul = aten("mul.Tensor");
const div = aten("div.Tensor");
const sub = aten("sub.Tensor");
const log1p = aten("log1p");

/** Numbers of the bridge's own loops. */
const SILU = 0;
const SOFTPLUS = 1;

/** Beyond this, softplus is its argument to float32's last place. */
const SOFTPLUS_LINEAR = 20;

export function activate(x: Value, activation: Activation): Value {
  switch (activation.kind) {
    case "relu":
      return relu(x);
    case "silu":
      return smoothActivation(SILU, x, null, 1) ?? silu(x);
    case "gelu":
      return gelu(x);
    case "elu":
      return elu(x);
    case "leaky-relu":
      return leakyRelu(x, activation.slope);
    case "softplus":
      return smoothActivation(SOFTPLUS, x, null, activation.sharpness) ?? softplus(x, activation.sharpness, SOFTPLUS_LINEAR);
    case "smooth-relu": {
      const positive = relu(x);
      const scaled = mulScalar(positive, activation.sharpness);
      return sub(positive, mulScalar(log1p(scaled), 1 / activation.sharpness));
    }
    default:
      return activation satisfies never;
  }
}

/** dL/dx from the activation's input and dL/dy, both of one type. */
export function activateGrad(x: Value, dy: Value, activation: Activation): Value {
  switch (activation.kind) {
    case "relu":
      return thresholdBackward(dy, x, 0);
    case "silu":
      return smoothActivation(SILU, x, dy, 1) ?? siluBackward(dy, x);
    case "gelu":
      return geluBackward(dy, x);
    case "elu":
      return eluBackward(dy, 1, 1, 1, false, x);
    case "leaky-relu":
      return leakyReluBackward(dy, x, activation.slope, false);
    case "softplus":
      return smoothActivation(SOFTPLUS, x, dy, activation.sharpness) ?? softplusBackward(dy, x, activation.sharpness, SOFTPLUS_LINEAR);
    case "smooth-relu": {
      // 1 - 1/(1 + b x) = b x / (1 + b x) for x >= 0, else 0.
      const scaled = mulScalar(relu(x), activation.sharpness);
      return mul(dy, div(scaled, addScalar(scaled, 1)));
    }
    default:
      return activation satisfies never;
  }
}
