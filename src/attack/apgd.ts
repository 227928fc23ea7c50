/**
 * Auto-PGD (Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
 * ICML 2020), Linf and L2: gradient ascent with momentum whose step is halved when it stops paying, sample by sample.
 *
 * The loss may be any of `logit-loss.ts`. The start is drawn from each sample's position, and no sample's path depends on its
 * neighbours in the batch. What is returned is inside the ball and inside [0,1]; that is asserted.
 *
 * One thing differs from the published program, not from the paper: whether the first step of the first interval paid is
 * judged against the loss at the start, where the program compares with a zero.
 */
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { type NoiseKey, ops } from "../engine/ops.js";
import type { Classifier } from "../model/model.js";
import { createStepControl } from "./apgd-steps.js";
import { crossEntropyLoss, dlrLoss, type LogitLoss, lossPass, marginLoss } from "./logit-loss.js";
import { assertInBall } from "./pgd.js";

export type Norm = "linf" | "l2";

export interface ApgdInput {
  readonly model: Classifier;
  /** Clean samples [n,H,W,C] in [0,1]; stay the caller's. */
  readonly x: Tensor4D;
  readonly labels: Int32Array;
  readonly numClasses: number;
  readonly norm: Norm;
  /** In pixels. */
  readonly eps: number;
  readonly steps: number;
  readonly loss: "cross-entropy" | "dlr" | "margin" | LogitLoss;
  /** Where the start is drawn from; `inner` counts restarts and targets. */
  readonly key: Omit<NoiseKey, "inner"> & { readonly inner?: number };
  /** `fooled`: a sample that is misclassified is finished (cheaper, the same robust accuracy); `end`: the loss is ascended to the end. */
  readonly until?: "fooled" | "end";
}

export interface ApgdResult {
  /** [n,H,W,C], the caller's to dispose: the last misclassified point of each sample, else the point of its highest loss. */
  readonly adversarial: Tensor4D;
  /** 1 where some point of the path was misclassified. */
  readonly fooled: Uint8Array;
  /** The highest loss on each path. */
  readonly loss: Float64Array;
}

const MOMENTUM = 0.75;
/** A batch is made smaller once so much of it is finished. */
const FINISHED_SHARE = 0.25;

export function apgd(input: ApgdInput): ApgdResult {
  const { model, x, labels, steps, norm, eps } = input;
  const numSamples = x.shape[0];
  const loss = typeof input.loss === "string" ? namedLoss(input.loss, labels) : input.loss;
  const size = x.size / Math.max(1, numSamples);
  const found = new Float32Array(x.size);
  const fooled = new Uint8Array(numSamples);
  const highest = new Float64Array(numSamples).fill(Number.NEGATIVE_INFINITY);
  if (numSamples === 0) return { adversarial: x.clone(), fooled, loss: highest };

  /** Rows of the batch -> samples; shrinks as samples are finished. */
  let rows = Array.from({ length: numSamples }, (_, i) => i);
  let ball = createBall(norm, x.clone(), eps);
  let current = ball.start({ ...input.key, inner: input.key.inner ?? 0 });
  let previous = current.clone();
  let fooling = current.clone();
  let pass = lossPass(loss, rows);
  let gradient = gradientAt(model, current, pass);
  let best = current.clone();
  let bestGradient = gradient.clone();
  const control = createStepControl({ numSamples, steps, step: 2 * eps });
  control.begin(rows, pass.values);

  const note = (): void => {
    const wrong = rows.map((sample, row) => pass.answers[row] !== labels[sample]);
    rows.forEach((sample, row) => {
      if (wrong[row]) fooled[sample] = 1;
    });
    fooling = choose(wrong, current, fooling);
  };
  note();

  for (let step = 0; step < steps && rows.length > 0; step++) {
    const stepSizes = tf.tensor4d(Float32Array.from(rows, control.stepSize), [rows.length, 1, 1, 1]);
    const next = ball.step({ current, previous, gradient, stepSizes, share: step > 0 ? MOMENTUM : 1 });
    tf.dispose([previous, gradient, stepSizes]);
    previous = current;
    current = next;
    pass = lossPass(loss, rows);
    gradient = gradientAt(model, current, pass);
    note();

    const decision = control.after(rows, pass.values);
    best = choose(decision.improved, current, best);
    bestGradient = choose(decision.improved, gradient, bestGradient);
    current = choose(decision.back, best, current);
    gradient = choose(decision.back, bestGradient, gradient);

    if (input.until !== "fooled") continue;
    const staying = rows.flatMap((sample, row) => (fooled[sample] ? [] : [row]));
    if (rows.length - staying.length < FINISHED_SHARE * rows.length && staying.length > 0) continue;
    store();
    if (staying.length === 0) break;
    const index = tf.tensor1d(staying, "int32");
    const keep = (tensor: Tensor4D): Tensor4D => {
      const kept = tf.gather(tensor, index);
      tensor.dispose();
      return kept;
    };
    rows = staying.map((row) => rows[row] as number);
    [current, previous, fooling, gradient, best, bestGradient] = [
      keep(current),
      keep(previous),
      keep(fooling),
      keep(gradient),
      keep(best),
      keep(bestGradient),
    ];
    ball = createBall(norm, keep(ball.take()), eps);
    index.dispose();
  }
  store();
  ball.take().dispose();
  tf.dispose([current, previous, fooling, gradient, best, bestGradient]);
  const adversarial = tf.tensor4d(found, x.shape);
  assertInBall(x, adversarial, { norm, eps });
  return { adversarial, fooled, loss: highest };

  /** Keeps what the rows under attack have come to. */
  function store(): void {
    const bestValues = best.dataSync<"float32">() as Float32Array;
    const foolingValues = fooling.dataSync<"float32">() as Float32Array;
    rows.forEach((sample, row) => {
      const from = fooled[sample] ? foolingValues : bestValues;
      found.set(from.subarray(row * size, (row + 1) * size), sample * size);
      highest[sample] = control.highest(sample);
    });
  }
}

function namedLoss(name: "cross-entropy" | "dlr" | "margin", labels: Int32Array): LogitLoss {
  return { "cross-entropy": crossEntropyLoss, dlr: dlrLoss, margin: marginLoss }[name](labels);
}

function gradientAt(model: Classifier, x: Tensor4D, pass: { head: (logits: tf.Tensor2D) => tf.Tensor2D }): Tensor4D {
  const { logits, gradient } = model.inputGradient(x, pass.head);
  logits.dispose();
  return gradient;
}

/** Rows of `ifTrue` where a row's condition holds, else of `ifFalse`, which is given up. */
function choose(conditions: readonly boolean[], ifTrue: Tensor4D, ifFalse: Tensor4D): Tensor4D {
  if (!conditions.includes(true)) return ifFalse;
  const chosen = conditions.includes(false)
    ? tf.tidy(() => tf.where(tf.tensor4d(conditions.map(Number), [conditions.length, 1, 1, 1], "bool"), ifTrue, ifFalse))
    : ifTrue.clone();
  ifFalse.dispose();
  return chosen;
}

interface StepInput {
  readonly current: Tensor4D;
  readonly previous: Tensor4D;
  readonly gradient: Tensor4D;
  /** [n,1,1,1] */
  readonly stepSizes: Tensor4D;
  /** Of the gradient step; the rest is momentum. */
  readonly share: number;
}

interface Ball {
  /** A random point on the ball's boundary, clamped to [0,1]. */
  start(key: NoiseKey): Tensor4D;
  step(input: StepInput): Tensor4D;
  /** Gives the centres back and frees the rest. */
  take(): Tensor4D;
}

/** Takes `x` over. */
function createBall(norm: Norm, x: Tensor4D, eps: number): Ball {
  return norm === "linf" ? linfBall(x, eps) : l2Ball(x, eps);
}

const SAMPLE_AXES = [1, 2, 3];

function linfBall(x: Tensor4D, eps: number): Ball {
  const [low, high] = tf.tidy(() => [tf.maximum(tf.sub(x, eps), 0), tf.minimum(tf.add(x, eps), 1)] as const);
  const project = (moved: Tensor): Tensor4D => tf.minimum(tf.maximum(moved, low), high);
  return {
    start: (key) =>
      tf.tidy(() => {
        const t = tf.sub(tf.mul(ops().noise("uniform", key, x.shape.slice(1)), 2), 1);
        return project(tf.add(x, tf.mul(tf.div(t, tf.add(tf.max(tf.abs(t), SAMPLE_AXES, true), 1e-12)), eps)));
      }),
    step: ({ current, previous, gradient, stepSizes, share }) =>
      tf.tidy(() => {
        const moved = project(tf.add(current, tf.mul(tf.sign(gradient), stepSizes)));
        return project(momentum(moved, current, previous, share));
      }),
    take() {
      tf.dispose([low, high]);
      return x;
    },
  };
}

function l2Ball(x: Tensor4D, eps: number): Ball {
  const norms = (d: Tensor): Tensor => tf.sqrt(tf.sum(tf.square(d), SAMPLE_AXES, true)); // [n,1,1,1]
  const unit = (d: Tensor): Tensor => tf.div(d, tf.add(norms(d), 1e-12));
  const project = (moved: Tensor): Tensor4D => {
    const delta = tf.sub(moved, x);
    const factor = tf.minimum(tf.div(eps, tf.add(norms(delta), 1e-12)), 1);
    return tf.clipByValue(tf.add(x, tf.mul(delta, factor)), 0, 1);
  };
  return {
    start: (key) => tf.tidy(() => tf.clipByValue(tf.add(x, tf.mul(unit(ops().noise("normal", key, x.shape.slice(1))), eps)), 0, 1)),
    step: ({ current, previous, gradient, stepSizes, share }) =>
      tf.tidy(() => {
        const moved = project(tf.add(current, tf.mul(unit(gradient), stepSizes)));
        return project(momentum(moved, current, previous, share));
      }),
    take: () => x,
  };
}

/** x + share (z - x) + (1 - share) (x - x_before) */
function momentum(moved: Tensor, current: Tensor, previous: Tensor, share: number): Tensor {
  return tf.add(current, tf.add(tf.mul(tf.sub(moved, current), share), tf.mul(tf.sub(current, previous), 1 - share)));
}
