/**
 * Projected gradient ascent within a ball around each sample (Madry et al. 2018), in pixels.
 *
 * All steps use input gradients only and run the whole slice at once. The result is inside the ball and inside [0,1]: this
 * is asserted on what is returned, because a budget applied in another scale is the commonest way to a wrong robustness figure.
 * Only with `project: false`, which reproduces a published system that never projects, may it leave the ball.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { TrainingAttackConfig } from "../config/schema.js";
import type { NoiseKey } from "../engine/ops.js";
import type { Classifier } from "../model/model.js";
import { assertInBall, type Ball, createBall } from "./ball.js";
import { type AttackTarget, createTarget, type TargetConfig } from "./target.js";

export { assertInBall } from "./ball.js";

/** An evaluation's attack has the first seven keys only. */
export type PgdConfig = Pick<TrainingAttackConfig, "norm" | "eps" | "steps" | "stepSize" | "start" | "restarts"> &
  TargetConfig &
  Partial<Pick<TrainingAttackConfig, "project" | "startNoise">>;

export interface AttackInput<C = PgdConfig> {
  readonly model: Classifier;
  /** Clean samples [n,H,W,C] in [0,1]; stay the caller's. */
  readonly x: Tensor4D;
  readonly labels: Int32Array;
  readonly numClasses: number;
  readonly config: C;
  /** Where random starts are drawn from; `inner` counts restarts. */
  readonly key: Omit<NoiseKey, "inner">;
}

/** Adversarial samples [n,H,W,C], the strongest of `config.restarts` starts for each sample. The caller disposes them. */
export function pgd(input: AttackInput): Tensor4D {
  const { model, x, config } = input;
  const bounds = { norm: config.norm, eps: config.project === false ? Number.POSITIVE_INFINITY : config.eps };
  const target = createTarget(input);
  const ball = createBall(x, bounds);
  let best = attackOnce(input, { target, ball, restart: 0 });
  if (config.restarts > 1) {
    let strength = strengthOf(model, best, target);
    for (let restart = 1; restart < config.restarts; restart++) {
      const candidate = attackOnce(input, { target, ball, restart });
      const candidateStrength = strengthOf(model, candidate, target);
      const better = strength.map((value, i) => ((candidateStrength[i] ?? 0) > value ? 1 : 0));
      const merged = tf.tidy(() => tf.where(tf.tensor4d(better, [better.length, 1, 1, 1], "bool"), candidate, best));
      tf.dispose([best, candidate]);
      best = merged;
      strength = strength.map((value, i) => Math.max(value, candidateStrength[i] ?? value));
    }
  }
  ball.dispose();
  target.dispose();
  assertInBall(x, best, bounds);
  return best;
}

function attackOnce(input: AttackInput, { target, ball, restart }: { target: AttackTarget; ball: Ball; restart: number }): Tensor4D {
  const { model, config } = input;
  let current = startOf(input, ball, restart);
  for (let step = 0; step < config.steps; step++) {
    const { logits, gradient } = model.inputGradient(current, target.ascend);
    const next = ball.step(current, gradient, config.stepSize);
    tf.dispose([current, logits, gradient]);
    current = next;
  }
  return current;
}

function startOf({ x, config, key }: AttackInput, ball: Ball, restart: number): Tensor4D {
  const at = { ...key, inner: restart };
  switch (config.start) {
    case "zero":
      return x.clone();
    case "uniform":
      return ball.uniform(at, config.eps);
    case "gaussian":
      return ball.gaussian(at, config.startNoise ?? 0.001);
    default:
      return config.start satisfies never;
  }
}

function strengthOf(model: Classifier, x: Tensor4D, target: AttackTarget): number[] {
  const logits = model.logits(x);
  const values = target.strength(logits.dataSync<"float32">() as Float32Array);
  logits.dispose();
  return values;
}
