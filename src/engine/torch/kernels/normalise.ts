/** Batch normalisation with given moments, and Einstein sums. */
import type { EinsumAttrs, FusedBatchNormAttrs, KernelConfig } from "@tensorflow/tfjs-core";
import { backend_util } from "@tensorflow/tfjs-core";
import { aten } from "../aten.js";
import { INT } from "../scalar-type.js";
import type { Value } from "../value.js";
import { cast, float } from "./convert.js";
import { kernel, listKernel } from "./define.js";

const add = aten("add.Tensor");
const addScalar = aten("add.Scalar");
const sub = aten("sub.Tensor");
const mul = aten("mul.Tensor");
const rsqrt = aten("rsqrt");
const einsum = aten("einsum");

type Moments = { x: Value; mean: Value; variance: Value; scale?: Value; offset?: Value };

export const normalise: readonly KernelConfig[] = [
  kernel<Moments, FusedBatchNormAttrs>("FusedBatchNorm", ({ x, mean, variance, scale, offset }, { varianceEpsilon }) => {
    const inverse = rsqrt(addScalar(float(variance), varianceEpsilon));
    const y = mul(sub(x, mean), scale ? mul(inverse, scale) : inverse);
    return offset ? add(y, offset) : y;
  }),
  listKernel<EinsumAttrs>("Einsum", (inputs, { equation }) => {
    const { allDims, idDims } = backend_util.decodeEinsumEquation(equation, inputs.length);
    backend_util.checkEinsumDimSizes(allDims.length, idDims, inputs as never);
    const y = einsum(equation.replace(/\s/g, ""), inputs.map(float));
    return inputs.every(({ type }) => type === INT) ? cast(y, INT) : y;
  }),
];
