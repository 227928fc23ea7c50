/**
 * What an attack follows, as a head on the logits, and how strong a finished attack is, sample by sample.
 *
 * | target | L | upwards, in words |
 * | --- | --- | --- |
 * | cross-entropy | CE(x*, y) | lower the true class's probability |
 * | margin | max_{k != y} f_k(x*) - f_y(x*) | Carlini & Wagner 2017, no saturation |
 * | kl | KL(p(x) \|\| p(x*)) | away from the clean sample's own prediction: TRADES (Zhang et al. 2019), no labels |
 * | energy | E(x*) = -logsumexp f(x*) | leave the data's energy, whatever the class |
 * | joint-energy | E(x*, y) = -f_y(x*) | leave the energy of its class |
 * | cross-entropy-energy | CE(x*, y) + lambda E(x*) | misclassified and of high energy; lambda < 0: misclassified yet plausible |
 * | eb-jdat | f_y(x*) + \|\| f(x)/\|f(x)\| - f(x*)/\|f(x*)\| \|\|^2 | towards MORE confidence in y: what EB-JDAT's released code ascends |
 *
 * `direction: descend` follows L downhill instead.
 */

import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { TrainingAttackConfig } from "../config/schema.js";
import { logSumExp } from "../model/energy.js";
import { crossEntropyHead, energyHead, jointEnergyHead, klHead, marginHead, sumHead, targetsOf } from "../model/heads.js";
import type { Classifier, Head } from "../model/model.js";

export type TargetKind = TrainingAttackConfig["target"];

/** What names a target; an evaluation's attack leaves the last two out. */
export type TargetConfig = Pick<TrainingAttackConfig, "target"> & Partial<Pick<TrainingAttackConfig, "direction" | "energyWeight">>;

export interface AttackTarget {
  /** dL/dlogits of the loss that the attack ascends, summed over samples. */
  readonly ascend: Head;
  /** Larger is stronger: the loss, and, ascending, above every loss where the sample is misclassified. `logits` [n*K]. */
  strength(logits: Float32Array): number[];
  dispose(): void;
}

export interface TargetInput {
  readonly model: Classifier;
  /** Clean samples; stay the caller's. */
  readonly x: Tensor4D;
  readonly labels: Int32Array;
  readonly numClasses: number;
  readonly config: TargetConfig;
}

export function createTarget({ model, x, labels, numClasses, config }: TargetInput): AttackTarget {
  const { target: kind, direction = "ascend", energyWeight = 1 } = config;
  const onehot = targetsOf(labels, numClasses);
  // Two of them measure from the clean sample's logits, which are computed once for all steps.
  const cleanLogits = kind === "kl" || kind === "eb-jdat" ? model.logits(x) : null;
  const reference = cleanLogits && tf.tidy(() => (kind === "kl" ? (tf.softmax(cleanLogits) as Tensor2D) : unitRows(cleanLogits)));
  const clean = cleanLogits?.dataSync<"float32">() as Float32Array | undefined;
  cleanLogits?.dispose();
  const head = headOf(kind, { onehot, reference, energyWeight });
  const descends = direction === "descend";
  return {
    ascend: descends ? (logits) => tf.neg(head(logits)) : head,
    strength: (logits) =>
      Array.from(labels, (label, i) => {
        const own = logits.subarray(i * numClasses, (i + 1) * numClasses);
        const loss = lossOf(kind, { logits: own, label, clean: clean?.subarray(i * numClasses, (i + 1) * numClasses), energyWeight });
        return descends ? -loss : loss + (rivalOf(own, label) > (own[label] as number) ? MISCLASSIFIED : 0);
      }),
    dispose: () => tf.dispose(reference ? [onehot, reference] : [onehot]),
  };
}

interface HeadInput {
  readonly onehot: Tensor2D;
  /** p(x) for kl, f(x)/|f(x)| for eb-jdat. */
  readonly reference: Tensor2D | null;
  readonly energyWeight: number;
}

function headOf(kind: TargetKind, { onehot, reference, energyWeight }: HeadInput): Head {
  switch (kind) {
    case "cross-entropy":
      return crossEntropyHead(onehot);
    case "margin":
      return marginHead(onehot);
    case "kl":
      return klHead(reference as Tensor2D);
    case "energy":
      return energyHead();
    case "joint-energy":
      return jointEnergyHead(onehot);
    case "cross-entropy-energy":
      return sumHead(crossEntropyHead(onehot), energyHead(), energyWeight);
    case "eb-jdat":
      return (logits) => {
        // u fixed, v = f/|f|: d|u - v|^2/df = 2 (I - v v') (v - u) / |f|, which is 2 (v (v.u) - u) / |f|.
        const u = reference as Tensor2D;
        const v = unitRows(logits);
        const along = tf.sum(tf.mul(v, u), 1, true);
        return tf.add(onehot, tf.div(tf.mul(tf.sub(tf.mul(v, along), u), 2), rowNorms(logits))) as Tensor2D;
      };
    default:
      return kind satisfies never;
  }
}

function rowNorms(logits: Tensor2D): Tensor2D {
  return tf.maximum(tf.sqrt(tf.sum(tf.square(logits), 1, true)), 1e-12) as Tensor2D;
}

function unitRows(logits: Tensor2D): Tensor2D {
  return tf.div(logits, rowNorms(logits));
}

const MISCLASSIFIED = 1e6;

interface LossInput {
  /** Of one sample, [K]. */
  readonly logits: Float32Array;
  readonly label: number;
  readonly clean: Float32Array | undefined;
  readonly energyWeight: number;
}

/** L of one sample. */
function lossOf(kind: TargetKind, { logits, label, clean, energyWeight }: LossInput): number {
  const own = logits[label] as number;
  const energy = -logSumExp(logits, 0, logits.length);
  switch (kind) {
    case "cross-entropy":
      return -energy - own;
    case "margin":
      return rivalOf(logits, label) - own;
    case "kl": {
      // sum_k p_k (log p_k - log p*_k)
      const from = clean as Float32Array;
      const cleanEnergy = -logSumExp(from, 0, from.length);
      return from.reduce((sum, f, k) => sum + Math.exp(f + cleanEnergy) * (f + cleanEnergy - (logits[k] as number) - energy), 0);
    }
    case "energy":
      return energy;
    case "joint-energy":
      return -own;
    case "cross-entropy-energy":
      return -energy - own + energyWeight * energy;
    case "eb-jdat": {
      const from = clean as Float32Array;
      const [a, b] = [Math.hypot(...from), Math.hypot(...logits)];
      return own + from.reduce((sum, f, k) => sum + (f / a - (logits[k] as number) / b) ** 2, 0);
    }
    default:
      return kind satisfies never;
  }
}

function rivalOf(logits: Float32Array, label: number): number {
  let rival = -Infinity;
  for (let k = 0; k < logits.length; k++) if (k !== label) rival = Math.max(rival, logits[k] as number);
  return rival;
}
