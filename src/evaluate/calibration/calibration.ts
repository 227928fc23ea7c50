/**
 * Whether a model's probabilities mean what they say: of decisions made with 80 % confidence, 80 % should be right.
 *
 * ECE is the mean distance between confidence and accuracy over equal bins of confidence (Naeini et al. 2015; Guo et al. 2017), 15 unless
 * stated. It depends on the bins and is biased upwards for few samples, so bins and counts are kept with it. Temperature scaling divides the logits
 * by one number T that minimises the negative log-likelihood on OTHER samples than those it is judged on.
 */
import { invariant } from "../../util/error.js";
import { softmaxRows } from "../quality/inception-score.js";

export interface ReliabilityBin {
  /** Confidences in (from, to]. */
  readonly from: number;
  readonly to: number;
  readonly count: number;
  /** Of the decisions in the bin; null where there are none. */
  readonly confidence: number | null;
  readonly accuracy: number | null;
}

export interface Calibration {
  readonly numSamples: number;
  readonly numBins: number;
  readonly ece: number;
  /** The largest distance of a bin. */
  readonly mce: number;
  readonly meanConfidence: number;
  readonly accuracy: number;
  /** Mean of -log p(y|x), in nats. */
  readonly nll: number;
  /** Mean over samples of the squared distance to the one-hot label, summed over classes: 0 to 2. */
  readonly brier: number;
  readonly bins: readonly ReliabilityBin[];
}

export interface CalibrationOptions {
  readonly numBins?: number;
  /** Logits are divided by it. */
  readonly temperature?: number;
}

/** @param logits [n * numClasses]; labels [n]. */
export function calibration(
  logits: ArrayLike<number>,
  labels: ArrayLike<number>,
  numClasses: number,
  options: CalibrationOptions = {},
): Calibration {
  const { numBins = 15, temperature = 1 } = options;
  const numSamples = labels.length;
  invariant(numSamples > 0 && logits.length === numSamples * numClasses, `${logits.length} logits for ${numSamples} labels`);
  const p = softmaxRows(
    Float64Array.from(logits, (f) => f / temperature),
    numClasses,
  );
  const counts = new Float64Array(numBins);
  const confidences = new Float64Array(numBins);
  const hits = new Float64Array(numBins);
  let brier = 0;
  for (let i = 0; i < numSamples; i++) {
    const label = labels[i] as number;
    let best = 0;
    for (let k = 0; k < numClasses; k++) {
      const value = p[i * numClasses + k] as number;
      if (value > (p[i * numClasses + best] as number)) best = k;
      brier += (value - (k === label ? 1 : 0)) ** 2;
    }
    const confidence = p[i * numClasses + best] as number;
    const bin = Math.min(numBins - 1, Math.max(0, Math.ceil(confidence * numBins) - 1));
    counts[bin] = (counts[bin] as number) + 1;
    confidences[bin] = (confidences[bin] as number) + confidence;
    hits[bin] = (hits[bin] as number) + (best === label ? 1 : 0);
  }
  let ece = 0;
  let mce = 0;
  const bins = Array.from(counts, (count, bin): ReliabilityBin => {
    const edges = { from: bin / numBins, to: (bin + 1) / numBins, count };
    if (count === 0) return { ...edges, confidence: null, accuracy: null };
    const [confidence, accuracy] = [(confidences[bin] as number) / count, (hits[bin] as number) / count];
    ece += (count / numSamples) * Math.abs(accuracy - confidence);
    mce = Math.max(mce, Math.abs(accuracy - confidence));
    return { ...edges, confidence, accuracy };
  });
  const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);
  return {
    numSamples,
    numBins,
    ece,
    mce,
    meanConfidence: sum(confidences) / numSamples,
    accuracy: sum(hits) / numSamples,
    nll: negativeLogLikelihood(logits, labels, numClasses, 1 / temperature).value,
    brier: brier / numSamples,
    bins,
  };
}

const SMALLEST = 1e-3;
const LARGEST = 1e3;

/**
 * T in [1e-3, 1e3] that minimises the negative log-likelihood. The likelihood is convex in 1/T, so its slope has one sign change, which
 * bisection finds whatever the logits' scale is. An end of the range comes back where there is no minimum inside (all right, or all wrong).
 */
export function fitTemperature(logits: ArrayLike<number>, labels: ArrayLike<number>, numClasses: number): number {
  invariant(labels.length > 0 && logits.length === labels.length * numClasses, "a temperature needs samples");
  const slopeAt = (logBeta: number): number => negativeLogLikelihood(logits, labels, numClasses, Math.exp(logBeta)).slope;
  let [low, high] = [Math.log(1 / LARGEST), Math.log(1 / SMALLEST)];
  if (slopeAt(low) >= 0) return LARGEST;
  if (slopeAt(high) <= 0) return SMALLEST;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (slopeAt(middle) < 0) low = middle;
    else high = middle;
  }
  return Math.exp(-(low + high) / 2);
}

/** Mean of -log softmax(beta f)_y and its derivative by beta, which is E_p[f] - f_y. */
function negativeLogLikelihood(
  logits: ArrayLike<number>,
  labels: ArrayLike<number>,
  numClasses: number,
  beta: number,
): { value: number; slope: number } {
  let value = 0;
  let slope = 0;
  for (let i = 0; i < labels.length; i++) {
    const at = i * numClasses;
    let max = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < numClasses; k++) max = Math.max(max, logits[at + k] as number);
    let sum = 0;
    let weighted = 0;
    for (let k = 0; k < numClasses; k++) {
      const f = (logits[at + k] as number) - max;
      const weight = Math.exp(beta * f);
      sum += weight;
      weighted += weight * f;
    }
    const own = (logits[at + (labels[i] as number)] as number) - max;
    value += Math.log(sum) - beta * own;
    slope += weighted / sum - own;
  }
  return { value: value / labels.length, slope: slope / labels.length };
}
