/** Random neighbours of the clean samples within the training attack's ball, and a point on the line between two of them (ELLE). */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { ops } from "../../engine/ops.js";
import { draws } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import type { StepInput } from "../step-input.js";
import { norms } from "./input-gradient.js";
import { aroundClean } from "./maker.js";

/** Draws of one step, told apart by `inner`. */
export const DRAW = { a: 0, b: 1, share: 2, gradAlign: 3, llr: 4, vat: 5 } as const;
const RADIUS = 0x80_0000;

/** A random point of `attack`'s ball around each sample [n,H,W,C], inside [0,1]: uniform for linf; for l2 a direction and a share of eps. */
export function neighbour({ config, seed, step }: StepInput, x: Tensor4D, positions: Int32Array, inner: number): Tensor4D {
  const { norm, eps } = config.attack;
  const key = { seed, purpose: PURPOSE.neighbour, step, positions, inner };
  const shape = x.shape.slice(1);
  return tf.tidy(() => {
    if (norm === "linf") {
      const uniform = ops().noise("uniform", key, shape);
      return tf.clipByValue(tf.add(x, tf.mul(tf.sub(uniform, 0.5), 2 * eps)), 0, 1) as Tensor4D;
    }
    const direction = ops().noise("normal", key, shape) as Tensor4D;
    const radius = tf.reshape(ops().noise("uniform", { ...key, inner: inner + RADIUS }, [1]), [-1, 1, 1, 1]);
    const delta = tf.mul(tf.div(direction, norms(direction)), tf.mul(radius, eps));
    return tf.clipByValue(tf.add(x, delta), 0, 1) as Tensor4D;
  });
}

export const neighbours = aroundClean(["neighbour-a", "neighbour-b", "between-neighbours"], (input, x, total) => {
  const { positions } = input.clean;
  const { seed, step } = input;
  const share = Float64Array.from(positions, (position) =>
    draws({ seed, purpose: PURPOSE.neighbour, step, position, inner: DRAW.share }).uniform(),
  );
  const a = neighbour(input, x, positions, DRAW.a);
  const b = neighbour(input, x, positions, DRAW.b);
  const between = tf.tidy(() => {
    const t = tf.tensor4d(Float32Array.from(share), [share.length, 1, 1, 1]);
    return tf.add(a, tf.mul(tf.sub(b, a), t)) as Tensor4D;
  });
  return {
    "neighbour-a": { x: a, total },
    "neighbour-b": { x: b, total },
    "between-neighbours": { x: between, total, constants: { share } },
  };
});
