/** Kernels that compute each element by itself: arithmetic, comparisons, functions, selection. Inputs broadcast as NumPy's do. */
import type {
  BinaryInputs,
  ClipByValueAttrs,
  KernelConfig,
  LeakyReluAttrs,
  SelectInputs,
  StepAttrs,
  UnaryInputs,
} from "@tensorflow/tfjs-core";
import { aten } from "../aten.js";
import { BOOL, DOUBLE, INT } from "../scalar-type.js";
import type { Value } from "../value.js";
import { cast, float, full, isFloat, reshape } from "./convert.js";
import { kernel } from "./define.js";

const _add = aten("add.Tensor");
const sub = aten("sub.Tensor");
const mul = aten("mul.Tensor");
const _div = aten("div.Tensor");
const divMode = aten("div.Tensor_mode");
const remainder = aten("remainder.Tensor");
const pow = aten("pow.Tensor_Tensor");
const clamp = aten("clamp");
const where = aten("where.self");
const _eq = aten("eq.Tensor");
const _ne = aten("ne.Tensor");
const gtScalar = aten("gt.Scalar");
const _logicalOr = aten("logical_or");
const isnan = aten("isnan");
const leakyRelu = aten("leaky_relu");
const _mulScalar = aten("mul.Scalar");
const addScalar = aten("add.Scalar");

function unary(kernelName: string, body: (x: Value) => Value): KernelConfig {
  return kernel<UnaryInputs>(kernelName, ({ x }) => body(x));
}

/** A function of real numbers: integers are taken as floats. */
function real(kernelName: string, operator: string): KernelConfig {
  const apply = aten(operator);
  return unary(kernelName, (x) => apply(float(x)));
}

/** One that leaves integers be. */
function rounding(kernelName: string, operator: string): KernelConfig {
  const apply = aten(operator);
  return unary(kernelName, (x) => (isFloat(x) ? apply(x) : x));
}

function binary(kernelName: string, body: (a: Value, b: Value) => Value): KernelConfig {
  return kernel<BinaryInputs>(kernelName, ({ a, b }) => body(a, b));
}

function plain(kernelName: string, operator: string): KernelConfig {
  const apply = aten(operator);
  return binary(kernelName, (a, b) => apply(a, b));
}

/** ATen has no difference, sign or remainder of booleans. */
function number(x: Value): Value {
  return x.type === BOOL ? cast(x, INT) : x;
}

/** Integer division by zero raises in ATen; TensorFlow.js gives what the float quotient becomes as an integer. */
function floorDiv(a: Value, b: Value): Value {
  if (isFloat(a) || isFloat(b)) return divMode(a, b, "floor");
  return cast(divMode(cast(a, DOUBLE), cast(b, DOUBLE), "floor"), INT);
}

/** Integer powers with negative exponents raise in ATen; by way of float64 they are exact to 2^53. */
function power(a: Value, b: Value): Value {
  if (isFloat(a) || isFloat(b) || (a.type === b.type && a.type !== INT && a.type !== BOOL)) return pow(a, b);
  return cast(pow(cast(a, DOUBLE), cast(b, DOUBLE)), INT);
}

function mod(a: Value, b: Value): Value {
  if (isFloat(a) || isFloat(b)) return remainder(a, b);
  return cast(remainder(cast(a, DOUBLE), cast(b, DOUBLE)), INT);
}

/** TensorFlow.js: alpha for x <= 0, 1 above, NaN stays NaN. */
function step(x: Value, alpha: number): Value {
  const value = float(x);
  if (alpha === 0) return ceil(clamp(value, 0, 1));
  const steps = where(gtScalar(value, 0), full([], 1, value.type), full([], alpha, value.type));
  return where(isnan(value), value, steps);
}
const ceil = aten("ceil");

/** A condition of rank 1 chooses rows. */
function select(condition: Value, t: Value, e: Value): Value {
  const rows =
    condition.shape.length === 1 && t.shape.length > 1
      ? reshape(condition, [condition.shape[0] as number, ...t.shape.slice(1).map(() => 1)])
      : condition;
  return where(cast(rows, BOOL), t, e);
}

const absOf = aten("abs");
const square = aten("square");
const negOf = aten("neg");
const signOf = aten("sign");
const relu = aten("relu");
const prelu = (x: Value, alpha: Value) => where(gtScalar(x, 0), x, mul(x, alpha));
const maximum = aten("maximum");
const minimum = aten("minimum");

export const elementwise: readonly KernelConfig[] = [
  plain("Add", "add.Tensor"),
  binary("Sub", (a, b) => sub(number(a), number(b))),
  plain("Multiply", "mul.Tensor"),
  plain("RealDiv", "div.Tensor"),
  binary("FloorDiv", floorDiv),
  binary("Mod", mod),
  binary("Pow", power),
  binary("Maximum", (a, b) => maximum(number(a), number(b))),
  binary("Minimum", (a, b) => minimum(number(a), number(b))),
  binary("SquaredDifference", (a, b) => square(sub(number(a), number(b)))),
  plain("Atan2", "atan2"),
  plain("BitwiseAnd", "bitwise_and.Tensor"),
  plain("Equal", "eq.Tensor"),
  plain("NotEqual", "ne.Tensor"),
  plain("Greater", "gt.Tensor"),
  plain("GreaterEqual", "ge.Tensor"),
  plain("Less", "lt.Tensor"),
  plain("LessEqual", "le.Tensor"),
  plain("LogicalAnd", "logical_and"),
  plain("LogicalOr", "logical_or"),
  unary("LogicalNot", aten("logical_not")),
  kernel<SelectInputs>("Select", ({ condition, t, e }) => select(condition, t, e)),

  unary("Abs", (x) => absOf(number(x))),
  unary("Neg", (x) => negOf(number(x))),
  unary("Sign", (x) => (isFloat(x) ? where(isnan(x), full([], 0, x.type), signOf(x)) : signOf(number(x)))),
  unary("Square", (x) => square(number(x))),
  rounding("Floor", "floor"),
  rounding("Ceil", "ceil"),
  rounding("Round", "round"),
  real("Sqrt", "sqrt"),
  real("Rsqrt", "rsqrt"),
  real("Reciprocal", "reciprocal"),
  real("Exp", "exp"),
  real("Expm1", "expm1"),
  real("Log", "log"),
  real("Log1p", "log1p"),
  real("Erf", "erf"),
  real("Sigmoid", "sigmoid"),
  real("Tanh", "tanh"),
  real("Sin", "sin"),
  real("Cos", "cos"),
  real("Tan", "tan"),
  real("Asin", "asin"),
  real("Acos", "acos"),
  real("Atan", "atan"),
  real("Sinh", "sinh"),
  real("Cosh", "cosh"),
  real("Asinh", "asinh"),
  real("Acosh", "acosh"),
  real("Atanh", "atanh"),
  unary("IsNan", isnan),
  real("IsInf", "isinf"),
  real("IsFinite", "isfinite"),

  unary("Relu", (x) => relu(number(x))),
  unary("Relu6", (x) => clamp(number(x), 0, 6)),
  real("Elu", "elu"),
  real("Selu", "selu"),
  real("Softplus", "softplus"),
  kernel<UnaryInputs, LeakyReluAttrs>("LeakyRelu", ({ x }, { alpha }) => leakyRelu(float(x), alpha)),
  kernel<{ x: Value; alpha: Value }>("Prelu", ({ x, alpha }) => prelu(float(x), float(alpha))),
  kernel<UnaryInputs, StepAttrs>("Step", ({ x }, { alpha }) => cast(step(x, alpha), x.type)),
  kernel<UnaryInputs, ClipByValueAttrs>("ClipByValue", ({ x }, { clipValueMin, clipValueMax }) => clamp(x, clipValueMin, clipValueMax)),
  // d elu / dx from y: y + 1 below zero, 1 above.
  kernel<{ dy: Value; y: Value }>("EluGrad", ({ dy, y }) => where(gtScalar(y, 0), dy, mul(dy, addScalar(y, 1)))),
];
