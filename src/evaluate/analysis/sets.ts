/**
 * From logits of several sets of images to the figures of an analysis: distributions of E(x) and E(x,y) on shared bins, gaps to the clean
 * set, the same class by class. Pure; energies that are not numbers are refused, since no figure of them means anything.
 */
import { energies, jointEnergies } from "../../model/energy.js";
import { IsoergError, invariant } from "../../util/error.js";
import { quantile, sorted } from "../../util/quantile.js";
import { accuracyOf } from "../figures/accuracy.js";
import { energyGap, wasserstein1 } from "../figures/energy-gap.js";
import { type Bins, histogram, sharedBins } from "../figures/histogram.js";
import type { AnalysisSet, Distribution, SetKind } from "./analysis.js";

export interface SetInput {
  readonly name: string;
  readonly kind: SetKind;
  readonly description: string;
  /** [n * numClasses] */
  readonly logits: Float32Array;
  /** True classes [n], or null where there are none: then the model's own decision stands for y. */
  readonly labels: Int32Array | null;
  /** Whether sample i was made from clean sample i. */
  readonly paired: boolean;
}

const NUM_BINS = 60;

/** @param inputs the clean test set first. @throws IsoergError DIVERGED */
export function describeSets(inputs: readonly SetInput[], classes: readonly string[]): AnalysisSet[] {
  const numClasses = classes.length;
  const raw = inputs.map((input) => {
    const predicted = decisions(input.logits, numClasses);
    const labels = input.labels ?? predicted;
    return {
      input,
      predicted,
      labels,
      marginal: finite(energies(input.logits, numClasses), input.name),
      joint: finite(jointEnergies(input.logits, labels, numClasses), input.name),
    };
  });
  const clean = raw[0];
  invariant(clean?.input.kind === "clean", "the first set is the clean one");
  const bins = {
    marginal: sharedBins(
      raw.map((set) => set.marginal),
      NUM_BINS,
    ),
    joint: sharedBins(
      raw.map((set) => set.joint),
      NUM_BINS,
    ),
  };
  return raw.map((set): AnalysisSet => {
    const { name, kind, description, labels: known, paired } = set.input;
    const gapTo = (energy: "marginal" | "joint") => (set === clean ? null : energyGap(clean[energy], set[energy], { paired }));
    return {
      name,
      kind,
      description,
      numSamples: set.marginal.length,
      labels: known ? "true" : "predicted",
      accuracy: known
        ? accuracyOf(
            set.predicted.reduce((sum, k, i) => sum + (k === known[i] ? 1 : 0), 0),
            known.length,
          )
        : null,
      marginal: distribution(set.marginal, bins.marginal, gapTo("marginal")),
      joint: distribution(set.joint, bins.joint, gapTo("joint")),
      perClass: classes.map((label, k) => {
        const own = set.marginal.filter((_, i) => set.labels[i] === k);
        const reference = clean.marginal.filter((_, i) => clean.labels[i] === k);
        const comparable = set !== clean && own.length > 0 && reference.length > 0;
        const { mean, std } = own.length > 0 ? moments(own) : { mean: 0, std: 0 };
        return {
          class: label,
          count: own.length,
          meanEnergy: mean,
          stdEnergy: std,
          signedMean: comparable ? mean - moments(reference).mean : null,
          wasserstein: comparable ? wasserstein1(reference, own) : null,
        };
      }),
    };
  });
}

/** The strongest class of each sample; the first of equals. */
export function decisions(logits: Float32Array, numClasses: number): Int32Array {
  return Int32Array.from({ length: logits.length / numClasses }, (_, i) => {
    let best = 0;
    for (let k = 1; k < numClasses; k++) {
      if ((logits[i * numClasses + k] as number) > (logits[i * numClasses + best] as number)) best = k;
    }
    return best;
  });
}

function distribution(values: readonly number[], bins: Bins, gap: Distribution["gap"]): Distribution {
  const ascending = sorted(values);
  const at = (share: number): number => quantile(ascending, share);
  const { counts, below, above } = histogram(values, bins);
  return {
    energies: [...values],
    ...moments(values),
    quantiles: [at(0.05), at(0.25), at(0.5), at(0.75), at(0.95)],
    histogram: { ...bins, counts: [...counts], below, above },
    gap,
  };
}

function moments(values: readonly number[]): { mean: number; std: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, std: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) };
}

/** Kept to 8 digits; figures are computed from what is kept, so a reader of the file gets the same. */
function finite(values: Float64Array, name: string): number[] {
  return Array.from(values, (energy, i) => {
    if (!Number.isFinite(energy)) {
      throw new IsoergError("DIVERGED", `the energy of sample ${i} of '${name}' is ${energy}`, {
        hint: "The weights have diverged, or the model sees another range of pixels than it was made for (--input-range).",
      });
    }
    return Number(energy.toPrecision(8));
  });
}
