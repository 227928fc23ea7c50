/** Kernels that reduce axes. An empty list of axes reduces nothing in TensorFlow.js and everything in ATen. */
import type { ArgMaxAttrs, KernelConfig, LogSoftmaxAttrs, MaxAttrs, SoftmaxAttrs, SumAttrs, UnaryInputs } from "@tensorflow/tfjs-core";
import { util } from "@tensorflow/tfjs-core";
import { aten } from "../aten.js";
import { BOOL, FLOAT, INT } from "../scalar-type.js";
import type { Value } from "../value.js";
import { cast, float, isFloat } from "./convert.js";
import { kernel } from "./define.js";

type AxisAttrs = Pick<SumAttrs, "axis" | "keepDims">;

const sum = aten("sum.dim_IntList");
const mean = aten("mean.dim");
const amax = aten("amax");
const amin = aten("amin");
const prod = aten("prod.dim_int");
const any = aten("any.dim");
const all = aten("all.dim");
const argmax = aten("argmax");
const argmin = aten("argmin");
const nanToNum = aten("nan_to_num");
const softmax = aten("softmax.int");
const logSoftmax = aten("log_softmax.int");

/** `body` gets the axes, at least one, none negative. */
function overAxes(
  kernelName: string,
  body: (x: Value, axes: number[], keepDims: boolean) => Value,
  none: (x: Value) => Value,
): KernelConfig {
  return kernel<UnaryInputs, AxisAttrs>(kernelName, ({ x }, { axis, keepDims }) => {
    const axes = util.parseAxisParam(axis, x.shape);
    return axes.length === 0 ? none(x) : body(x, axes, keepDims ?? false);
  });
}

/** For operators that take one axis a call: from the last to the first. */
function oneByOne(apply: (x: Value, axis: number, keepDims: boolean) => Value): (x: Value, axes: number[], keepDims: boolean) => Value {
  return (x, axes, keepDims) => [...axes].sort((a, b) => b - a).reduce((partial, axis) => apply(partial, axis, keepDims), x);
}

const same = (x: Value): Value => x;
const summable = (x: Value): Value => (x.type === BOOL ? cast(x, INT) : x);

function argExtreme(kernelName: string, apply: (x: Value, axis: number) => Value, ofNaN: number): KernelConfig {
  return kernel<UnaryInputs, ArgMaxAttrs>(kernelName, ({ x }, { axis }) => {
    const [only = 0] = util.parseAxisParam(axis, x.shape);
    // NaN is never the extreme in TensorFlow.js, and always in ATen.
    const ordered = isFloat(x) ? nanToNum(x, ofNaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY) : summable(x);
    return apply(ordered, only);
  });
}

export const reduction: readonly KernelConfig[] = [
  overAxes(
    "Sum",
    (x, axes, keepDims) => sum(x, axes, keepDims, isFloat(x) || x.shape.length === 0 ? null : x.type === BOOL ? INT : x.type),
    summable,
  ),
  overAxes("Mean", (x, axes, keepDims) => mean(x, axes, keepDims, isFloat(x) ? null : FLOAT), float),
  kernel<UnaryInputs, MaxAttrs>("Max", ({ x }, { reductionIndices, keepDims }) => {
    const axes = util.parseAxisParam(reductionIndices, x.shape);
    return axes.length === 0 ? x : amax(x, axes, keepDims ?? false);
  }),
  overAxes("Min", (x, axes, keepDims) => amin(x, axes, keepDims), same),
  overAxes(
    "Prod",
    oneByOne((x, axis, keepDims) => prod(x, axis, keepDims, x.type === BOOL ? INT : x.type)),
    summable,
  ),
  overAxes(
    "Any",
    oneByOne((x, axis, keepDims) => any(x, axis, keepDims)),
    same,
  ),
  overAxes(
    "All",
    oneByOne((x, axis, keepDims) => all(x, axis, keepDims)),
    same,
  ),
  argExtreme("ArgMax", (x, axis) => argmax(x, axis), Number.NEGATIVE_INFINITY),
  argExtreme("ArgMin", (x, axis) => argmin(x, axis), Number.POSITIVE_INFINITY),
  kernel<{ logits: Value }, SoftmaxAttrs>("Softmax", ({ logits }, { dim }) => softmax(float(logits), dim)),
  kernel<{ logits: Value }, LogSoftmaxAttrs>("LogSoftmax", ({ logits }, { axis }) => logSoftmax(float(logits), axis)),
];
