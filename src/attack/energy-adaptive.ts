/**
 * Attacks that know of energies: CE(x*, y) + lambda (E(x*) - E(x))^2 as a loss to ascend.
 *
 * With lambda < 0 the attack misclassifies while it stays at the clean sample's energy: it evades a defence that watches E(x).
 * With lambda > 0 it misclassifies while it leaves that energy on either side: it goes where aligned training has not been.
 */

import { logSumExp } from "../model/energy.js";
import { crossEntropyLoss, type LogitLoss } from "./logit-loss.js";

/** @param cleanEnergies E(x) of each sample of the slice. */
export function energyAdaptiveLoss(labels: ArrayLike<number>, cleanEnergies: ArrayLike<number>, lambda: number): LogitLoss {
  const crossEntropy = crossEntropyLoss(labels);
  return (logits, sample, gradient) => {
    const loss = crossEntropy(logits, sample, gradient);
    const logZ = logSumExp(logits, 0, logits.length);
    const gap = -logZ - (cleanEnergies[sample] as number);
    // dE/dz = -softmax(z)
    for (let k = 0; k < logits.length; k++)
      gradient[k] = (gradient[k] as number) - 2 * lambda * gap * Math.exp((logits[k] as number) - logZ);
    return loss + lambda * gap * gap;
  };
}
