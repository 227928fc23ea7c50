/** The activations that TensorFlow.js can fuse into a matrix product or a convolution. */
import type { backend_util } from "@tensorflow/tfjs-core";
import { invariant } from "../../../util/error.js";
import { aten } from "../aten.js";
import type { Value } from "../value.js";

const relu = aten("relu");
const clamp = aten("clamp");
const elu = aten("elu");
const sigmoid = aten("sigmoid");
const leakyRelu = aten("leaky_relu");
const where = aten("where.self");
const gtScalar = aten("gt.Scalar");
const mul = aten("mul.Tensor");

export function activate(
  x: Value,
  activation: backend_util.Activation | undefined,
  prelu: Value | undefined,
  leakyAlpha: number | undefined,
): Value {
  switch (activation) {
    case undefined:
    case null:
    case "linear":
      return x;
    case "relu":
      return relu(x);
    case "relu6":
      return clamp(x, 0, 6);
    case "elu":
      return elu(x);
    case "sigmoid":
      return sigmoid(x);
    case "leakyrelu":
      return leakyRelu(x, leakyAlpha ?? 0.2);
    case "prelu":
      invariant(prelu, "prelu has weights");
      return where(gtScalar(x, 0), x, mul(x, prelu));
    default:
      return activation satisfies never;
  }
}
