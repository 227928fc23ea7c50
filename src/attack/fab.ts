/**
 * FAB-T: the fast adaptive boundary attack towards one class (Croce & Hein, ICML 2020; in AutoAttack's settings), Linf and L2.
 * It looks for the nearest misclassified point, not for the highest loss within a ball, and has no step size.
 *
 * Each step linearises z_t - z_y at the present point, projects both the present point and the clean one onto that
 * hyperplane within the box (exactly, `box-projection.ts`), and goes to a mixture of the two with a little overshoot. From a
 * misclassified point it goes back nine tenths of the way and tries again, so it closes in on the boundary. There is no
 * randomness. The network's passes run on the engine, the geometry in float64 on the host.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Classifier } from "../model/model.js";
import type { Norm } from "./apgd.js";
import { createBoxProjection } from "./box-projection.js";
import { answerOf, type LogitLoss, lossPass } from "./logit-loss.js";

const MOST_BIAS = 0.1; // alpha_max: of the clean point's projection
const OVERSHOOT = 1.05; // eta
const BACKWARD = 0.9; // beta

export interface FabInput {
  readonly model: Classifier;
  /** Clean, correctly classified samples [n,H,W,C] in [0,1], in host memory. */
  readonly x: Float32Array;
  readonly shape: readonly [number, number, number];
  readonly labels: Int32Array;
  /** The class that each sample is moved towards. Any misclassified point counts. */
  readonly targets: Int32Array;
  readonly numClasses: number;
  readonly norm: Norm;
  readonly steps: number;
  /** A sample is finished once it has a misclassified point within this; leave it out to look for the nearest. */
  readonly eps?: number;
}

export interface FabResult {
  /** The nearest misclassified point of each sample [n,H,W,C]; the clean one where none was found. */
  readonly adversarial: Float32Array;
  /** Its distance; infinite where none was found. */
  readonly distance: Float64Array;
}

export function fab(input: FabInput): FabResult {
  const { model, x: clean, shape, labels, targets, numClasses, norm } = input;
  const numSamples = labels.length;
  const size = shape[0] * shape[1] * shape[2];
  const adversarial = clean.slice();
  const distance = new Float64Array(numSamples).fill(Number.POSITIVE_INFINITY);
  const points = clean.slice(); // what the model is asked about, hence float32
  const { project } = createBoxProjection(norm, size);
  const fromPoint = new Float64Array(size);
  const fromClean = new Float64Array(size);
  const loss = differenceLoss(labels, targets);
  let rows = Array.from({ length: numSamples }, (_, i) => i);

  for (let step = 0; step < input.steps && rows.length > 0; step++) {
    const pass = lossPass(loss, rows);
    const batch = batchOf(points, rows, shape);
    const { logits, gradient } = model.inputGradient(batch, pass.head);
    const slopes = gradient.dataSync<"float32">() as Float32Array;
    tf.dispose([batch, logits, gradient]);

    rows.forEach((sample, row) => {
      const at = sample * size;
      const slopeAt = row * size;
      const excess = pass.values[row] as number; // of the linearisation at the point itself
      let excessOfClean = excess;
      for (let i = 0; i < size; i++)
        excessOfClean += (slopes[slopeAt + i] as number) * ((clean[at + i] as number) - (points[at + i] as number));
      const near = Math.max(project(points, at, slopes, slopeAt, excess, fromPoint), 1e-8);
      const far = Math.max(project(clean, at, slopes, slopeAt, excessOfClean, fromClean), 1e-8);
      const bias = Math.min(near / (near + far), MOST_BIAS);
      for (let i = 0; i < size; i++) {
        const own = (points[at + i] as number) + OVERSHOOT * (fromPoint[i] as number);
        const original = (clean[at + i] as number) + OVERSHOOT * (fromClean[i] as number);
        points[at + i] = Math.min(1, Math.max(0, (1 - bias) * own + bias * original));
      }
    });

    const asked = batchOf(points, rows, shape);
    const answers = model.logits(asked);
    const z = answers.dataSync<"float32">() as Float32Array;
    tf.dispose([asked, answers]);
    rows.forEach((sample, row) => {
      if (answerOf(z.subarray(row * numClasses, (row + 1) * numClasses)) === labels[sample]) return;
      const [from, to] = [sample * size, (sample + 1) * size];
      const point = points.subarray(from, to);
      const reached = distanceOf(point, clean.subarray(from, to), norm);
      if (reached < (distance[sample] as number)) {
        distance[sample] = reached;
        adversarial.set(point, from);
      }
      for (let i = 0; i < size; i++) {
        const original = clean[from + i] as number;
        point[i] = original + BACKWARD * ((point[i] as number) - original);
      }
    });
    const { eps } = input;
    if (eps !== undefined) rows = rows.filter((sample) => (distance[sample] as number) > eps);
  }
  return { adversarial, distance };
}

/** z_t - z_y */
function differenceLoss(labels: Int32Array, targets: Int32Array): LogitLoss {
  return (logits, sample, gradient) => {
    const [own, target] = [labels[sample] as number, targets[sample] as number];
    gradient.fill(0);
    gradient[target] = 1;
    gradient[own] = -1;
    return (logits[target] as number) - (logits[own] as number);
  };
}

/** Chosen samples as one tensor of its own memory. */
export function batchOf(values: Float32Array, rows: readonly number[], shape: readonly [number, number, number]): Tensor4D {
  const size = shape[0] * shape[1] * shape[2];
  const batch = new Float32Array(rows.length * size);
  rows.forEach((sample, row) => {
    batch.set(values.subarray(sample * size, (sample + 1) * size), row * size);
  });
  return tf.tensor4d(batch, [rows.length, ...shape]);
}

/** Between two samples, in float64. */
export function distanceOf(a: ArrayLike<number>, b: ArrayLike<number>, norm: Norm): number {
  let reached = 0;
  for (let i = 0; i < a.length; i++) {
    const delta = Math.abs((a[i] as number) - (b[i] as number));
    reached = norm === "linf" ? Math.max(reached, delta) : reached + delta * delta;
  }
  return norm === "linf" ? reached : Math.sqrt(reached);
}
