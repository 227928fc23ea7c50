/**
 * Projected gradient ascent within a ball around each sample (Madry et al. 2018), in pixels.
 *
 * All steps use input gradients only and run the whole slice at once. The result is inside the ball and inside [0,1]: this
 * is asserted on what is returned, because a budget applied in another scale is the commonest way to a wrong robustness figure.
 */
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { AttackConfig } from "../config/schema.js";
import { type NoiseKey, ops } from "../engine/ops.js";
import type { Classifier } from "../model/model.js";
import { invariant } from "../util/error.js";
import { type AttackTarget, createTarget } from "./target.js";

/** Float32 rounding of x + eps - x for pixels in [0,1]. */
const ROUNDING = 1e-6;

export interface AttackInput {
  readonly model: Classifier;
  /** Clean samples [n,H,W,C] in [0,1]; stay the caller's. */
  readonly x: Tensor4D;
  readonly labels: Int32Array;
  readonly numClasses: number;
  readonly config: AttackConfig;
  /** Where random starts are drawn from; `inner` counts restarts. */
  readonly key: Omit<NoiseKey, "inner">;
}

/** Adversarial samples [n,H,W,C], the strongest of `config.restarts` starts for each sample. The caller disposes them. */
export function pgd(input: AttackInput): Tensor4D {
  const { model, x, labels, config } = input;
  const target = createTarget(config.target, labels, input.numClasses);
  let best = attackOnce(input, target, 0);
  if (config.restarts > 1) {
    let strength = strengthOf(model, best, target);
    for (let restart = 1; restart < config.restarts; restart++) {
      const candidate = attackOnce(input, target, restart);
      const candidateStrength = strengthOf(model, candidate, target);
      const better = strength.map((value, i) => ((candidateStrength[i] ?? 0) > value ? 1 : 0));
      const merged = tf.tidy(() => tf.where(tf.tensor4d(better, [better.length, 1, 1, 1], "bool"), candidate, best));
      tf.dispose([best, candidate]);
      best = merged;
      strength = strength.map((value, i) => Math.max(value, candidateStrength[i] ?? value));
    }
  }
  target.dispose();
  assertInBall(x, best, config);
  return best;
}

function attackOnce(input: AttackInput, target: AttackTarget, restart: number): Tensor4D {
  const { model, x, config } = input;
  const ball = config.norm === "linf" ? linfBall(x, config) : l2Ball(x, config);
  let current: Tensor4D = config.start === "zero" ? x.clone() : ball.start({ ...input.key, inner: restart });
  for (let step = 0; step < config.steps; step++) {
    const { logits, gradient } = model.inputGradient(current, target.ascend);
    const next = ball.step(current, gradient);
    tf.dispose([current, logits, gradient]);
    current = next;
  }
  ball.dispose();
  return current;
}

interface Ball {
  /** A random point of the ball, inside [0,1]. */
  start(key: NoiseKey): Tensor4D;
  /** A step of steepest ascent in the ball's norm, projected back. */
  step(current: Tensor4D, gradient: Tensor4D): Tensor4D;
  dispose(): void;
}

function linfBall(x: Tensor4D, { eps, stepSize }: AttackConfig): Ball {
  // The ball meets [0,1] in a box: both projections are one clamp between two tensors.
  const [low, high] = tf.tidy(() => [tf.maximum(tf.sub(x, eps), 0), tf.minimum(tf.add(x, eps), 1)] as const);
  const project = (moved: Tensor4D): Tensor4D => tf.minimum(tf.maximum(moved, low), high);
  return {
    start: (key) =>
      tf.tidy(() => {
        const uniform = ops().noise("uniform", key, x.shape.slice(1));
        return project(tf.add(x, tf.mul(tf.sub(uniform, 0.5), 2 * eps)));
      }),
    step: (current, gradient) => tf.tidy(() => project(tf.add(current, tf.mul(tf.sign(gradient), stepSize)))),
    dispose: () => tf.dispose([low, high]),
  };
}

function l2Ball(x: Tensor4D, { eps, stepSize }: AttackConfig): Ball {
  const sampleAxes = [1, 2, 3];
  const norms = (d: Tensor): Tensor => tf.sqrt(tf.sum(tf.square(d), sampleAxes, true)); // [n,1,1,1]
  // Clamping to [0,1] after the projection moves no pixel away from x, so it never leaves the ball.
  const project = (moved: Tensor): Tensor4D => {
    const delta = tf.sub(moved, x);
    const factor = tf.minimum(tf.div(eps, tf.maximum(norms(delta), 1e-12)), 1);
    return tf.clipByValue(tf.add(x, tf.mul(delta, factor)), 0, 1);
  };
  return {
    start: (key) =>
      tf.tidy(() => {
        // A Gaussian direction, at a uniform share of the radius.
        const direction = ops().noise("normal", key, x.shape.slice(1));
        const radius = tf.reshape(ops().noise("uniform", { ...key, inner: key.inner + 0x80_0000 }, [1]), [-1, 1, 1, 1]);
        const unit = tf.div(direction, tf.maximum(norms(direction), 1e-12));
        return project(tf.add(x, tf.mul(unit, tf.mul(radius, eps))));
      }),
    step: (current, gradient) =>
      tf.tidy(() => project(tf.add(current, tf.mul(tf.div(gradient, tf.maximum(norms(gradient), 1e-12)), stepSize)))),
    dispose: () => undefined,
  };
}

function strengthOf(model: Classifier, x: Tensor4D, target: AttackTarget): number[] {
  const logits = model.logits(x);
  const values = target.strength(logits.dataSync<"float32">() as Float32Array);
  logits.dispose();
  return values;
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
