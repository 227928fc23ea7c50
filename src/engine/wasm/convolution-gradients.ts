/**
 * The two gradients of a convolution, written as convolutions, so that XNNPACK's fast kernel computes all three. The wasm
 * backend of TensorFlow.js has no filter gradient, and an input gradient that is ten times slower than its convolution.
 *
 * Filter gradient: dF[u,v,c,k] = sum over b,o,p of x[b, s o + u - pad, s p + v - pad, c] dy[b,o,p,k]. That is the convolution
 * of x, its batch and channels swapped, with dy as a filter of O x P pixels and B channels, dilated by the stride s.
 *
 * Input gradient: dx[i] = sum over u of dy[(i + pad - u) / s] f[u], for those u that make it whole. Pixels with the same
 * i mod s (a phase) meet the same u, so that each phase is a plain convolution of dy with those taps of f, flipped.
 */

import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { flippedTaps, interleave, type Phase, swapBatchAndChannels } from "./heap.js";

type Shape4D = readonly [number, number, number, number];
/** Pixels to add on each side; a negative number takes away. */
type Margin = readonly [before: number, after: number];

export interface Geometry {
  readonly stride: number;
  readonly padTop: number;
  readonly padLeft: number;
}

/** dL/df [kh,kw,cin,cout] from x [B,H,W,cin] and dy [B,O,P,cout]. */
export function filterGradient(x: Tensor4D, dy: Tensor4D, filterShape: Shape4D, { stride, padTop, padLeft }: Geometry): Tensor4D {
  if (x.size === 0 || dy.size === 0) return tf.zeros([...filterShape]);
  return tf.tidy(() => {
    const [, height, width] = x.shape;
    const [, outHeight, outWidth] = dy.shape;
    const bottom = filterShape[0] + stride * (outHeight - 1) - height - padTop;
    const right = filterShape[1] + stride * (outWidth - 1) - width - padLeft;
    const images = swapBatchAndChannels(x); // [cin,H,W,B]
    const filter = tf.transpose(dy, [1, 2, 0, 3]); // [O,P,B,cout]
    const gradient = convolve(images, filter, [padTop, bottom], [padLeft, right], stride); // [cin,kh,kw,cout]
    return tf.transpose(gradient, [1, 2, 0, 3]);
  });
}

/** dL/dx of the given shape [B,H,W,cin] from dy [B,O,P,cout] and the filter [kh,kw,cin,cout]. */
export function inputGradient(dy: Tensor4D, filter: Tensor4D, inputShape: Shape4D, { stride, padTop, padLeft }: Geometry): Tensor4D {
  return tf.tidy(() => {
    const [, height, width] = inputShape;
    const [, outHeight, outWidth] = dy.shape;
    const phases: Phase[] = [];
    for (let row = 0; row < Math.min(stride, height); row++) {
      const vertical = phaseTaps(row, height, outHeight, filter.shape[0], stride, padTop);
      for (let column = 0; column < Math.min(stride, width); column++) {
        const horizontal = phaseTaps(column, width, outWidth, filter.shape[1], stride, padLeft);
        if (vertical === null || horizontal === null) continue; // no tap of the filter meets these pixels
        const flipped = flippedTaps(filter, vertical.first, horizontal.first, stride); // [t,u,cout,cin]
        phases.push({ row, column, image: convolve(dy, flipped, vertical.margin, horizontal.margin, 1) });
      }
    }
    const only = phases[0];
    return stride === 1 && only ? only.image : interleave(phases, stride, inputShape);
  });
}

/** Along one axis: the first of the taps that the pixels i = phase (mod stride) meet, and how dy must be padded for them; null for no tap. */
function phaseTaps(phase: number, size: number, outSize: number, kernelSize: number, stride: number, pad: number) {
  const first = (phase + pad) % stride;
  if (first >= kernelSize) return null;
  const numTaps = Math.ceil((kernelSize - first) / stride);
  const numPixels = Math.ceil((size - phase) / stride);
  // pixel phase + s m meets dy[m + shift - t] at tap first + s t
  const shift = (phase + pad - first) / stride;
  const before = numTaps - 1 - shift;
  const margin: Margin = [before, numPixels - outSize + shift];
  return { first, margin };
}

/** Stride-1 convolution with margins that may cut. */
function convolve(x: Tensor4D, filter: Tensor4D, vertical: Margin, horizontal: Margin, dilation: number): Tensor4D {
  const cut = (margin: Margin): [number, number] => [Math.max(0, -margin[0]), Math.max(0, -margin[1])];
  const [top, bottom] = cut(vertical);
  const [left, right] = cut(horizontal);
  const [batch, height, width, channels] = x.shape;
  if (top + bottom >= height || left + right >= width) {
    // nothing of x is seen: the result is all margin
    const outSize = (size: number, margin: Margin, taps: number) => size + margin[0] + margin[1] - dilation * (taps - 1);
    return tf.zeros([batch, outSize(height, vertical, filter.shape[0]), outSize(width, horizontal, filter.shape[1]), filter.shape[3]]);
  }
  const whole = top + bottom + left + right === 0;
  const seen = whole ? x : tf.slice(x, [0, top, left, 0], [batch, height - top - bottom, width - left - right, channels]);
  const pad = [[0, 0], added(vertical), added(horizontal), [0, 0]] as tf.backend_util.ExplicitPadding;
  return tf.conv2d(seen, filter, 1, pad, "NHWC", dilation);
}

function added([before, after]: Margin): [number, number] {
  return [Math.max(0, before), Math.max(0, after)];
}
