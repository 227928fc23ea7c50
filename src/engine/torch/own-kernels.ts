/**
 * The bridge's own kernels (native/own_kernels.h) as functions of values: keyed noise, smooth activations, group norm and
 * convolutions where ATen lacks them or is slow. Nothing comes back where ATen's operators must be taken: on a GPU, or for
 * shapes and processors that a kernel is not written for.
 */
import { bridge, device, shapeToCells } from "./bridge.js";
import { derivedOf, taken, takenAll, type Value } from "./value.js";

/** Rows of keyed noise: kind 0 uniform, 1 normal. */
export function noiseRows(
  kind: 0 | 1,
  key: { key0: number; key1: number; step: number; purposeAndInner: number },
  positions: Int32Array,
  shape: readonly number[],
): Value {
  shapeToCells(shape);
  bridge().noise(kind, key.key0, key.key1, key.step, key.purposeAndInner, positions, device());
  return taken(0);
}

/** silu (0) or softplus (1) of x, or with dy the product with its derivative; undefined where only ATen's operators can. */
export function smoothActivation(kind: 0 | 1, x: Value, dy: Value | null, parameter: number): Value | undefined {
  return bridge().activation(kind, x.handle, dy === null ? 0 : dy.handle, parameter) === 0 ? undefined : taken(0);
}

/** The input gradient of a convolution with few input channels; undefined where ATen must compute it. */
export function narrowInputGradient(
  dy: Value,
  weight: Value,
  [, height = 0, width = 0]: readonly number[],
  { stride, padding }: { stride: number; padding: number },
): Value | undefined {
  return bridge().narrowInputGradient(dy.handle, weight.handle, height, width, stride, padding) === 0 ? undefined : taken(0);
}

/** y, mean [B,G] and rstd [B,G] of images [B,H,W,C]; nothing where ATen must compute them. */
export function groupNormLastChannels(x: Value, gamma: Value, beta: Value, groups: number, epsilon: number): Value[] {
  return takenAll(bridge().groupNorm(x.handle, gamma.handle, beta.handle, groups, epsilon));
}

/** dx, dgamma and dbeta; nothing where ATen must compute them. */
export function groupNormGradLastChannels(dy: Value, x: Value, mean: Value, rstd: Value, gamma: Value, groups: number): Value[] {
  return takenAll(bridge().groupNormGrad(dy.handle, x.handle, mean.handle, rstd.handle, gamma.handle, groups));
}

/**
 * A convolution with a 3 x 3 filter and stride 1 by Winograd's minimal filtering; x [B,H,W,I], filter [O,I,3,3] as laid out.
 * `turned` takes the filter for the input gradient: x is then dL/dy, and the padding 2 minus the convolution's.
 */
export function winogradConvolution(x: Value, filter: Value, bias: Value | null, padding: number, turned: boolean): Value | undefined {
  const transform = derivedOf(filter, turned ? "winograd-turned" : "winograd", () =>
    bridge().winogradFilter(filter.handle, turned ? 1 : 0) === 0 ? null : taken(0),
  );
  if (!transform) return undefined;
  const channels = filter.shape[turned ? 1 : 0] as number;
  return bridge().winogradConvolution(x.handle, transform.handle, bias?.handle ?? 0, channels, padding) === 0 ? undefined : taken(0);
}

/** dL/dfilter [3,3,I,O] in float32 of such a convolution, x and dy of one type. */
export function winogradFilterGradient(x: Value, dy: Value, padding: number): Value | undefined {
  return bridge().winogradFilterGradient(x.handle, dy.handle, padding) === 0 ? undefined : taken(0);
}
