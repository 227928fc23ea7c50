/** What a sweep judged, in words and units. */
import { formatNumber, formatPercent } from "../../evaluate/format.js";
import type { SweepSpec } from "../../sweep/spec.js";

type Metric = SweepSpec["metric"];

interface Words {
  /** As a heading or an axis. */
  readonly title: string;
  readonly what: string;
  /** Accuracies are shares, written in %. */
  readonly unit: "%" | "";
  /** What of the training's own figures shows how the metric comes along, the first that there is. */
  readonly during: readonly { readonly metric: string; readonly title: string }[];
}

const ACCURACY = { metric: "accuracy/clean", title: "accuracy on training batches" };
const ATTACKED = { metric: "accuracy/adversarial", title: "accuracy on training batches, under the training's own attack" };

export const METRICS: Readonly<Record<Metric["name"], Words>> = {
  clean: { title: "clean accuracy", what: "the share of validation images that is named right", unit: "%", during: [ACCURACY] },
  robust: {
    title: "accuracy under PGD-20",
    what: "the share of validation images that is still named right after 20 steps of projected gradient ascent on cross-entropy",
    unit: "%",
    during: [ATTACKED, ACCURACY],
  },
  worst: {
    title: "accuracy under two PGD-20",
    what: "the share of validation images that is named right after PGD-20 on cross-entropy as well as after PGD-20 on the margin",
    unit: "%",
    during: [ATTACKED, ACCURACY],
  },
  gap: {
    title: "energy gap to attacked images",
    what: "the W1 distance between the energies of clean and attacked validation images, in standard deviations of the clean ones",
    unit: "",
    during: [{ metric: "gap/adversarial-absolute", title: "energy gap on training batches, mean |E(adversarial) - E(clean)|" }],
  },
};

export const METRIC_NAMES = Object.keys(METRICS) as readonly Metric["name"][];

/** "31.2 %", or "0.312" for a figure that is no share. */
export function formatMetric(value: number, { name }: Pick<Metric, "name">): string {
  return METRICS[name].unit === "%" ? formatPercent(value) : formatNumber(value);
}

/** As an axis shows it: shares in %. */
export function scaledMetric(value: number, { name }: Pick<Metric, "name">): number {
  return METRICS[name].unit === "%" ? 100 * value : value;
}

export function axisTitle({ name }: Pick<Metric, "name">): string {
  const { title, unit } = METRICS[name];
  return unit === "" ? title : `${title}, ${unit}`;
}

/** The metric itself from a score, of which larger is better. */
export function metricOf(score: number, { goal }: Pick<Metric, "goal">): number {
  return goal === "max" ? score : -score;
}
