/**
 * Noise-FGSM (de Jorge et al. 2022): x + U(-k eps, k eps), k = 2, then one sign step of eps, and NO projection onto the ball of eps.
 * The result is within (k + 1) eps of the sample, which is what is asserted; pixels are clamped to [0,1] before and after the step.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { TrainingAttackConfig } from "../config/schema.js";
import { assertInBall, createBall } from "./ball.js";
import type { AttackInput } from "./pgd.js";
import { createTarget } from "./target.js";

/** Of the step, in eps. */
const PUBLISHED_STEP = 1;

export function nFgsm(input: AttackInput<TrainingAttackConfig>): Tensor4D {
  const { model, x, config, key } = input;
  const stepSize = (config.fgsmStep ?? PUBLISHED_STEP) * config.eps;
  const noise = config.noiseRadius * config.eps;
  const reach = { norm: "linf", eps: noise + stepSize } as const;
  const ball = createBall(x, reach);
  const target = createTarget(input);
  const start = ball.uniform({ ...key, inner: 0 }, noise);
  const { logits, gradient } = model.inputGradient(start, target.ascend);
  const adversarial = ball.step(start, gradient, stepSize);
  tf.dispose([start, logits, gradient]);
  target.dispose();
  ball.dispose();
  assertInBall(x, adversarial, reach);
  return adversarial;
}
