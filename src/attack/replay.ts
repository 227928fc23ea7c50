/**
 * Attacks that cost no passes of their own: one batch is gone through several times within one committed step, and the backward
 * pass that gives the weights' gradient moves the perturbation too.
 *
 *   Free (Shafahi et al. 2019)    each of m replays updates the weights AND takes one step of the perturbation
 *   YOPO-m-n (Zhang et al. 2019)  the weights' gradients of m passes are averaged into one update; after each pass the
 *                                 perturbation takes n steps that see the first layer only
 *
 * Both ascend what the weights descend: the objective. Where the published code differs:
 * - All replays of a batch are ONE step of the plan, with one vote: a sample takes part in exactly one committed step, no
 *   perturbation outlives a step, and a resume or a change of workers needs nothing beyond what every checkpoint has. Free's code
 *   lets a perturbation live on in the next batch, with whose images it has nothing to do; here it begins anew.
 * - YOPO's inner steps follow <f0(x), p>, with f0 the first layer and p = dL/df0 held fixed. Every model here begins with an
 *   affine layer (convolution or linear, behind the normalisation), so d<f0(x), p>/dx = W'p is the same at every x: it IS the
 *   input gradient of the pass that gave p. The n steps reuse that gradient and cost no pass at all.
 * - YOPO's code sums the m gradients; here their mean is taken, so that a learning rate means the same for every m.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import type { TrainingAttackConfig } from "../config/schema.js";
import type { NoiseKey } from "../engine/ops.js";
import { assertInBall, type Ball, createBall } from "./ball.js";

export interface Replay {
  /** Gradients of the objective taken from one batch. */
  readonly passes: number;
  /** Whether each of them updates the weights, or their mean does once. */
  readonly updates: "each" | "once";
  /** Where the perturbed samples are before the first pass. */
  begin(x: Tensor4D, key: Omit<NoiseKey, "inner">): Tensor4D;
  /** Where they are after a pass whose gradient with respect to `current` this is. All arguments stay the caller's. */
  advance(x: Tensor4D, current: Tensor4D, gradient: Tensor4D): Tensor4D;
}

/** From a uniform start or from zero, as `start` says; one step of `stepSize` for each update. */
export function free(config: TrainingAttackConfig): Replay {
  return replay(config, { updates: "each", stepsPerPass: 1 });
}

/** n steps of `stepSize` for each full pass. */
export function yopo(config: TrainingAttackConfig): Replay {
  return replay(config, { updates: "once", stepsPerPass: config.innerSteps });
}

function replay(config: TrainingAttackConfig, { updates, stepsPerPass }: { updates: Replay["updates"]; stepsPerPass: number }): Replay {
  return {
    passes: config.replays,
    updates,
    begin: (x, key) => {
      const at = { ...key, inner: 0 };
      return within(x, config, (ball) => {
        if (config.start === "zero") return x.clone();
        return config.start === "gaussian" ? ball.gaussian(at, config.startNoise) : ball.uniform(at);
      });
    },
    advance: (x, current, gradient) =>
      within(x, config, (ball) => {
        let moved = current.clone();
        for (let step = 0; step < stepsPerPass; step++) {
          const next = ball.step(moved, gradient, config.stepSize);
          moved.dispose();
          moved = next;
        }
        return moved;
      }),
  };
}

function within(x: Tensor4D, config: TrainingAttackConfig, move: (ball: Ball) => Tensor4D): Tensor4D {
  const ball = createBall(x, config);
  const result = move(ball);
  ball.dispose();
  assertInBall(x, result, config);
  return result;
}
