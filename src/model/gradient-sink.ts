/**
 * Where parameters' gradients go: each to its place in one flat float32 array, which may be shared memory.
 *
 * Layers write from the last to the first, and within a layer from its last parameter to its first, so the finished part of
 * the array always reaches from somewhere to its end; `onReady` reports it growing.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import { ops } from "../engine/ops.js";
import { invariant } from "../util/error.js";

export class GradientSink {
  readonly #into: Float32Array;
  readonly #onReady: ((from: number, to: number) => void) | undefined;
  #begin: number;

  constructor(into: Float32Array, onReady?: (from: number, to: number) => void) {
    this.#into = into;
    this.#onReady = onReady;
    this.#begin = into.length;
  }

  /** Where the finished part begins. */
  get begin(): number {
    return this.#begin;
  }

  /** Takes a parameter's gradient over: copies it to its place and frees it. */
  write(parameter: { readonly offset: number; readonly size: number }, gradient: Tensor): void {
    const { offset, size } = parameter;
    invariant(offset + size === this.#begin, `gradient of ${offset}..${offset + size} came when ${this.#begin} was due`);
    ops().readInto(gradient, this.#into.subarray(offset, offset + size));
    gradient.dispose();
    this.#begin = offset;
    this.#onReady?.(offset, offset + size);
  }
}
