/**
 * The first layer: pixels in [0,1] to numbers of about unit size, (x - mean) / std, with one value or one a channel.
 *
 * It is part of the model, so attacks and samplers speak pixels everywhere, and the one place that changes precision on
 * the way in: the convolutions get their input in the precision they are bound to. Unlike other layers it leaves x to the caller.
 */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { ops, type Precision } from "../../engine/ops.js";
import { IsoergError } from "../../util/error.js";

export interface InputNormalisation {
  /** In pixels; one value, or one a channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

export class Normalise {
  readonly #scale: Tensor;
  readonly #shift: Tensor;
  readonly #precision: Precision;

  constructor({ mean, std }: InputNormalisation, precision: Precision) {
    this.#scale = perChannel(std.map((s) => 1 / s));
    // With one mean and many stds, or the reverse, the shift has one value a channel.
    const length = Math.max(mean.length, std.length);
    this.#shift = perChannel(Array.from({ length }, (_, c) => -at(mean, c) / at(std, c)));
    this.#precision = precision;
  }

  /** x [B,H,W,C] float32 -> the same shape in the bound precision. x stays the caller's. */
  forward(x: Tensor): Tensor {
    const scaled = tf.mul(x, this.#scale);
    const y = tf.add(scaled, this.#shift);
    scaled.dispose();
    if (this.#precision === "fp32") return y;
    const cast = ops().toPrecision(y, this.#precision);
    y.dispose();
    return cast;
  }

  /** Takes dy over; dL/dx in float32. */
  backward(dy: Tensor): Tensor {
    const full = this.#precision === "fp32" ? dy : ops().toPrecision(dy, "fp32");
    const dx = tf.mul(full, this.#scale);
    if (full !== dy) full.dispose();
    dy.dispose();
    return dx;
  }

  dispose(): void {
    this.#scale.dispose();
    this.#shift.dispose();
  }
}

/** A configuration's values must be one, or as many as the data has channels. */
export function checkNormalisation({ mean, std }: InputNormalisation, numChannels: number): void {
  for (const [key, values] of Object.entries({ mean, std })) {
    if (values.length !== 1 && values.length !== numChannels) {
      throw new IsoergError("CONFIG", `model.input.${key} has ${values.length} values, but samples have ${numChannels} channels`, {
        hint: `give one value, or ${numChannels}`,
      });
    }
  }
}

function perChannel(values: readonly number[]): Tensor {
  return values.length === 1 ? tf.scalar(values[0] as number) : tf.tensor1d([...values]);
}

function at(values: readonly number[], channel: number): number {
  return values[values.length === 1 ? 0 : channel] as number;
}
