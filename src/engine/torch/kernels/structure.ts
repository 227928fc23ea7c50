/** Kernels that move, join, cut or make values and compute nothing. What can be a view of the same storage is one. */
import type {
  CastAttrs,
  ConcatAttrs,
  ExpandDimsAttrs,
  FillAttrs,
  KernelConfig,
  MirrorPadAttrs,
  OneHotAttrs,
  PackAttrs,
  PadV2Attrs,
  RangeAttrs,
  ReshapeAttrs,
  ReverseAttrs,
  SliceAttrs,
  SplitVAttrs,
  StridedSliceAttrs,
  TileAttrs,
  TransposeAttrs,
  UnpackAttrs,
} from "@tensorflow/tfjs-core";
import { backend_util, slice_util, util } from "@tensorflow/tfjs-core";
import { aten, atenMany } from "../aten.js";
import { device } from "../bridge.js";
import { BOOL, COMPLEX, FLOAT, INT, scalarTypeOf } from "../scalar-type.js";
import type { Value } from "../value.js";
import { cast, full, int32, isFloat, permute, range, reshape } from "./convert.js";
import { kernel, listKernel } from "./define.js";

type X = { x: Value };

const slice = aten("slice.Tensor");
const cat = aten("cat");
const stack = aten("stack");
const unbind = atenMany("unbind.int");
const splitWithSizes = atenMany("split_with_sizes");
const constantPad = aten("constant_pad_nd");
const indexSelect = aten("index_select");
const repeat = aten("repeat");
const flip = aten("flip");
const unsqueeze = aten("unsqueeze");
const zerosLike = aten("zeros_like");
const onesLike = aten("ones_like");
const where = aten("where.self");
const eq = aten("eq.Tensor");
const trunc = aten("trunc");
const linspace = aten("linspace");
const realPart = aten("real");

function sliced(x: Value, begin: readonly number[], size: readonly number[]): Value {
  let y = x;
  for (let axis = 0; axis < x.shape.length; axis++) {
    const first = begin[axis] as number;
    const length = size[axis] as number;
    if (first !== 0 || length !== x.shape[axis]) y = slice(y, axis, first, first + length, 1);
  }
  return y;
}

function stridedSlice(x: Value, attrs: StridedSliceAttrs): Value {
  const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attrs;
  const info = slice_util.sliceInfo(x.shape, begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask);
  if (info.isIdentity) return reshape(x, info.finalShape);
  if (info.finalShapeSparse.some((length) => length === 0)) return full(info.finalShape, 0, x.type);
  let y = x;
  for (let axis = 0; axis < x.shape.length; axis++) {
    const first = info.begin[axis] as number;
    const last = info.end[axis] as number;
    const stride = info.strides[axis] as number;
    if (stride > 0) y = slice(y, axis, first, last, stride);
    // ATen's slices only go forward: reverse, then count from the other end.
    else y = slice(flip(y, [axis]), axis, (x.shape[axis] as number) - 1 - first, (x.shape[axis] as number) - 1 - last, -stride);
  }
  return reshape(y, info.finalShape);
}

function converted(x: Value, attrs: CastAttrs): Value {
  const type = scalarTypeOf(attrs.dtype);
  if (type === x.type || (type === FLOAT && isFloat(x))) return x;
  if (x.type === COMPLEX) return cast(realPart(x), type);
  // By way of the truncated value: a float beyond int32 has no defined conversion.
  return cast(type === INT && isFloat(x) ? trunc(x) : x, type);
}

/** constant_pad_nd counts from the last axis. */
function padded(x: Value, paddings: readonly (readonly [number, number])[], value: number): Value {
  return constantPad(x, [...paddings].reverse().flat(), value);
}

function mirrored(x: Value, { paddings, mode }: MirrorPadAttrs): Value {
  const skip = mode === "reflect" ? 1 : 0;
  return paddings.reduce((y, [before, after], axis) => {
    if (before === 0 && after === 0) return y;
    const length = x.shape[axis] as number;
    const indices: number[] = [];
    for (let i = -before; i < length + after; i++) indices.push(i < 0 ? -i - 1 + skip : i >= length ? 2 * length - i - 1 - skip : i);
    return indexSelect(y, axis, int32(indices));
  }, x);
}

function split(x: Value, { numOrSizeSplits, axis }: SplitVAttrs): Value[] {
  const [along = 0] = util.parseAxisParam(axis, x.shape);
  return splitWithSizes(x, backend_util.prepareSplitSize(x as never, numOrSizeSplits, along), along);
}

function oneHot(indices: Value, { depth, onValue, offValue, dtype }: OneHotAttrs): Value {
  const type = scalarTypeOf(dtype);
  const hit = eq(unsqueeze(indices, -1), range(0, depth, 1, INT));
  if (type === BOOL) return hit;
  return where(hit, full([], onValue, type), full([], offValue, type));
}

/** A new view of the same storage: each dataId has exactly one shape. */
function reshaped(x: Value, shape: readonly number[]): Value {
  const sizes = util.inferFromImplicitShape([...shape], util.sizeFromShape(x.shape)) ?? [];
  return util.arraysEqual(sizes, x.shape) ? x : reshape(x, sizes);
}

export const structure: readonly KernelConfig[] = [
  kernel<X>("Identity", ({ x }) => x),
  kernel<X, ReshapeAttrs>("Reshape", ({ x }, { shape }) => reshaped(x, shape)),
  kernel<{ input: Value }, ExpandDimsAttrs>("ExpandDims", ({ input }, { dim }) => unsqueeze(input, dim)),
  kernel<X, CastAttrs>("Cast", ({ x }, attrs) => converted(x, attrs)),
  kernel<X, TransposeAttrs>("Transpose", ({ x }, { perm }) => permute(x, perm)),
  kernel<X, SliceAttrs>("Slice", ({ x }, { begin, size }) => {
    const [first = [], lengths = []] = slice_util.parseSliceParams(x, begin, size);
    slice_util.assertParamsValid(x, first, lengths);
    return sliced(x, first, lengths);
  }),
  kernel<X, StridedSliceAttrs>("StridedSlice", ({ x }, attrs) => stridedSlice(x, attrs)),
  listKernel<ConcatAttrs>("Concat", (inputs, { axis }) => {
    const [along = 0] = util.parseAxisParam(axis, (inputs[0] as Value).shape);
    backend_util.assertParamsConsistent(
      inputs.map((input) => input.shape),
      along,
    );
    return cat(inputs, along);
  }),
  listKernel<PackAttrs>("Pack", (inputs, { axis }) => {
    for (const { shape } of inputs)
      util.assertShapesMatch((inputs[0] as Value).shape, shape, "All tensors passed to stack must have matching shapes");
    for (const { dtype } of inputs) util.assert(dtype === inputs[0]?.dtype, () => "All tensors passed to stack must have matching dtypes");
    return stack(inputs, axis);
  }),
  kernel<{ value: Value }, UnpackAttrs>("Unpack", ({ value }, { axis }) => unbind(value, axis)),
  kernel<X, SplitVAttrs>("SplitV", ({ x }, attrs) => split(x, attrs)),
  kernel<X, TileAttrs>("Tile", ({ x }, { reps }) => repeat(x, reps)),
  kernel<X, PadV2Attrs>("PadV2", ({ x }, { paddings, constantValue }) => padded(x, paddings, constantValue)),
  kernel<X, MirrorPadAttrs>("MirrorPad", ({ x }, attrs) => mirrored(x, attrs)),
  kernel<X, ReverseAttrs>("Reverse", ({ x }, { dims }) => flip(x, util.parseAxisParam(dims, x.shape))),
  kernel<{ image: Value }>("FlipLeftRight", ({ image }) => flip(image, [2])),
  kernel<{ indices: Value }, OneHotAttrs>("OneHot", ({ indices }, attrs) => oneHot(indices, attrs)),
  kernel<object, FillAttrs>("Fill", (_, { shape, value, dtype }) =>
    full(shape, value as number, scalarTypeOf(dtype ?? util.inferDtype(value))),
  ),
  kernel<X>("ZerosLike", ({ x }) => zerosLike(x)),
  kernel<X>("OnesLike", ({ x }) => onesLike(x)),
  kernel<object, RangeAttrs>("Range", (_, { start, stop, step, dtype }) => ranged(start, stop, step, scalarTypeOf(dtype))),
  kernel<object, { start: number; stop: number; num: number }>("LinSpace", (_, { start, stop, num }) =>
    linspace(start, stop, num, FLOAT, null, device()),
  ),
];

/** Empty where start and stop lie the other way round for the step's sign. */
function ranged(start: number, stop: number, step: number, type: number): Value {
  const wrongWay = start === stop || (start < stop && step < 0) || (stop < start && step > 1);
  return wrongWay ? full([0], 0, type) : range(start, stop, step === 1 && stop < start ? -1 : step, type);
}
