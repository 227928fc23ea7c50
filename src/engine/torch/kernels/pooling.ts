/** Pooling and its gradients in two and three dimensions. Padding never counts: not as a maximum, not in an average. */
import type { AvgPool3DAttrs, AvgPoolAttrs, AvgPoolGradAttrs, KernelConfig, MaxPoolAttrs } from "@tensorflow/tfjs-core";
import { backend_util } from "@tensorflow/tfjs-core";
import { invariant } from "../../../util/error.js";
import { aten, atenMany } from "../aten.js";
import { FLOAT } from "../scalar-type.js";
import { fromHost, type Value } from "../value.js";
import { cast, empty, float } from "./convert.js";
import { kernel } from "./define.js";
import { channelsFirst, channelsLast, cropPadding, halfWindow, paddedSizes, padInput, type Window, window2d, window3d } from "./window.js";

type Dimensions = 2 | 3;
type Attrs = Pick<AvgPoolGradAttrs, "filterSize" | "strides" | "pad"> & Partial<AvgPoolAttrs>;
type Attrs3d = Pick<AvgPool3DAttrs, "filterSize" | "strides" | "pad"> & Partial<AvgPool3DAttrs>;

const maxPool = { 2: atenMany("max_pool2d_with_indices"), 3: atenMany("max_pool3d_with_indices") } as const;
const maxPoolBackward = { 2: aten("max_pool2d_with_indices_backward"), 3: aten("max_pool3d_with_indices_backward") } as const;
const avgPool = { 2: aten("avg_pool2d"), 3: aten("avg_pool3d") } as const;
const avgPoolBackward = { 2: aten("avg_pool2d_backward"), 3: aten("avg_pool3d_backward") } as const;
const div = aten("div.Tensor");

function windowFor(dimensions: Dimensions, shape: readonly number[], attrs: unknown): Window {
  if (dimensions === 2) {
    const { filterSize, strides, pad, dimRoundingMode } = attrs as Attrs;
    return window2d(backend_util.computePool2DInfo(shape as never, filterSize, strides, 1, pad, dimRoundingMode), halfWindow);
  }
  const { filterSize, strides, pad, dimRoundingMode, dataFormat } = attrs as Attrs3d;
  return window3d(backend_util.computePool3DInfo(shape as never, filterSize, strides, 1, pad, dimRoundingMode, dataFormat), halfWindow);
}

function zeros({ axes }: Window): number[] {
  return axes.map(() => 0);
}

/** The pooled maxima and where they were, with the input as the windows saw it. */
function maxima(x: Value, window: Window, dimensions: Dimensions): { input: Value; y: Value; indices: Value } {
  const native = channelsFirst(float(x));
  const input = window.padding ? native : padInput(native, window, Number.NEGATIVE_INFINITY);
  const [y, indices] = maxPool[dimensions](input, window.kernel, window.stride, window.padding ?? zeros(window), window.dilation, false);
  invariant(y && indices, "max_pool returns values and indices");
  return { input, y, indices };
}

/** How many pixels of the input each window covers, at least 1: an outer product of one count an axis. */
function coverage({ axes }: Window): Value {
  const counts = axes.map(({ input, output, kernel, stride, before }) =>
    Array.from({ length: output }, (_, i) => Math.max(1, Math.min(input, i * stride - before + kernel) - Math.max(0, i * stride - before))),
  );
  const product = counts.reduce((outer, inner) => outer.flatMap((a) => inner.map((b) => a * b)), [1]);
  return fromHost(
    Float32Array.from(product),
    FLOAT,
    axes.map(({ output }) => output),
  );
}

function averages(x: Value, window: Window, dimensions: Dimensions): Value {
  const input = padInput(channelsFirst(float(x)), window, 0);
  const sums = avgPool[dimensions](input, window.kernel, window.stride, zeros(window), false, true, 1);
  return channelsLast(div(sums, coverage(window)));
}

function averageGradient(dy: Value, input: Value, window: Window, dimensions: Dimensions): Value {
  const share = div(channelsFirst(float(dy)), coverage(window));
  const shape = input.shape;
  const padded = channelsFirst(empty([shape[0] as number, ...paddedSizes(window), shape.at(-1) as number], FLOAT));
  const dx = avgPoolBackward[dimensions](share, padded, window.kernel, window.stride, zeros(window), false, true, 1);
  return channelsLast(cropPadding(dx, window));
}

/** Nothing comes out, or what went in: TensorFlow.js says that windows of one pixel change nothing where no size changes. */
function trivial(x: Value, { axes }: Window): Value | undefined {
  if (axes.some(({ output }) => output <= 0)) {
    return empty([x.shape[0] as number, ...axes.map(({ output }) => Math.max(0, output)), x.shape.at(-1) as number], x.type);
  }
  return axes.every(({ input, output, kernel }) => kernel === 1 && input === output) ? x : undefined;
}

function pooling(dimensions: Dimensions, suffix: string): KernelConfig[] {
  return [
    kernel<{ x: Value }, MaxPoolAttrs>(`MaxPool${suffix}`, ({ x }, attrs) => {
      const window = windowFor(dimensions, x.shape, attrs);
      return trivial(x, window) ?? cast(channelsLast(maxima(x, window, dimensions).y), x.type);
    }),
    kernel<{ dy: Value; input: Value }, MaxPoolAttrs>(`MaxPool${suffix}Grad`, ({ dy, input: x }, attrs) => {
      const window = windowFor(dimensions, x.shape, attrs);
      const { input, indices } = maxima(x, window, dimensions);
      const gradient = channelsFirst(float(dy));
      const padding = window.padding ?? zeros(window);
      const dx = maxPoolBackward[dimensions](gradient, input, window.kernel, window.stride, padding, window.dilation, false, indices);
      return channelsLast(window.padding ? dx : cropPadding(dx, window));
    }),
    kernel<{ x: Value }, AvgPoolAttrs>(`AvgPool${suffix}`, ({ x }, attrs) => {
      const window = windowFor(dimensions, x.shape, attrs);
      return trivial(x, window) ?? averages(x, window, dimensions);
    }),
    kernel<{ dy: Value; input: Value }, AvgPoolGradAttrs>(`AvgPool${suffix}Grad`, ({ dy, input }, attrs) =>
      averageGradient(dy, input, windowFor(dimensions, input.shape, attrs), dimensions),
    ),
  ];
}

export const poolings: readonly KernelConfig[] = [...pooling(2, ""), ...pooling(3, "3D")];
