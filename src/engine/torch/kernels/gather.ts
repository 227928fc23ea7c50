/** Kernels that follow an index or an order: gather, segment sums, top k, running sums. */
import type { CumsumAttrs, GatherV2Attrs, KernelConfig, TopKAttrs, UnsortedSegmentSumAttrs } from "@tensorflow/tfjs-core";
import { backend_util, util } from "@tensorflow/tfjs-core";
import { invariant } from "../../../util/error.js";
import { aten, atenMany } from "../aten.js";
import { bridge } from "../bridge.js";
import { BOOL, INT, LONG } from "../scalar-type.js";
import type { Value } from "../value.js";
import { cast, full, reshape } from "./convert.js";
import { kernel } from "./define.js";

const gather = aten("gather");
const expand = aten("expand");
const indexSelect = aten("index_select");
const indexAdd = aten("index_add");
const slice = aten("slice.Tensor");
const sort = atenMany("sort.stable");
const flip = aten("flip");
const cumsum = aten("cumsum");
const cumprod = aten("cumprod");
const constantPad = aten("constant_pad_nd");
const ltScalar = aten("lt.Scalar");
const geScalar = aten("ge.Scalar");
const logicalOr = aten("logical_or");
const where = aten("where.self");

/** An index beyond the axis raises in ATen's words (and ends a CUDA context): say which it was. */
function checkIndices(indices: Value, size: number): void {
  const values = new Int32Array(util.sizeFromShape(indices.shape));
  bridge().read(indices.handle, values);
  for (const index of values) {
    util.assert(index >= 0 && index < size, () => `GatherV2: the index value ${index} is not in [0, ${size - 1}]`);
  }
}

function gathered(x: Value, indices: Value, { axis, batchDims }: GatherV2Attrs): Value {
  const [along = 0] = util.parseAxisParam(axis, x.shape);
  checkIndices(indices, x.shape[along] as number);
  const ids = cast(indices, INT);
  if ((batchDims ?? 0) === 0) {
    const picked = indexSelect(x, along, reshape(ids, [-1]));
    return reshape(picked, [...x.shape.slice(0, along), ...indices.shape, ...x.shape.slice(along + 1)]);
  }
  const info = backend_util.segment_util.collectGatherOpShapeInfo(x as never, indices as never, along, batchDims ?? 0);
  const { batchSize, outerSize, dimSize, sliceSize, outputShape } = info;
  const perBatch = util.sizeFromShape(indices.shape) / batchSize;
  const flat = reshape(x, [batchSize, outerSize, dimSize, sliceSize]);
  const at = expand(reshape(cast(ids, LONG), [batchSize, 1, perBatch, 1]), [batchSize, outerSize, perBatch, sliceSize]);
  return reshape(gather(flat, 2, at), outputShape);
}

/** Ids outside of [0, numSegments) are dropped: they go to one segment more, which is cut off. */
function segmentSums(x: Value, segmentIds: Value, numSegments: number): Value {
  invariant(segmentIds.shape.length === 1, "segment ids are a vector");
  const outside = logicalOr(ltScalar(segmentIds, 0), geScalar(segmentIds, numSegments));
  const ids = where(outside, full([], numSegments, INT), cast(segmentIds, INT));
  const values = x.type === BOOL ? cast(x, INT) : x;
  const sums = indexAdd(full([numSegments + 1, ...x.shape.slice(1)], 0, values.type), 0, ids, values);
  return slice(sums, 0, 0, numSegments, 1);
}

/** Equal values stay in the order of their indices, as in TensorFlow.js. */
function topK(x: Value, { k }: TopKAttrs): Value[] {
  const last = x.shape.length - 1;
  const [values, indices] = sort(x, true, last, true);
  invariant(values && indices, "sort returns values and indices");
  return [slice(values, last, 0, k, 1), slice(indices, last, 0, k, 1)];
}

/** Running sums or products: from the end if reversed; exclusive ones begin with the neutral element. */
function running(apply: (x: Value, axis: number) => Value, neutral: number): (x: Value, attrs: CumsumAttrs) => Value {
  return (x, { axis, exclusive, reverse }) => {
    const [along = 0] = util.parseAxisParam(axis, x.shape);
    const ordered = reverse ? flip(x, [along]) : x;
    const inclusive = apply(ordered.type === BOOL ? cast(ordered, INT) : ordered, along);
    const y = cast(inclusive, x.type === BOOL ? INT : x.type);
    const shifted = exclusive ? shift(y, along, neutral) : y;
    return reverse ? flip(shifted, [along]) : shifted;
  };
}

function shift(x: Value, axis: number, neutral: number): Value {
  const padding = x.shape.flatMap((_, i) => (x.shape.length - 1 - i === axis ? [1, 0] : [0, 0]));
  return slice(constantPad(x, padding, neutral), axis, 0, x.shape[axis] as number, 1);
}

const sums = running((x, axis) => cumsum(x, axis), 0);
const products = running((x, axis) => cumprod(x, axis), 1);

export const gathers: readonly KernelConfig[] = [
  kernel<{ x: Value; indices: Value }, GatherV2Attrs>("GatherV2", ({ x, indices }, attrs) => gathered(x, indices, attrs)),
  kernel<{ x: Value; segmentIds: Value }, UnsortedSegmentSumAttrs>("UnsortedSegmentSum", ({ x, segmentIds }, { numSegments }) =>
    segmentSums(x, segmentIds, numSegments),
  ),
  kernel<{ x: Value }, TopKAttrs>("TopK", ({ x }, attrs) => topK(x, attrs)),
  kernel<{ x: Value }, CumsumAttrs>("Cumsum", ({ x }, attrs) => sums(x, attrs)),
  kernel<{ x: Value }, CumsumAttrs>("Cumprod", ({ x }, attrs) => products(x, attrs)),
];
