/**
 * Looks at a model that say whether attacks can judge it: are its answers the same twice, are they logits, have they gradients,
 * does a rescaled loss find more, is there anything on its loss surfaces that an attack walked past, how steep is it.
 */

import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { apgd } from "../../attack/apgd.js";
import { batchOf, distanceOf } from "../../attack/fab.js";
import { answerOf, crossEntropyLoss, type LogitLoss, lossPass, ranked } from "../../attack/logit-loss.js";
import { fillUniform } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { invariant } from "../../util/error.js";
import { type Budget, logitsOfSlice, runApgd, type Slice } from "./attacks.js";

interface Found {
  readonly stands: boolean[];
  readonly values: number[][];
}

/** Columns of `checkSanity`'s values. */
export const SANITY = { changed: 0, probabilities: 1, zeroGradient: 2, topGap: 3 } as const;

/** Sum and range that only probabilities have by chance-free design. */
const PROBABILITY_TOLERANCE = 1e-4;

/**
 * For each sample: do two passes differ; do the outputs look like probabilities; is the input gradient of the cross-entropy zero
 * or not a number; the gap between the two largest outputs. A sample stands where none of the first three holds.
 */
export function checkSanity(slice: Slice): Found {
  const { model, numClasses, labels } = slice;
  const first = logitsOfSlice(slice);
  const second = logitsOfSlice(slice);
  const pass = lossPass(crossEntropyLoss(labels), [...labels.keys()]);
  const x = batchOf(slice.x, [...labels.keys()], slice.shape);
  const { logits, gradient } = model.inputGradient(x, pass.head);
  const slopes = gradient.dataSync<"float32">() as Float32Array;
  tf.dispose([x, logits, gradient]);
  const size = slopes.length / labels.length;
  const values = Array.from(labels, (_, i) => {
    const own = first.subarray(i * numClasses, (i + 1) * numClasses);
    const again = second.subarray(i * numClasses, (i + 1) * numClasses);
    const changed = own.some((value, k) => !Object.is(value, again[k]));
    const sum = own.reduce((a, b) => a + b, 0);
    const probabilities = own.every((value) => value >= 0 && value <= 1) && Math.abs(sum - 1) < PROBABILITY_TOLERANCE;
    const slope = slopes.subarray(i * size, (i + 1) * size);
    const zeroGradient = slope.every((value) => value === 0 || Number.isNaN(value));
    const [top, next] = ranked(own) as [number, number];
    return [changed ? 1 : 0, probabilities ? 1 : 0, zeroGradient ? 1 : 0, (own[top] as number) - (own[next] as number)];
  });
  return { stands: values.map(([changed, probabilities, zero]) => !changed && !probabilities && !zero), values };
}

/**
 * Auto-PGD on the cross-entropy of z / T, where T brings the gap between the sample's two largest logits down to one: however large
 * a model makes its logits, the gradient does not saturate. Logits that are closer already are left alone: sharpened they
 * would make another loss, not a better scaled one.
 */
export function temperatureAttack(slice: Slice, budget: Budget, steps: number): Uint8Array {
  const clean = logitsOfSlice(slice);
  const temperatures = Array.from(slice.labels, (_, i) => {
    const own = clean.subarray(i * slice.numClasses, (i + 1) * slice.numClasses);
    const [top, next] = ranked(own) as [number, number];
    return Math.max((own[top] as number) - (own[next] as number), 1);
  });
  const crossEntropy = crossEntropyLoss(slice.labels);
  const loss: LogitLoss = (logits, sample, gradient) =>
    crossEntropy(
      logits.map((value) => value / (temperatures[sample] as number)),
      sample,
      gradient,
    );
  return runApgd(slice, budget, steps, loss, 0);
}

/** Auto-PGD on the other model's cross-entropy, to the end: its strongest points, shown to this model. 1 where one was fooled. */
export function transferredAttack(slice: Slice, budget: Budget, steps: number): Uint8Array {
  const { source, labels, numClasses } = slice;
  invariant(source, "a transferred attack needs a model to be made on");
  const x = batchOf(slice.x, [...labels.keys()], slice.shape);
  const key = { seed: slice.seed, purpose: PURPOSE.evaluateAttack, step: 1002, positions: slice.ids };
  const made = apgd({ model: source, x, labels, numClasses, ...budget, steps, loss: "cross-entropy", key, until: "end" });
  const z = logitsOfTensor(slice, made.adversarial);
  tf.dispose([x, made.adversarial]);
  return Uint8Array.from(labels, (label, i) => (answerOf(z.subarray(i * numClasses, (i + 1) * numClasses)) === label ? 0 : 1));
}

/** Points a side of a loss surface. */
export const SURFACE_SIDE = 11;

/**
 * Cross-entropy on a square of the ball through each sample: one axis along the gradient's steepest direction, the other a random one
 * of the same norm, both from -1 to 1 times eps. Row by row [side * side]; a sample stands where no point was misclassified.
 */
export function lossSurface(slice: Slice, { norm, eps }: Budget): Found {
  const { model, labels, shape, numClasses } = slice;
  const size = slice.x.length / labels.length;
  const stands: boolean[] = [];
  const values: number[][] = [];
  labels.forEach((label, i) => {
    const clean = slice.x.subarray(i * size, (i + 1) * size);
    const uphill = steepest(slopeAt(slice, i, clean), norm);
    const noise = new Float32Array(size);
    fillUniform(noise, { seed: slice.seed, purpose: PURPOSE.evaluateAttack, step: 1000, inner: 0, position: slice.ids[i] as number });
    const aside = steepest(
      noise.map((value) => value - 0.5),
      norm,
    );
    const points = new Float32Array(SURFACE_SIDE ** 2 * size);
    for (let a = 0; a < SURFACE_SIDE; a++) {
      for (let b = 0; b < SURFACE_SIDE; b++) {
        // In L2 the two directions share the budget at the corners; in Linf each has all of it and the sum is clamped.
        const along = ((2 * a) / (SURFACE_SIDE - 1) - 1) * eps * (norm === "linf" ? 1 : Math.SQRT1_2);
        const across = ((2 * b) / (SURFACE_SIDE - 1) - 1) * eps * (norm === "linf" ? 1 : Math.SQRT1_2);
        const at = (a * SURFACE_SIDE + b) * size;
        for (let j = 0; j < size; j++) {
          const step = along * (uphill[j] as number) + across * (aside[j] as number);
          const within = norm === "linf" ? Math.min(eps, Math.max(-eps, step)) : step;
          points[at + j] = Math.min(1, Math.max(0, (clean[j] as number) + within));
        }
      }
    }
    const batch = batchOf(points, [...Array(SURFACE_SIDE ** 2).keys()], shape);
    const logits = model.logits(batch);
    const z = logits.dataSync<"float32">() as Float32Array;
    tf.dispose([batch, logits]);
    const one = crossEntropyLoss([label]);
    const unused = new Float64Array(numClasses);
    const rows = Array.from({ length: SURFACE_SIDE ** 2 }, (_, p) => z.subarray(p * numClasses, (p + 1) * numClasses));
    stands.push(rows.every((row) => answerOf(row) === label));
    values.push(rows.map((row) => Number(one(row, 0, unused).toPrecision(5))));
  });
  return { stands, values };
}

/**
 * How far the outputs move within the ball: Auto-PGD ascends |f(x') - f(x)|, so the figures are lower bounds of the true
 * supremum. Values of each sample: the largest L2 change of the logits found; that change over the distance it was found at
 * (a local Lipschitz estimate in the ball's norm); the largest |E(x') - E(x)| among the points tried.
 */
export function sensitivity(slice: Slice, budget: Budget, steps: number): Found {
  const { model, labels, numClasses, shape } = slice;
  const clean = logitsOfSlice(slice);
  const size = slice.x.length / labels.length;
  const energyOf = (z: ArrayLike<number>): number => {
    const max = Math.max(...Array.from(z));
    return -(max + Math.log(Array.from(z).reduce((sum, value) => sum + Math.exp(value - max), 0)));
  };
  const energyChange = new Float64Array(labels.length);
  const loss: LogitLoss = (logits, sample, gradient) => {
    let square = 0;
    for (let k = 0; k < numClasses; k++) {
      const change = (logits[k] as number) - (clean[sample * numClasses + k] as number);
      square += change * change;
      gradient[k] = change;
    }
    const own = energyOf(clean.subarray(sample * numClasses, (sample + 1) * numClasses));
    energyChange[sample] = Math.max(energyChange[sample] as number, Math.abs(energyOf(logits) - own));
    return square / 2;
  };
  const x = batchOf(slice.x, [...labels.keys()], shape);
  const key = { seed: slice.seed, purpose: PURPOSE.evaluateAttack, step: 1001, positions: slice.ids };
  // `end`: the figure is the loss, not whether the answer changed. Labels that none can answer keep misclassified points out of it.
  const { adversarial, loss: highest } = apgd({
    model,
    x,
    labels: labels.map(() => -1),
    numClasses,
    ...budget,
    steps,
    loss,
    key,
    until: "end",
  });
  const changed = logitsOfTensor(slice, adversarial);
  const points = adversarial.dataSync<"float32">() as Float32Array;
  tf.dispose([x, adversarial]);
  const values = Array.from(labels, (_, i) => {
    const change = Math.sqrt(2 * (highest[i] as number));
    const at = distanceOf(points.subarray(i * size, (i + 1) * size), slice.x.subarray(i * size, (i + 1) * size), budget.norm);
    const there = distanceOf(
      changed.subarray(i * numClasses, (i + 1) * numClasses),
      clean.subarray(i * numClasses, (i + 1) * numClasses),
      "l2",
    );
    return [change, at > 0 ? there / at : 0, energyChange[i] as number];
  });
  return { stands: values.map(() => true), values };
}

function logitsOfTensor({ model }: Slice, x: Tensor4D): Float32Array {
  const logits = model.logits(x);
  const values = Float32Array.from(logits.dataSync<"float32">() as Float32Array);
  logits.dispose();
  return values;
}

function slopeAt(slice: Slice, row: number, point: Float32Array): Float32Array {
  const pass = lossPass(crossEntropyLoss(slice.labels), [row]);
  const x = batchOf(point, [0], slice.shape);
  const { logits, gradient } = slice.model.inputGradient(x, pass.head);
  const values = Float32Array.from(gradient.dataSync<"float32">() as Float32Array);
  tf.dispose([x, logits, gradient]);
  return values;
}

/** The direction of norm one that gains most along a slope. */
function steepest(slope: Float32Array, norm: Budget["norm"]): Float32Array {
  if (norm === "linf") return slope.map(Math.sign);
  const length = Math.sqrt(slope.reduce((sum, value) => sum + value * value, 0));
  return slope.map((value) => value / Math.max(length, 1e-12));
}
