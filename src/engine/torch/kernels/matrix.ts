/** Matrix products, with what TensorFlow.js fuses after them. */
import type { _FusedMatMulAttrs, BatchMatMulAttrs, KernelConfig } from "@tensorflow/tfjs-core";
import { util } from "@tensorflow/tfjs-core";
import { aten } from "../aten.js";
import { DOUBLE, INT } from "../scalar-type.js";
import type { Value } from "../value.js";
import { cast, float, isFloat } from "./convert.js";
import { kernel } from "./define.js";
import { activate } from "./fused-activation.js";

const matmul = aten("matmul");
const transpose = aten("transpose.int");
const add = aten("add.Tensor");

/** Integer products go through float64, exact to 2^53: ATen's own are loops. */
function product(a: Value, b: Value, { transposeA, transposeB }: BatchMatMulAttrs): Value {
  util.assert(
    a.shape.length >= 2 && b.shape.length >= 2,
    () => `Error in matMul: inputs must have rank 2 or more, got [${a.shape}] and [${b.shape}]`,
  );
  const whole = !isFloat(a) && !isFloat(b);
  const left = whole ? cast(a, DOUBLE) : float(a);
  const right = whole ? cast(b, DOUBLE) : float(b);
  const y = matmul(transposeA ? transpose(left, -1, -2) : left, transposeB ? transpose(right, -1, -2) : right);
  return whole ? cast(y, INT) : y;
}

export const matrix: readonly KernelConfig[] = [
  kernel<{ a: Value; b: Value }, BatchMatMulAttrs>("BatchMatMul", ({ a, b }, attrs) => product(a, b, attrs)),
  kernel<{ a: Value; b: Value; bias?: Value; preluActivationWeights?: Value }, _FusedMatMulAttrs>("_FusedMatMul", (inputs, attrs) => {
    const y = product(inputs.a, inputs.b, attrs);
    return activate(inputs.bias ? add(y, inputs.bias) : y, attrs.activation, inputs.preluActivationWeights, attrs.leakyreluAlpha);
  }),
];
