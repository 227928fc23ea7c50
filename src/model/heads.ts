/**
 * What an attack or a sampler follows: each head is dL/dlogits [B,K] of a sum L over the samples, computed on the engine.
 *
 *   crossEntropyHead   L = sum -log p(y|x)                     dL/df = softmax(f) - t
 *   marginHead         L = sum max_{k != y} f_k - f_y          dL/df = onehot(argmax_{k != y} f_k) - t
 *   energyHead         L = sum E(x)   = sum -logsumexp f       dL/df = -softmax(f)
 *   jointEnergyHead    L = sum E(x,y) = sum -f_y               dL/df = -t
 *   klHead             L = sum KL(q || p(x))                   dL/df = softmax(f) - q, with q fixed: TRADES' attack has q = p(clean)
 *
 * None is negated: an attack ASCENDS the L it is named after, a sampler DESCENDS an energy. `t` are the targets [B,K], one-hot
 * rows of the labels; they stay the caller's.
 */

import type { Tensor1D, Tensor2D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Head } from "./model.js";

/** One-hot rows of labels [B] as targets [B,K]; made once, used by every inner step, freed by the caller. */
export function targetsOf(labels: ArrayLike<number>, numClasses: number): Tensor2D {
  const values = new Float32Array(labels.length * numClasses);
  for (let i = 0; i < labels.length; i++) values[i * numClasses + (labels[i] as number)] = 1;
  return tf.tensor2d(values, [labels.length, numClasses]);
}

export function crossEntropyHead(targets: Tensor2D): Head {
  return (logits) => tf.sub(tf.softmax(logits), targets);
}

export function marginHead(targets: Tensor2D): Head {
  return (logits) => {
    // Far below any logit; only the label's own entry loses its digits.
    const others = tf.sub(logits, tf.mul(targets, 1e30));
    const strongest = tf.argMax(others, 1) as Tensor1D;
    // Cast afterwards: asked for float32, the wasm backend's oneHot writes integers' bits.
    return tf.sub(tf.cast(tf.oneHot(strongest, logits.shape[1]), "float32"), targets);
  };
}

export function energyHead(): Head {
  return (logits) => tf.neg(tf.softmax(logits));
}

export function jointEnergyHead(targets: Tensor2D): Head {
  return () => tf.neg(targets);
}

/** `reference` are the probabilities q [B,K]; they stay the caller's. */
export function klHead(reference: Tensor2D): Head {
  return (logits) => tf.sub(tf.softmax(logits), reference);
}

/** The weighted sum of two losses. */
export function sumHead(first: Head, second: Head, weight: number): Head {
  return (logits) => tf.add(first(logits), tf.mul(second(logits), weight));
}
