/**
 * Convolutions and their gradients in two and three dimensions, dense and depthwise, over ATen's `convolution` and
 * `convolution_backward`. Networks of this project call ../ops.ts instead, which lays filters out once; these kernels serve
 * the TensorFlow.js API.
 */
import type {
  Conv2DAttrs,
  Conv2DBackpropFilterAttrs,
  Conv2DBackpropInputAttrs,
  Conv3DAttrs,
  Conv3DBackpropFilterV2Attrs,
  Conv3DBackpropInputV2Attrs,
  DepthwiseConv2dNativeAttrs,
  DepthwiseConv2dNativeBackpropFilterAttrs,
  DepthwiseConv2dNativeBackpropInputAttrs,
  FusedConv2DAttrs,
  FusedDepthwiseConv2DAttrs,
  KernelConfig,
} from "@tensorflow/tfjs-core";
import { backend_util, util } from "@tensorflow/tfjs-core";
import { invariant } from "../../../util/error.js";
import { aten, atenMany } from "../aten.js";
import { FLOAT } from "../scalar-type.js";
import type { Value } from "../value.js";
import { empty, float, permute, reshape } from "./convert.js";
import { kernel } from "./define.js";
import { activate } from "./fused-activation.js";
import { channelsFirst, channelsLast, cropPadding, paddedSizes, padInput, type Window, window2d, window3d } from "./window.js";

type Shape4 = [number, number, number, number];
type Shape5 = [number, number, number, number, number];
type Strides = number | [number, number];

const convolution = aten("convolution");
const convolutionBackward = atenMany("convolution_backward");
const add = aten("add.Tensor");

/** x [B,C,...], weight [O,C/groups,...] -> [B,O,...] */
function forward(x: Value, weight: Value, window: Window, groups: number): Value {
  const input = window.padding ? x : padInput(x, window, 0);
  const zeros = window.axes.map(() => 0);
  return convolution(input, weight, null, window.stride, window.padding ?? zeros, window.dilation, false, zeros, groups);
}

function backward(dy: Value, x: Value, weight: Value, window: Window, groups: number, mask: readonly boolean[]): Value {
  const zeros = window.axes.map(() => 0);
  const padding = window.padding ?? zeros;
  const [result] = convolutionBackward(dy, x, weight, null, window.stride, padding, window.dilation, false, zeros, groups, mask);
  invariant(result, "convolution_backward returned nothing");
  return result;
}

function inputGradient(dy: Value, weight: Value, window: Window, groups: number, channels: number): Value {
  const sizes = window.padding ? window.axes.map(({ input }) => input) : paddedSizes(window);
  // Only its sizes and layout are read.
  const input = channelsFirst(empty([dy.shape[0] as number, ...sizes, channels], FLOAT));
  const dx = backward(dy, input, weight, window, groups, [true, false, false]);
  return window.padding ? dx : cropPadding(dx, window);
}

function filterGradient(x: Value, dy: Value, weightShape: readonly number[], window: Window, groups: number): Value {
  const input = window.padding ? x : padInput(x, window, 0);
  return backward(dy, input, empty(weightShape, FLOAT), window, groups, [false, true, false]);
}

/** [kh,kw,C,O] or [kd,kh,kw,C,O] -> [O,C,...] */
function dense(filter: Value): Value {
  const spatial = filter.shape.slice(0, -2).map((_, i) => i);
  return permute(float(filter), [filter.shape.length - 1, filter.shape.length - 2, ...spatial]);
}

function denseBack(weight: Value): Value {
  const spatial = weight.shape.slice(2).map((_, i) => i + 2);
  return permute(weight, [...spatial, 1, 0]);
}

/** [kh,kw,C,M] -> [C M,1,kh,kw] */
function depthwise(filter: Value): Value {
  const [kh = 0, kw = 0, channels = 0, multiplier = 0] = filter.shape;
  return reshape(permute(float(filter), [2, 3, 0, 1]), [channels * multiplier, 1, kh, kw]);
}

function depthwiseBack(weight: Value, [kh = 0, kw = 0, channels = 0, multiplier = 0]: readonly number[]): Value {
  return permute(reshape(weight, [channels, multiplier, kh, kw]), [2, 3, 0, 1]);
}

/** To [B,C,H,W] from either format, and back. */
function toNative(x: Value, dataFormat: "NHWC" | "NCHW" | undefined): Value {
  return dataFormat === "NCHW" ? float(x) : channelsFirst(float(x));
}

function fromNative(y: Value, dataFormat: "NHWC" | "NCHW" | undefined): Value {
  return dataFormat === "NCHW" ? y : channelsLast(y);
}

interface Geometry2d {
  readonly strides: Strides;
  readonly pad: Conv2DAttrs["pad"];
  readonly dataFormat?: "NHWC" | "NCHW";
  readonly dilations?: Strides;
  readonly dimRoundingMode?: "floor" | "round" | "ceil" | undefined;
}

function geometry2d(input: readonly number[], filter: readonly number[], attrs: Geometry2d, isDepthwise = false): Window {
  const format = backend_util.convertConv2DDataFormat(attrs.dataFormat ?? "NHWC");
  const dilations = attrs.dilations ?? 1;
  const { strides, pad, dimRoundingMode } = attrs;
  if (isDepthwise) {
    util.assert(
      backend_util.eitherStridesOrDilationsAreOne(strides, dilations),
      () => `Error in depthwiseConv2d: Either strides or dilations must be 1. Got strides ${strides} and dilations '${dilations}'`,
    );
  }
  return window2d(
    backend_util.computeConv2DInfo(input as Shape4, filter as Shape4, strides, dilations, pad, dimRoundingMode, isDepthwise, format),
  );
}

function conv2d(x: Value, filter: Value, attrs: Geometry2d): Value {
  return fromNative(forward(toNative(x, attrs.dataFormat), dense(filter), geometry2d(x.shape, filter.shape, attrs), 1), attrs.dataFormat);
}

function depthwiseConv2d(x: Value, filter: Value, attrs: Geometry2d): Value {
  const window = geometry2d(x.shape, filter.shape, attrs, true);
  const groups = filter.shape[2] as number;
  return fromNative(forward(toNative(x, attrs.dataFormat), depthwise(filter), window, groups), attrs.dataFormat);
}

type Fused = { x: Value; filter: Value; bias?: Value; preluActivationWeights?: Value };

/** A vector along the channels, which come first in NCHW. */
function alongChannels(vector: Value, dataFormat: "NHWC" | "NCHW" | undefined): Value {
  return dataFormat === "NCHW" && vector.shape.length === 1 && vector.shape[0] !== 1
    ? reshape(vector, [vector.shape[0] as number, 1, 1])
    : vector;
}

function fused(
  y: Value,
  { bias, preluActivationWeights: prelu }: Fused,
  { dataFormat, activation, leakyreluAlpha }: FusedConv2DAttrs | FusedDepthwiseConv2DAttrs,
): Value {
  const shifted = bias ? add(y, alongChannels(bias, dataFormat)) : y;
  return activate(shifted, activation, prelu && alongChannels(prelu, dataFormat), leakyreluAlpha);
}

function geometry3d(
  input: readonly number[],
  filter: readonly number[],
  { strides, pad, dilations }: Pick<Conv3DAttrs, "strides" | "pad"> & Partial<Conv3DAttrs>,
): Window {
  return window3d(backend_util.computeConv3DInfo(input as Shape5, filter as Shape5, strides, dilations ?? 1, pad));
}

type XFilter = { x: Value; filter: Value };
type DyFilter = { dy: Value; filter: Value };
type XDy = { x: Value; dy: Value };

export const convolutions: readonly KernelConfig[] = [
  kernel<XFilter, Conv2DAttrs>("Conv2D", ({ x, filter }, attrs) => conv2d(x, filter, attrs)),
  kernel<Fused, FusedConv2DAttrs>("FusedConv2D", (inputs, attrs) => fused(conv2d(inputs.x, inputs.filter, attrs), inputs, attrs)),
  kernel<DyFilter, Conv2DBackpropInputAttrs>("Conv2DBackpropInput", ({ dy, filter }, attrs) => {
    const window = geometry2d(attrs.inputShape, filter.shape, attrs);
    const dx = inputGradient(toNative(dy, attrs.dataFormat), dense(filter), window, 1, filter.shape[2] as number);
    return fromNative(dx, attrs.dataFormat);
  }),
  kernel<XDy, Conv2DBackpropFilterAttrs>("Conv2DBackpropFilter", ({ x, dy }, attrs) => {
    const [kh, kw, cin, cout] = attrs.filterShape;
    const window = geometry2d(x.shape, attrs.filterShape, attrs);
    return denseBack(filterGradient(toNative(x, attrs.dataFormat), toNative(dy, attrs.dataFormat), [cout, cin, kh, kw], window, 1));
  }),

  kernel<XFilter, DepthwiseConv2dNativeAttrs>("DepthwiseConv2dNative", ({ x, filter }, attrs) => depthwiseConv2d(x, filter, attrs)),
  kernel<Fused, FusedDepthwiseConv2DAttrs>("FusedDepthwiseConv2D", (inputs, attrs) =>
    fused(depthwiseConv2d(inputs.x, inputs.filter, attrs), inputs, attrs),
  ),
  kernel<DyFilter, DepthwiseConv2dNativeBackpropInputAttrs>("DepthwiseConv2dNativeBackpropInput", ({ dy, filter }, attrs) => {
    const window = geometry2d(attrs.inputShape, filter.shape, attrs, true);
    const groups = filter.shape[2] as number;
    return channelsLast(inputGradient(channelsFirst(float(dy)), depthwise(filter), window, groups, groups));
  }),
  kernel<XDy, DepthwiseConv2dNativeBackpropFilterAttrs>("DepthwiseConv2dNativeBackpropFilter", ({ x, dy }, attrs) => {
    const [kh, kw, channels, multiplier] = attrs.filterShape;
    const window = geometry2d(x.shape, attrs.filterShape, attrs, true);
    const shape = [channels * multiplier, 1, kh, kw];
    return depthwiseBack(filterGradient(channelsFirst(float(x)), channelsFirst(float(dy)), shape, window, channels), attrs.filterShape);
  }),

  kernel<XFilter, Conv3DAttrs>("Conv3D", ({ x, filter }, attrs) =>
    channelsLast(forward(channelsFirst(float(x)), dense(filter), geometry3d(x.shape, filter.shape, attrs), 1)),
  ),
  kernel<DyFilter, Conv3DBackpropInputV2Attrs>("Conv3DBackpropInputV2", ({ dy, filter }, attrs) => {
    const window = geometry3d(attrs.inputShape, filter.shape, attrs);
    return channelsLast(inputGradient(channelsFirst(float(dy)), dense(filter), window, 1, filter.shape[3] as number));
  }),
  kernel<XDy, Conv3DBackpropFilterV2Attrs>("Conv3DBackpropFilterV2", ({ x, dy }, attrs) => {
    const [kd, kh, kw, cin, cout] = attrs.filterShape;
    const window = geometry3d(x.shape, attrs.filterShape, attrs);
    return denseBack(filterGradient(channelsFirst(float(x)), channelsFirst(float(dy)), [cout, cin, kd, kh, kw], window, 1));
  }),
];
