/**
 * Randomised smoothing (Cohen, Rosenfeld & Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019).
 *
 * The smoothed classifier answers g(x) = argmax_c P(f(x + N(0, sigma^2 I)) = c). Within the L2 radius R = sigma quantile(pA) it
 * cannot change its answer, where pA is a lower bound of the answer's probability that holds with confidence 1 - alpha
 * (Clopper-Pearson). The class is chosen from `select` draws, its probability from `estimate` other ones; where the bound is
 * not above one half, it abstains. sigma is in pixels; noisy images are not clamped to [0,1], as in the paper.
 *
 * Draw d of a sample is keyed by (the sample's index, d): the same for any batch and any process.
 */
import * as tf from "@tensorflow/tfjs-core";
import { answerOf } from "../../attack/logit-loss.js";
import { ops } from "../../engine/ops.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { type Accuracy, accuracyOf } from "../figures/accuracy.js";
import type { Slice } from "../robustness/attacks.js";
import { fairCoinPValue, lowerBound, normalQuantile } from "./binomial.js";

export interface SmoothingSettings {
  /** Standard deviation of the noise, in pixels. */
  readonly sigma: number;
  /** n0 of the paper. */
  readonly select: number;
  /** n of the paper. */
  readonly estimate: number;
  readonly alpha: number;
}

export const ABSTAIN = -1;
/** Draws in one pass. */
const DRAWS_A_PASS = 250;

export interface Certificate {
  /** Class, or ABSTAIN. */
  readonly answer: number;
  /** In L2, in pixels; 0 where it abstains. */
  readonly radius: number;
}

/** Algorithm CERTIFY of the paper, on counts of answers: which class, how far. Pure. */
export function certificateFrom(selected: ArrayLike<number>, estimated: ArrayLike<number>, settings: SmoothingSettings): Certificate {
  const top = largest(selected);
  const hits = estimated[top] as number;
  const pLower = lowerBound(hits, total(estimated), settings.alpha);
  return pLower > 0.5 ? { answer: top, radius: settings.sigma * normalQuantile(pLower) } : { answer: ABSTAIN, radius: 0 };
}

/** Algorithm PREDICT of the paper, on counts of answers: the class, or ABSTAIN where the two most frequent ones may be equal. Pure. */
export function predictionFrom(counts: ArrayLike<number>, alpha: number): number {
  const top = largest(counts);
  const rest = Array.from(counts, (count, k) => (k === top ? 0 : count));
  const [first, second] = [counts[top] as number, Math.max(...rest)];
  return fairCoinPValue(first, first + second) <= alpha ? top : ABSTAIN;
}

/** Answers of the base classifier under noise, counted by class: draws from..to-1 of one sample. */
export function countAnswers(slice: Slice, sigma: number, from: number, to: number): Int32Array {
  const { model, numClasses, shape, ids, seed, x } = slice;
  const counts = new Int32Array(numClasses);
  for (let first = from; first < to; first += DRAWS_A_PASS) {
    const positions = Int32Array.from({ length: Math.min(DRAWS_A_PASS, to - first) }, (_, i) => first + i);
    const noisy = tf.tidy(() => {
      const noise = ops().noise(
        "normal",
        { seed, purpose: PURPOSE.evaluateChain, step: CERTIFY_STREAM + (ids[0] as number), inner: 0, positions },
        shape,
      );
      return tf.add(tf.mul(noise, sigma), tf.tensor4d(x.slice(), [1, ...shape])) as tf.Tensor4D;
    });
    const logits = model.logits(noisy);
    const z = logits.dataSync<"float32">() as Float32Array;
    tf.dispose([noisy, logits]);
    for (let i = 0; i < positions.length; i++) {
      const answer = answerOf(z.subarray(i * numClasses, (i + 1) * numClasses));
      if (answer >= 0) counts[answer] = (counts[answer] as number) + 1;
    }
  }
  return counts;
}

/** Steps of this purpose from here on are samples under certification; chains use the first few. */
const CERTIFY_STREAM = 2 ** 20;

/** One sample (a slice of one): [certified answer, radius, prediction, hits of the answer, 1 where the certified answer is right]. */
export function certifySample(slice: Slice, label: number, settings: SmoothingSettings): number[] {
  const selected = countAnswers(slice, settings.sigma, 0, settings.select);
  const estimated = countAnswers(slice, settings.sigma, settings.select, settings.select + settings.estimate);
  const { answer, radius } = certificateFrom(selected, estimated, settings);
  const hits = estimated[largest(selected)] as number;
  return [answer, radius, predictionFrom(estimated, settings.alpha), hits, answer === label ? 1 : 0];
}

/** The largest radius that so many draws can certify: all of them gave the same answer. */
export function radiusCap({ sigma, estimate, alpha }: SmoothingSettings): number {
  return sigma * normalQuantile(alpha ** (1 / estimate));
}

function largest(counts: ArrayLike<number>): number {
  let best = 0;
  for (let k = 1; k < counts.length; k++) if ((counts[k] as number) > (counts[best] as number)) best = k;
  return best;
}

function total(counts: ArrayLike<number>): number {
  return Array.from(counts).reduce((sum, count) => sum + count, 0);
}

/** Share of right predictions; abstaining is an error. */
export function predictionScore(samples: readonly { readonly label: number; readonly prediction: number }[]): Accuracy {
  return accuracyOf(samples.filter(({ label, prediction }) => label === prediction).length, samples.length);
}
