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
import type { AttackConfig } from "../config/schema.js";
import { crossEntropyHead, energyHead, jointEnergyHead, marginHead } from "../model/heads.js";
import type { Head } from "../model/model.js";

export interface AttackTarget {
  /** dL/dlogits of the loss that the attack ascends, summed over samples. */
  readonly ascend: Head;
  /** Larger is stronger: the loss, and above every loss where the sample is misclassified. `logits` [n*K]. */
  strength(logits: Float32Array): number[];
}

export function createTarget(kind: AttackConfig["target"], labels: Int32Array): AttackTarget {
  return {
    ascend: headOf(kind, labels),
    strength: (logits) => Array.from(labels, (label, i) => strength(kind, logits, label, i, logits.length / labels.length)),
  };
}

function headOf(kind: AttackConfig["target"], labels: Int32Array): Head {
  switch (kind) {
    case "cross-entropy":
      return crossEntropyHead(labels);
    case "margin":
      return marginHead(labels);
    case "energy":
      return energyHead();
    case "joint-energy":
      return jointEnergyHead(labels);
    default:
      return kind satisfies never;
  }
}

const MISCLASSIFIED = 1e6;

function strength(kind: AttackConfig["target"], logits: Float32Array, label: number, row: number, numClasses: number): number {
  const at = row * numClasses;
  const own = logits[at + label] ?? 0;
  let rival = -Infinity;
  for (let k = 0; k < numClasses; k++) if (k !== label) rival = Math.max(rival, logits[at + k] ?? 0);
  const top = Math.max(own, rival);
  let sum = 0;
  for (let k = 0; k < numClasses; k++) sum += Math.exp((logits[at + k] ?? 0) - top);
  const energy = -(top + Math.log(sum));
  const loss = { "cross-entropy": -energy - own, margin: rival - own, energy, "joint-energy": -own }[kind];
  return loss + (rival > own ? MISCLASSIFIED : 0);
}
