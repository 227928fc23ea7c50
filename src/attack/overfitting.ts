/**
 * Signs of catastrophic overfitting, where a model learns to mislead single-step attacks and loses all robustness within an epoch
 * (Wong et al. 2020; Andriushchenko & Flammarion 2020), taken on TRAINING samples, so that nothing of the test split leaks:
 *
 *   co/cosine         mean cos(dCE/dx at x, dCE/dx at x + U(-eps, eps)); falls towards 0 first
 *   co/fgsm-accuracy  under one step of eps from x; rises
 *   co/pgd-accuracy   under a short PGD from a uniform start; falls
 *
 * The samples are the first of the global batch, by position, so that every cut of the batch looks at the same ones. The values
 * are this worker's shares of means over them: their sum over the workers is the figure. What follows from them is for the
 * stability guard to judge.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { TrainingAttackConfig } from "../config/schema.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { crossEntropyHead, targetsOf } from "../model/heads.js";
import type { Classifier } from "../model/model.js";
import { createBall } from "./ball.js";
import { pgd } from "./pgd.js";

export interface OverfittingInput {
  readonly model: Classifier;
  /** This worker's clean samples [n,H,W,C]; stay the caller's. */
  readonly x: Tensor4D;
  readonly labels: Int32Array;
  /** Global positions of the samples. */
  readonly positions: Int32Array;
  /** Samples of the global batch. */
  readonly total: number;
  readonly numClasses: number;
  readonly config: Pick<TrainingAttackConfig, "norm" | "eps" | "overfitting">;
  readonly seed: bigint;
  readonly step: number;
}

export type OverfittingFigures = Readonly<Record<"co/cosine" | "co/fgsm-accuracy" | "co/pgd-accuracy", number>>;

/** Whether a step is one of those that look. */
export function looksForOverfitting({ overfitting }: Pick<TrainingAttackConfig, "overfitting">, step: number): boolean {
  return overfitting.everySteps > 0 && step % overfitting.everySteps === 0;
}

/** Two input gradients and a short PGD on the samples looked at. */
export function overfittingFigures(input: OverfittingInput): OverfittingFigures {
  const { model, config, numClasses, seed, step } = input;
  const total = Math.min(config.overfitting.samples, input.total);
  // Positions of a slice ascend: those looked at lead it.
  const n = input.positions.filter((position) => position < total).length;
  if (n === 0) return { "co/cosine": 0, "co/fgsm-accuracy": 0, "co/pgd-accuracy": 0 };
  const labels = input.labels.subarray(0, n);
  const positions = input.positions.slice(0, n);
  const key = { seed, purpose: PURPOSE.overfittingProbe, step, positions };

  const x = tf.slice(input.x, [0, 0, 0, 0], [n, -1, -1, -1]);
  const targets = targetsOf(labels, numClasses);
  const head = crossEntropyHead(targets);
  const ball = createBall(x, config);
  const here = model.inputGradient(x, head);
  // Drawn apart from the start of the PGD below, which has inner 0.
  const nearby = ball.uniform({ ...key, inner: 1 });
  const there = model.inputGradient(nearby, head);
  const cosines = tf.tidy(() => cosine(here.gradient, there.gradient).dataSync<"float32">() as Float32Array);
  const fgsm = ball.step(x, here.gradient, config.eps);
  const { eps, norm } = config;
  const { steps } = config.overfitting;
  // Five steps of eps/4, as the check of Wong et al. has it, or as many as asked for over the same way.
  const stepSize = steps > 0 ? (1.25 * eps) / steps : 0;
  const attack = { norm, eps, steps, stepSize, start: "uniform", target: "cross-entropy", restarts: 1 } as const;
  const strongest = pgd({ model, x, labels, numClasses, config: attack, key });
  const figures = {
    "co/cosine": cosines.reduce((sum, value) => sum + value, 0) / total,
    "co/fgsm-accuracy": numCorrect(model, fgsm, labels) / total,
    "co/pgd-accuracy": numCorrect(model, strongest, labels) / total,
  };
  ball.dispose();
  tf.dispose([x, targets, here.logits, here.gradient, nearby, there.logits, there.gradient, fgsm, strongest]);
  return figures;
}

/** cos of the angle between each pair of rows; 0 where either has no direction. */
function cosine(a: Tensor4D, b: Tensor4D): tf.Tensor {
  const axes = [1, 2, 3];
  // Each is scaled by its largest value first: the squares of a confident model's gradients underflow.
  const unit = (g: Tensor4D): tf.Tensor => tf.div(g, tf.maximum(tf.max(tf.abs(g), axes, true), 1e-30));
  const [u, v] = [unit(a), unit(b)];
  const lengths = tf.sqrt(tf.mul(tf.sum(tf.square(u), axes), tf.sum(tf.square(v), axes)));
  return tf.div(tf.sum(tf.mul(u, v), axes), tf.maximum(lengths, 1e-12));
}

function numCorrect(model: Classifier, x: Tensor4D, labels: Int32Array): number {
  const logits = model.logits(x);
  const values = logits.dataSync<"float32">() as Float32Array;
  const numClasses = logits.shape[1];
  logits.dispose();
  let correct = 0;
  for (const [i, label] of labels.entries()) {
    const own = values[i * numClasses + label] as number;
    let isLargest = true;
    for (let k = 0; k < numClasses; k++) if (k !== label && (values[i * numClasses + k] as number) >= own) isLargest = false;
    if (isLargest) correct++;
  }
  return correct;
}
