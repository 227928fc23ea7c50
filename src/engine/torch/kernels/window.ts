/**
 * Sliding windows (convolution, pooling) in two or three dimensions, from what TensorFlow.js computes of their geometry to
 * what ATen takes. ATen pads both ends alike; where TensorFlow.js does not ('same' with a stride, rounding up), the input is
 * padded before.
 */
import type { backend_util } from "@tensorflow/tfjs-core";
import { aten } from "../aten.js";
import type { Value } from "../value.js";
import { permute } from "./convert.js";

const constantPad = aten("constant_pad_nd");
const slice = aten("slice.Tensor");

/** One spatial axis. */
interface Axis {
  readonly input: number;
  readonly output: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** Padding before and, as far as the windows reach, after; negative where they don't reach the end. */
  readonly before: number;
  readonly after: number;
}

export interface Window {
  readonly axes: readonly Axis[];
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** What ATen may pad itself; null where the input must be padded before. */
  readonly padding: readonly number[] | null;
}

/** `maxPadding` is the widest that the operator takes, for each kernel size: pooling allows half a window. */
function windowOf(axes: readonly Axis[], maxPadding: (kernel: number) => number): Window {
  const even = axes.every(
    ({ input, output, kernel, stride, dilation, before }) =>
      Math.floor((input + 2 * before - (dilation * (kernel - 1) + 1)) / stride) + 1 === output && before <= maxPadding(kernel),
  );
  return {
    axes,
    kernel: axes.map(({ kernel }) => kernel),
    stride: axes.map(({ stride }) => stride),
    dilation: axes.map(({ dilation }) => dilation),
    padding: even ? axes.map(({ before }) => before) : null,
  };
}

function axis(input: number, output: number, kernel: number, stride: number, dilation: number, before: number): Axis {
  return { input, output, kernel, stride, dilation, before, after: (output - 1) * stride + dilation * (kernel - 1) + 1 - input - before };
}

const unlimited = (): number => Number.POSITIVE_INFINITY;
export const halfWindow = (kernel: number): number => Math.floor(kernel / 2);

export function window2d(info: backend_util.Conv2DInfo, maxPadding: (kernel: number) => number = unlimited): Window {
  return windowOf(
    [
      axis(info.inHeight, info.outHeight, info.filterHeight, info.strideHeight, info.dilationHeight, info.padInfo.top),
      axis(info.inWidth, info.outWidth, info.filterWidth, info.strideWidth, info.dilationWidth, info.padInfo.left),
    ],
    maxPadding,
  );
}

export function window3d(info: backend_util.Conv3DInfo, maxPadding: (kernel: number) => number = unlimited): Window {
  return windowOf(
    [
      axis(info.inDepth, info.outDepth, info.filterDepth, info.strideDepth, info.dilationDepth, info.padInfo.front),
      axis(info.inHeight, info.outHeight, info.filterHeight, info.strideHeight, info.dilationHeight, info.padInfo.top),
      axis(info.inWidth, info.outWidth, info.filterWidth, info.strideWidth, info.dilationWidth, info.padInfo.left),
    ],
    maxPadding,
  );
}

/** The input as the windows see it, padded with `fill`; channels come first. */
export function padInput(x: Value, { axes }: Window, fill: number): Value {
  return constantPad(
    x,
    [...axes].reverse().flatMap(({ before, after }) => [before, after]),
    fill,
  );
}

/** Spatial sizes of the padded input. */
export function paddedSizes({ axes }: Window): number[] {
  return axes.map(({ input, before, after }) => input + before + after);
}

/** Takes padding off again: a gradient of the padded input becomes one of the input. */
export function cropPadding(dx: Value, { axes }: Window): Value {
  // What the windows never reached was cut away by negative padding: its gradient is zero.
  const grown = constantPad(
    dx,
    [...axes].reverse().flatMap(({ after }) => [0, Math.max(0, -after)]),
    0,
  );
  return axes.reduce((y, { input, before }, i) => slice(y, 2 + i, before, before + input, 1), grown);
}

/** [B,...spatial,C] -> [B,C,...spatial]: a view. */
export function channelsFirst(x: Value): Value {
  return permute(x, x.shape.length === 4 ? [0, 3, 1, 2] : [0, 4, 1, 2, 3]);
}

export function channelsLast(x: Value): Value {
  return permute(x, x.shape.length === 4 ? [0, 2, 3, 1] : [0, 2, 3, 4, 1]);
}
