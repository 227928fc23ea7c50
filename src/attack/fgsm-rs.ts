/**
 * FGSM from a random start ("Fast is better than free", Wong, Rice & Kolter 2020): uniform in the ball, one step of 1.25 eps,
 * projected back. The cheapest attack that trains robust models, and one that overfits catastrophically: watch `co/`.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import type { TrainingAttackConfig } from "../config/schema.js";
import { type AttackInput, pgd } from "./pgd.js";

/** Of the step, in eps. */
const PUBLISHED_STEP = 1.25;

export function fgsmRs(input: AttackInput<TrainingAttackConfig>): Tensor4D {
  const { eps, fgsmStep } = input.config;
  const stepSize = (fgsmStep ?? PUBLISHED_STEP) * eps;
  return pgd({ ...input, config: { ...input.config, start: "uniform", steps: 1, stepSize, restarts: 1, project: true } });
}
