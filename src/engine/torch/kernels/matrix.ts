/** Matrix products, with what TensorFlow.js fuses after them. */
import type { _FusedMatMulAttrs, BatchMatMulAttrs, KernelConfig } from "@tensorflow/tfjs-core";
import { aten, type Value } from "../aten.js";
import { float } from "./convert.js";
import { kernel } from "./define.js";
import { activate } from "./fused-activation.js";

const matmul = aten("matmul");
const transpose = aten("transpose.int");
const add = aten("add.Tensor");

function product(a: Value, b: Value, { transposeA, transposeB }: BatchMatMulAttrs): Value {
  return matmul(transposeA ? transpose(float(a), -1, -2) : float(a), transposeB ? transpose(float(b), -1, -2) : float(b));
}

export const matrix: readonly KernelConfig[] = [
  kernel<{ a: Value; b: Value }, BatchMatMulAttrs>("BatchMatMul", ({ a, b }, attrs) => product(a, b, attrs)),
  kernel<{ a: Value; b: Value; bias?: Value; preluActivationWeights?: Value }, _FusedMatMulAttrs>("_FusedMatMul", (inputs, attrs) => {
    const y = product(inputs.a, inputs.b, attrs);
    return activate(inputs.bias ? add(y, inputs.bias) : y, attrs.activation, inputs.preluActivationWeights, attrs.leakyreluAlpha);
  }),
];
