/**
 * The objective: ONE weighted sum of terms. `standard`, `at`, `jem` and `jdat` differ in their weights only.
 *
 * To add a term: one file, and one line in the registry below.
 */
import type { ObjectiveConfig } from "../config/schema.js";
import { alignAdversarial } from "./align-adversarial.js";
import { alignGenerated } from "./align-generated.js";
import { contrast } from "./contrast.js";
import { adversarialCrossEntropy, cleanCrossEntropy } from "./cross-entropy.js";
import { energyL2 } from "./energy-l2.js";
import type { Term } from "./term.js";
import { isCorrect, type ViewName, type Views } from "./view.js";

export const TERMS = {
  "clean-ce": cleanCrossEntropy,
  "adversarial-ce": adversarialCrossEntropy,
  contrast,
  "energy-l2": energyL2,
  "align-adversarial": alignAdversarial,
  "align-generated": alignGenerated,
} as const satisfies Readonly<Record<string, Term>>;

export type TermName = keyof typeof TERMS;
const TERM_NAMES = Object.keys(TERMS) as TermName[];
const VIEW_NAMES: readonly ViewName[] = ["clean", "adversarial", "generated"];

export interface Objective {
  /** Views that some term with a weight reads. */
  readonly views: ReadonlySet<ViewName>;
  /** Adds every term's gradient to the views and returns this worker's shares of the figures, to be summed over workers. */
  evaluate(views: Views, context: { labels: Int32Array; progress: number; sumOverWorkers: (values: Float32Array) => void }): Figures;
}

/** Figures of one step; every value is additive over workers. */
export type Figures = Readonly<Record<string, number>>;

export function createObjective(config: ObjectiveConfig): Objective {
  const active = TERM_NAMES.filter((name) => config[name].value > 0);
  const needed = new Set<ViewName>(["clean", ...active.flatMap((name) => TERMS[name].needs)]);
  return {
    views: needed,
    evaluate(views, { labels, progress, sumOverWorkers }) {
      const present = active.filter((name) => TERMS[name].needs.every((view) => views[view]));
      const meanEnergy = present.some((name) => TERMS[name].needsMeans) ? meansOverWorkers(views, sumOverWorkers) : {};
      const context = { labels, labelSmoothing: config["label-smoothing"], alignBeta: config["align-beta"], meanEnergy };
      const figures: Record<string, number> = { loss: 0 };
      for (const name of present) {
        const weight = weightAt(config[name], progress);
        const value = TERMS[name].apply(views, context, weight);
        figures[name] = value;
        (figures.loss as number) += weight * value;
      }
      return { ...figures, ...observe(views, labels) };
    },
  };
}

/** A weight rises linearly from 0 over its warm-up, a share of the training; progress in [0,1]. */
export function weightAt({ value, warmup }: { value: number; warmup: number }, progress: number): number {
  return warmup > 0 ? value * Math.min(1, progress / warmup) : value;
}

function meansOverWorkers(views: Views, sumOverWorkers: (values: Float32Array) => void): Partial<Record<ViewName, number>> {
  const sums = new Float32Array(VIEW_NAMES.length);
  VIEW_NAMES.forEach((name, v) => {
    const view = views[name];
    sums[v] = view ? view.energies.reduce((sum, e) => sum + e, 0) / view.total : 0;
  });
  sumOverWorkers(sums);
  return Object.fromEntries(VIEW_NAMES.map((name, v) => [name, sums[v]]));
}

/** What people watch: accuracies, mean energies and the paired gap, as shares of global means. */
function observe(views: Views, labels: Int32Array): Figures {
  const figures: Record<string, number> = {};
  for (const name of VIEW_NAMES) {
    const view = views[name];
    if (!view) continue;
    figures[`energy/${name}`] = view.energies.reduce((sum, e) => sum + e, 0) / view.total;
    if (name === "generated") continue;
    let correct = 0;
    for (let i = 0; i < view.n; i++) if (isCorrect(view, i, labels[i] as number)) correct++;
    figures[`accuracy/${name}`] = correct / view.total;
  }
  const { clean, adversarial } = views;
  if (clean && adversarial) {
    figures["gap/adversarial-absolute"] =
      clean.energies.reduce((sum, e, i) => sum + Math.abs((adversarial.energies[i] as number) - e), 0) / clean.total;
  }
  return figures;
}
