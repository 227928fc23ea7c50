/**
 * Decides batch by batch whether new data still look to a model as its reference did. Pure: energies in, a record out; the clock and the
 * output are the caller's. What is decided on are energies alone, so no labels are needed.
 *
 * A batch raises an alarm when any of PSI, KS and Wasserstein exceeds its bootstrap threshold for the batch's size. An alarm is one batch's;
 * at a false alarm rate of 1 % one in a hundred batches raises one without cause, so records also count alarms in a row.
 */

import { quantile, sorted } from "../../util/quantile.js";
import { energyGap } from "../figures/energy-gap.js";
import { type Drift, driftOf, driftThresholds } from "./drift.js";
import type { EnergyReference } from "./reference.js";

/** Fewer say nothing: the bins alone need more. */
export const SMALLEST_BATCH = 20;

export interface MonitorOptions {
  readonly falseAlarmRate: number;
  readonly seed: bigint;
  readonly numResamples?: number;
}

export interface BatchRecord {
  /** From 1. */
  readonly batch: number;
  readonly numSamples: number;
  readonly energy: { readonly mean: number; readonly std: number; readonly p05: number; readonly p50: number; readonly p95: number };
  /** mean E(new) - mean E(reference); above 0: less like the data. */
  readonly shift: number;
  readonly drift: Drift;
  readonly thresholds: Drift;
  /** Share of the batch with energies above 99 % of the reference's: 0.01 without drift. */
  readonly aboveReference: number;
  /** PSI of the classes that the model decides on, as a hint to what has changed; raises no alarm. */
  readonly decisionPsi: number;
  /** Sentences with figures; empty without an alarm. */
  readonly reasons: readonly string[];
  readonly alarmsInARow: number;
}

export interface Monitor {
  /** @param energies E(x) of at least SMALLEST_BATCH samples; decisions: their classes. */
  observe(energies: ArrayLike<number>, decisions: ArrayLike<number>): BatchRecord;
}

export function createMonitor(reference: EnergyReference, options: MonitorOptions): Monitor {
  const known = sorted(reference.energies);
  const high = quantile(known, 0.99);
  const thresholds = new Map<number, Drift>();
  let batch = 0;
  let alarmsInARow = 0;
  return {
    observe(energies, decisions) {
      const batchSize = energies.length;
      let limits = thresholds.get(batchSize);
      if (!limits) {
        limits = driftThresholds(known, { ...options, batchSize });
        thresholds.set(batchSize, limits);
      }
      const drift = driftOf(known, energies);
      const { meanOther, signedMean } = energyGap(known, energies, { paired: false });
      const words = { psi: "PSI", ks: "Kolmogorov-Smirnov distance", wasserstein: "Wasserstein distance" };
      const reasons = (["psi", "ks", "wasserstein"] as const)
        .filter((name) => drift[name] > limits[name])
        .map((name) => `${words[name]} ${digits(drift[name])} is above ${digits(limits[name])}`);
      alarmsInARow = reasons.length > 0 ? alarmsInARow + 1 : 0;
      const ascending = sorted(energies);
      const std = Math.sqrt(ascending.reduce((sum, e) => sum + (e - meanOther) ** 2, 0) / batchSize);
      return {
        batch: ++batch,
        numSamples: batchSize,
        energy: { mean: meanOther, std, p05: quantile(ascending, 0.05), p50: quantile(ascending, 0.5), p95: quantile(ascending, 0.95) },
        shift: signedMean,
        drift,
        thresholds: limits,
        aboveReference: ascending.filter((e) => e > high).length / batchSize,
        decisionPsi: decisionShift(reference.predictedShares, decisions),
        reasons,
        alarmsInARow,
      };
    },
  };
}

/** PSI over classes; a class that one side never has counts as half a sample of the batch. */
function decisionShift(expected: readonly number[], decisions: ArrayLike<number>): number {
  const counts = expected.map(() => 0);
  for (let i = 0; i < decisions.length; i++) counts[decisions[i] as number] = (counts[decisions[i] as number] ?? 0) + 1;
  const least = 0.5 / decisions.length;
  return expected.reduce((sum, share, k) => {
    const [e, a] = [Math.max(least, share), Math.max(least, (counts[k] as number) / decisions.length)];
    return sum + (a - e) * Math.log(a / e);
  }, 0);
}

function digits(value: number): string {
  return String(Number(value.toPrecision(3)));
}
