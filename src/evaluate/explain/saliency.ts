/**
 * Which pixels a decision hangs on, to first order: the input gradient of the decided class's log-probability, and that of the energy
 * (Simonyan et al. 2013). Signs are kept: raising a pixel where the gradient is positive raises the figure.
 *
 * A gradient says what an infinitely small change would do, and nothing about large ones. The sum over channels is what a change of
 * brightness does at that place.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { crossEntropyHead, energyHead, targetsOf } from "../../model/heads.js";
import type { Classifier } from "../../model/model.js";

export interface SaliencyMap {
  /** Sum over channels, [H*W]; per unit of pixel value. */
  readonly values: Float64Array;
  /** Largest magnitude of `values`. */
  readonly scale: number;
  /** Euclidean norm of the gradient over all pixels and channels. */
  readonly norm: number;
}

export interface Explanation {
  readonly decision: number;
  /** softmax(f), float64. */
  readonly probabilities: readonly number[];
  /** E(x) */
  readonly energy: number;
  /** d log p(decision | x) / dx */
  readonly logProbability: SaliencyMap;
  /** dE(x) / dx */
  readonly energyGradient: SaliencyMap;
}

/** @param x one sample, [1,H,W,C] in [0,1]; stays the caller's. @param target the class to explain; the decision unless given. */
export function explain(classifier: Classifier, x: Tensor4D, numClasses: number, target?: number): Explanation {
  const { logits, gradient: dEnergy } = classifier.inputGradient(x, energyHead());
  const f = Array.from(logits.dataSync<"float32">());
  const max = Math.max(...f);
  const total = f.reduce((sum, value) => sum + Math.exp(value - max), 0);
  const decision = target ?? f.indexOf(max);
  const targets = targetsOf([decision], numClasses);
  const crossEntropy = classifier.inputGradient(x, crossEntropyHead(targets));
  const explanation = {
    decision,
    probabilities: f.map((value) => Math.exp(value - max) / total),
    energy: -(max + Math.log(total)),
    logProbability: mapOf(crossEntropy.gradient, -1), // log p = -CE
    energyGradient: mapOf(dEnergy, 1),
  };
  tf.dispose([logits, dEnergy, targets, crossEntropy.logits, crossEntropy.gradient]);
  return explanation;
}

function mapOf(gradient: Tensor4D, sign: 1 | -1): SaliencyMap {
  const [, height, width, channels] = gradient.shape;
  const data = gradient.dataSync<"float32">();
  const values = new Float64Array(height * width);
  let squares = 0;
  for (let i = 0; i < data.length; i++) {
    const value = sign * (data[i] as number);
    const pixel = Math.floor(i / channels);
    values[pixel] = (values[pixel] as number) + value;
    squares += value * value;
  }
  return { values, scale: values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0), norm: Math.sqrt(squares) };
}
