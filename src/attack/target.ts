/**
 * What an attack ascends, as a head on the logits, and how strong a finished attack is, sample by sample.
 *
 * | target | ascends | in words |
 * | --- | --- | --- |
 * | cross-entropy | CE(x, y) | lower the true class's probability |
 * | margin | max_{k != y} f_k - f_y | Carlini & Wagner 2017, no saturation |
 * | energy | E(x) = -logsumexp f | leave the data's energy, whatever the class |
 * | joint-energy | E(x,y) = -f_y | leave the energy of its class |
 */

import * as tf from "@tensorflow/tfjs-core";
import type { AttackConfig } from "../config/schema.js";
import { logSumExp } from "../model/energy.js";
import { crossEntropyHead, energyHead, jointEnergyHead, marginHead, targetsOf } from "../model/heads.js";
import type { Head } from "../model/model.js";

export interface AttackTarget {
  /** dL/dlogits of the loss that the attack ascends, summed over samples. */
  readonly ascend: Head;
  /** Larger is stronger: the loss, and above every loss where the sample is misclassified. `logits` [n*K]. */
  strength(logits: Float32Array): number[];
  dispose(): void;
}

export function createTarget(kind: AttackConfig["target"], labels: Int32Array, numClasses: number): AttackTarget {
  const targets = targetsOf(labels, numClasses);
  const heads = { "cross-entropy": crossEntropyHead, margin: marginHead, energy: energyHead, "joint-energy": jointEnergyHead };
  return {
    ascend: heads[kind](targets),
    strength: (logits) => Array.from(labels, (label, i) => strength(kind, logits.subarray(i * numClasses, (i + 1) * numClasses), label)),
    dispose: () => tf.dispose(targets),
  };
}

const MISCLASSIFIED = 1e6;

function strength(kind: AttackConfig["target"], logits: Float32Array, label: number): number {
  const own = logits[label] as number;
  let rival = -Infinity;
  for (let k = 0; k < logits.length; k++) if (k !== label) rival = Math.max(rival, logits[k] as number);
  const energy = -logSumExp(logits, 0, logits.length);
  const loss = { "cross-entropy": -energy - own, margin: rival - own, energy, "joint-energy": -own }[kind];
  return loss + (rival > own ? MISCLASSIFIED : 0);
}
