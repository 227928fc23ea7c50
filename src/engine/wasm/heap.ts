/**
 * The few data movements that TensorFlow.js's wasm backend is slow at (it moves one value at a time through general index
 * arithmetic), written as loops over its heap. Views of the heap are taken after the last allocation: growing moves it.
 */

import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";

type Shape4D = readonly [number, number, number, number];

function backend(): BackendWasm {
  return tf.backend() as BackendWasm;
}

/** The values of a float32 tensor where they lie. Valid until the next allocation. */
export function heapView(x: Tensor): Float32Array {
  return backend().typedArrayFromHeap(x) as Float32Array;
}

/** A tensor whose values are whatever the heap holds there. */
export function uninitialised(shape: Shape4D): Tensor4D {
  const info = backend().makeOutput([...shape], "float32");
  return tf.engine().makeTensorFromTensorInfo(info) as Tensor4D;
}

/** [B,H,W,C] -> [C,H,W,B]. */
export function swapBatchAndChannels(x: Tensor4D): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const result = uninitialised([channels, height, width, batch]);
  const from = heapView(x);
  const to = heapView(result);
  const pixels = height * width;
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < channels; channel++) {
      let source = pixel * channels + channel;
      const row = (channel * pixels + pixel) * batch;
      for (let sample = 0; sample < batch; sample++) {
        to[row + sample] = from[source] as number;
        source += pixels * channels;
      }
    }
  }
  return result;
}

/**
 * Every `stride`-th tap of a filter [kh,kw,cin,cout] from (row, column) on, in reverse order and with its channels swapped:
 * [t,u,cout,cin], the filter that carries gradients back.
 */
export function flippedTaps(filter: Tensor4D, row: number, column: number, stride: number): Tensor4D {
  const [height, width, cin, cout] = filter.shape;
  const [rows, columns] = [Math.ceil((height - row) / stride), Math.ceil((width - column) / stride)];
  const result = uninitialised([rows, columns, cout, cin]);
  const from = heapView(filter);
  const to = heapView(result);
  let target = 0;
  for (let t = rows - 1; t >= 0; t--) {
    for (let u = columns - 1; u >= 0; u--) {
      const tap = ((row + t * stride) * width + column + u * stride) * cin * cout;
      for (let out = 0; out < cout; out++) {
        for (let source = tap + out; source < tap + cin * cout; source += cout) to[target++] = from[source] as number;
      }
    }
  }
  return result;
}

/** One of the images that `interleave` puts together: its pixel (i, j) becomes the pixel (row + i s, column + j s). */
export interface Phase {
  readonly row: number;
  readonly column: number;
  readonly image: Tensor4D;
}

/** Puts images [B,h,w,C] together into one [B,H,W,C]; pixels of no phase are zero. */
export function interleave(phases: readonly Phase[], stride: number, shape: Shape4D): Tensor4D {
  const [batch, height, width, channels] = shape;
  const result = uninitialised(shape);
  const to = heapView(result);
  if (phases.length < stride * stride) to.fill(0);
  for (const { row, column, image } of phases) {
    const from = heapView(image);
    let source = 0;
    for (let sample = 0; sample < batch; sample++) {
      for (let y = row; y < height; y += stride) {
        for (let x = column; x < width; x += stride) {
          const target = ((sample * height + y) * width + x) * channels;
          for (let channel = 0; channel < channels; channel++) to[target + channel] = from[source++] as number;
        }
      }
    }
  }
  return result;
}
