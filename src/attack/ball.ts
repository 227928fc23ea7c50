/**
 * The set that an attack stays in: samples within eps of a clean one, in a norm, and inside [0,1]. With it go the ways of moving
 * there: a random point, and a step of steepest ascent in that norm followed by the projection.
 */
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { AttackConfig } from "../config/schema.js";
import { type NoiseKey, ops } from "../engine/ops.js";
import { invariant } from "../util/error.js";

/** Float32 rounding of x + eps - x for pixels in [0,1]. */
const ROUNDING = 1e-6;

export interface Ball {
  /** A random point within `radius` of the sample (eps unless given), projected. */
  uniform(key: NoiseKey, radius?: number): Tensor4D;
  /** The sample plus N(0, std), projected. */
  gaussian(key: NoiseKey, std: number): Tensor4D;
  /** A step of steepest ascent in the ball's norm, `stepSize` long, projected back. `current` and `gradient` stay the caller's. */
  step(current: Tensor4D, gradient: Tensor4D, stepSize: number): Tensor4D;
  dispose(): void;
}

/** Around each sample of x [n,H,W,C], which stays the caller's. An eps of Infinity leaves [0,1] as the only bound. */
export function createBall(x: Tensor4D, { norm, eps }: Pick<AttackConfig, "norm" | "eps">): Ball {
  return norm === "linf" ? linfBall(x, eps) : l2Ball(x, eps);
}

function linfBall(x: Tensor4D, eps: number): Ball {
  // The ball meets [0,1] in a box: both projections are one clamp between two tensors.
  const [low, high] = Number.isFinite(eps)
    ? tf.tidy(() => [tf.maximum(tf.sub(x, eps), 0), tf.minimum(tf.add(x, eps), 1)] as const)
    : [tf.zerosLike(x), tf.onesLike(x)];
  const project = (moved: Tensor4D): Tensor4D => tf.minimum(tf.maximum(moved, low), high);
  return {
    uniform: (key, radius = eps) =>
      tf.tidy(() => {
        const uniform = ops().noise("uniform", key, x.shape.slice(1));
        return project(tf.add(x, tf.mul(tf.sub(uniform, 0.5), 2 * radius)));
      }),
    gaussian: (key, std) => tf.tidy(() => project(tf.add(x, tf.mul(ops().noise("normal", key, x.shape.slice(1)), std)))),
    step: (current, gradient, stepSize) => tf.tidy(() => project(tf.add(current, tf.mul(tf.sign(gradient), stepSize)))),
    dispose: () => tf.dispose([low, high]),
  };
}

function l2Ball(x: Tensor4D, eps: number): Ball {
  const sampleAxes = [1, 2, 3];
  const norms = (d: Tensor): Tensor => tf.sqrt(tf.sum(tf.square(d), sampleAxes, true)); // [n,1,1,1]
  // Clamping to [0,1] after the projection moves no pixel away from x, so it never leaves the ball.
  const project = (moved: Tensor): Tensor4D => {
    if (!Number.isFinite(eps)) return tf.clipByValue(moved, 0, 1) as Tensor4D;
    const delta = tf.sub(moved, x);
    const factor = tf.minimum(tf.div(eps, tf.maximum(norms(delta), 1e-12)), 1);
    return tf.clipByValue(tf.add(x, tf.mul(delta, factor)), 0, 1);
  };
  return {
    uniform: (key, radius = eps) =>
      tf.tidy(() => {
        // A Gaussian direction, at a uniform share of the radius.
        const direction = ops().noise("normal", key, x.shape.slice(1));
        const share = tf.reshape(ops().noise("uniform", { ...key, inner: key.inner + 0x80_0000 }, [1]), [-1, 1, 1, 1]);
        const unit = tf.div(direction, tf.maximum(norms(direction), 1e-12));
        return project(tf.add(x, tf.mul(unit, tf.mul(share, radius))));
      }),
    gaussian: (key, std) => tf.tidy(() => project(tf.add(x, tf.mul(ops().noise("normal", key, x.shape.slice(1)), std)))),
    step: (current, gradient, stepSize) =>
      tf.tidy(() => {
        // Scaled by its largest value first: the squares of a confident model's gradients underflow, and the attack would stall.
        const scaled = tf.div(gradient, tf.maximum(tf.max(tf.abs(gradient), sampleAxes, true), 1e-37));
        return project(tf.add(current, tf.mul(tf.div(scaled, tf.maximum(norms(scaled), 1e-12)), stepSize)));
      }),
    dispose: () => undefined,
  };
}

/** Throws unless every sample of `xAdv` is within eps of `x` in the stated norm and inside [0,1]. */
export function assertInBall(x: Tensor4D, xAdv: Tensor4D, { norm, eps }: Pick<AttackConfig, "norm" | "eps">): void {
  if (x.shape[0] === 0) return;
  const [distance, lowest, highest] = tf.tidy(() => {
    const delta = tf.sub(xAdv, x);
    const distances = norm === "linf" ? tf.abs(delta) : tf.sqrt(tf.sum(tf.square(delta), [1, 2, 3]));
    return tf.stack([tf.max(distances), tf.min(xAdv), tf.max(xAdv)]).dataSync<"float32">() as Float32Array;
  }) as unknown as [number, number, number];
  // A gradient that is not a number shows here as a distance that is not a number; the vote deals with it.
  if (Number.isNaN(distance)) return;
  invariant(distance <= eps * (1 + 1e-5) + ROUNDING, `an adversarial sample is ${distance} from its clean one in ${norm}, eps is ${eps}`);
  invariant(lowest >= 0 && highest <= 1, `an adversarial sample has pixels in [${lowest}, ${highest}]`);
}
