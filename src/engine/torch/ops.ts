/**
 * The declared extras (../ops.ts) over fused ATen operators. Images [B,H,W,C] are passed as channels_last views, so no call
 * copies one; filters are laid out once by `layoutFilter` and passed as they are.
 *
 * Networks call these thousands of times a second, so each function goes straight to the bridge: no kernel look-up, no tape.
 */

import type { Rank, Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { IsoergError, invariant } from "../../util/error.js";
import type { ConvGeometry, EngineOps, NoiseKey, Precision } from "../ops.js";
import { activate, activateGrad } from "./activation.js";
import { aten, atenMany } from "./aten.js";
import type { TorchBackend } from "./backend.js";
import { bridge, device } from "./bridge.js";
import { groupNorm, groupNormGrad } from "./group-norm.js";
import { cast, empty, full } from "./kernels/convert.js";
import { narrowInputGradient, noiseRows, winogradConvolution, winogradFilterGradient } from "./own-kernels.js";
import { recordLaunches } from "./recording.js";
import { BFLOAT16, FLOAT } from "./scalar-type.js";
import { scope, type Value } from "./value.js";

const permute = aten("permute");
const convolution = aten("convolution");
const convolutionBackward = atenMany("convolution_backward");
const clone = aten("clone");
const contiguous = aten("contiguous");
const mean = aten("mean.dim");
const mulScalar = aten("mul.Scalar");
const viewAs = aten("view");
const expand = aten("expand");

const NCHW = [0, 3, 1, 2] as const;
const NHWC = [0, 2, 3, 1] as const;
const OIHW = [3, 2, 0, 1] as const;
const HWIO = [2, 3, 1, 0] as const;
const ONE = [1, 1] as const;
const NONE = [0, 0] as const;
const INPUT_ONLY = [true, false, false] as const;
const WEIGHT_ONLY = [false, true, false] as const;
const CHANNELS_LAST = 2; // c10::MemoryFormat
/** Input channels up to which native/narrow_gradient.h is asked. */
const NARROW = 4;

function backend(): TorchBackend {
  return tf.backend() as TorchBackend;
}

export function native(tensor: Tensor): Value {
  return backend().value(tensor.dataId);
}

export function tensorOf<R extends Rank>(value: Value): Tensor<R> {
  return tf.engine().makeTensorFromTensorInfo(backend().info(value)) as Tensor<R>;
}

const scalarTypes: Readonly<Record<Precision, number>> = { fp32: FLOAT, tf32: FLOAT, bf16: BFLOAT16 };

/** Filters that were laid out for tf32. */
const rounding = new WeakSet<Value>();

/** Runs a convolution with TF32 allowed, on a GPU; the switch is the library's, so it is put back. */
function allowing(tf32: boolean, convolve: () => Value): Value {
  if (!tf32 || device() < 0) return convolve();
  bridge().setTensorFloat32(1);
  try {
    return convolve();
  } finally {
    bridge().setTensorFloat32(0);
  }
}

/** An NHWC-contiguous tensor is, permuted, a channels_last NCHW one: a view. */
function nchw(x: Value): Value {
  return permute(x, NCHW);
}

function pair(value: number): readonly [number, number] {
  return [value, value];
}

/** oneDNN has no convolution of nothing, but a slice of the batch may be empty. `weight` is [cout,cin,kh,kw]. */
function outputShape([batch = 0, height = 0, width = 0]: readonly number[], { shape }: Value, { stride, padding }: ConvGeometry): number[] {
  const [cout = 0, , kernelHeight = 0, kernelWidth = 0] = shape;
  const size = (input: number, kernel: number) => Math.floor((input + 2 * padding - kernel) / stride) + 1;
  return [batch, size(height, kernelHeight), size(width, kernelWidth), cout];
}

/** Storage that is only asked for its sizes and layout. */
function unread([batch = 0, height = 0, width = 0, channels = 0]: readonly number[], type: number): Value {
  return permute(empty([batch, height, width, channels], type), NCHW);
}

/** `weight` is [cout,cin,kh,kw]. The bridge asks more: whole vectors of channels, images that fill their tiles. */
function suitsWinograd({ shape }: Value, stride: number): boolean {
  return stride === 1 && shape[2] === 3 && shape[3] === 3;
}

/** The library's operators want one type: the one of the tensor that dominates the work. */
function backward(dy: Value, x: Value, weight: Value, geometry: ConvGeometry, mask: readonly boolean[]): Value {
  const [result] = convolutionBackward(dy, x, weight, null, pair(geometry.stride), pair(geometry.padding), ONE, false, NONE, 1, mask);
  invariant(result, "convolution_backward returned nothing");
  return result;
}

export const torchOps: EngineOps = {
  toPrecision(x, precision) {
    return scope(() => tensorOf(cast(native(x), scalarTypes[precision]))) as typeof x;
  },

  layoutFilter(filter, precision) {
    return scope(() => {
      const weight = clone(cast(permute(native(filter), OIHW), scalarTypes[precision]), CHANNELS_LAST);
      if (precision === "tf32") rounding.add(weight);
      return tensorOf(weight);
    });
  },

  conv2d(x, filter, bias, { stride, padding }) {
    return scope(() => {
      const weight = native(filter);
      if (x.shape[0] === 0) return tensorOf(empty(outputShape(x.shape, weight, { stride, padding }), weight.type));
      const shift = bias === null ? null : cast(native(bias), weight.type);
      const given = cast(native(x), weight.type);
      const minimal = suitsWinograd(weight, stride) && winogradConvolution(given, weight, shift, padding, false);
      if (minimal) return tensorOf(minimal);
      const y = allowing(rounding.has(weight), () =>
        convolution(nchw(given), weight, shift, pair(stride), pair(padding), ONE, false, NONE, 1),
      );
      return tensorOf(permute(y, NHWC));
    });
  },

  conv2dInputGrad(dy, filter, inputShape, geometry) {
    return scope(() => {
      const weight = native(filter);
      if (dy.shape[0] === 0) return tensorOf(empty(inputShape, weight.type));
      const given = cast(native(dy), weight.type);
      const narrow = (weight.shape[1] as number) <= NARROW && narrowInputGradient(given, weight, inputShape, geometry);
      if (narrow) return tensorOf(narrow);
      const minimal = suitsWinograd(weight, geometry.stride) && winogradConvolution(given, weight, null, 2 - geometry.padding, true);
      if (minimal) return tensorOf(minimal);
      // oneDNN 2.6 computes it wrongly in bf16 for 1x1 filters with an odd number of outputs, at some sizes (12 x 5 is one).
      const [numOut = 0, , height, width] = weight.shape;
      const isMistaken = weight.type !== FLOAT && height === 1 && width === 1 && numOut % 2 === 1;
      const [dy4, filter4] = isMistaken ? [cast(given, FLOAT), cast(weight, FLOAT)] : [given, weight];
      const dx = allowing(rounding.has(weight), () => backward(nchw(dy4), unread(inputShape, filter4.type), filter4, geometry, INPUT_ONLY));
      return tensorOf(permute(cast(dx, weight.type), NHWC));
    });
  },

  conv2dFilterGrad(x, dy, filterShape, geometry, precision) {
    return scope(() => {
      if (x.shape[0] === 0) return tensorOf(full(filterShape, 0, FLOAT));
      const [height = 0, width = 0, cin = 0, cout = 0] = filterShape;
      const input = native(x);
      const gradientGiven = cast(native(dy), input.type);
      const minimal =
        height === 3 && width === 3 && geometry.stride === 1 && winogradFilterGradient(input, gradientGiven, geometry.padding);
      if (minimal) return tensorOf(minimal);
      const weight = unread([cout, height, width, cin], input.type);
      const gradient = allowing(precision === "tf32", () => backward(nchw(gradientGiven), nchw(input), weight, geometry, WEIGHT_ONLY));
      return tensorOf(contiguous(permute(cast(gradient, FLOAT), HWIO)));
    });
  },

  activation(x, activation) {
    return scope(() => tensorOf(activate(native(x), activation))) as typeof x;
  },

  activationGrad(x, dy, activation) {
    return scope(() => {
      const input = native(x);
      return tensorOf(activateGrad(input, cast(native(dy), input.type), activation));
    }) as typeof x;
  },

  groupNorm(x, gamma, beta, groups, epsilon) {
    return scope(() => {
      const { y, mean: centre, rstd } = groupNorm(native(x), native(gamma), native(beta), groups, epsilon);
      return { y: tensorOf(y), mean: tensorOf(centre), rstd: tensorOf(rstd) };
    });
  },

  groupNormGrad(dy, x, mean, rstd, gamma, groups, want) {
    return scope(() => {
      const { dx, dgamma, dbeta } = groupNormGrad(native(dy), native(x), native(mean), native(rstd), native(gamma), groups, want);
      return { dx: tensorOf(dx), dgamma: dgamma && tensorOf(dgamma), dbeta: dbeta && tensorOf(dbeta) };
    });
  },

  // In float32 whatever x is stored in: the head and the loss are computed so.
  spatialMean(x) {
    return scope(() => tensorOf(mean(native(x), [1, 2], false, FLOAT)));
  },

  spatialMeanGrad(dy, inputShape) {
    return scope(() => {
      const [batch = 0, height = 0, width = 0, channels = 0] = inputShape;
      const share = viewAs(mulScalar(contiguous(native(dy)), 1 / (height * width)), [batch, 1, 1, channels]);
      return tensorOf(contiguous(expand(share, [batch, height, width, channels])));
    });
  },

  noise(kind, key, sampleShape) {
    return scope(() => tensorOf(noiseRows(kind === "uniform" ? 0 : 1, words(key), key.positions, [key.positions.length, ...sampleShape])));
  },

  record: (x, body) => recordLaunches(x, body, { native, tensorOf }),

  readInto(x, target) {
    if (x.size !== target.length) {
      throw new IsoergError("ENGINE", `readInto: ${target.length} places for a tensor of ${x.size} values, shape [${x.shape}]`);
    }
    scope(() => bridge().read(native(x).handle, target));
  },
};

/** The counter layout of ../random/philox.ts. */
function words({ seed, purpose, step, inner }: NoiseKey): { key0: number; key1: number; step: number; purposeAndInner: number } {
  invariant(purpose >= 0 && purpose < 256, `purpose ${purpose} is not below 256`);
  invariant(inner >= 0 && inner < 2 ** 24, `inner ${inner} is not below 2^24`);
  return {
    key0: Number(BigInt.asUintN(32, seed)),
    key1: Number(BigInt.asUintN(32, seed >> 32n)),
    step: step >>> 0,
    purposeAndInner: purpose * 2 ** 24 + inner,
  };
}
