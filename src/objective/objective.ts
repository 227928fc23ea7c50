/**
 * The objective: ONE weighted sum of terms. Published systems differ in their weights only.
 */
import type { ObjectiveConfig } from "../config/schema.js";
import { energyShare } from "./term.js";
import { TERM_NAMES, TERMS, type TermName } from "./terms.js";
import { isCorrect, type View, type ViewName, type ViewRole, type Views } from "./view.js";
import { weightAt } from "./weight.js";

export interface Objective {
  /** Views that some term with a weight reads, and the clean samples. */
  readonly views: ReadonlySet<ViewName>;
  /** Adds every term's gradient to the views and returns this worker's shares of the figures, to be summed over workers. */
  evaluate(views: Readonly<Partial<Record<ViewName, View>>>, context: EvaluateContext): Figures;
  /** Whether a term that reads the view has begun: before its `after`, a step can do without. */
  reads(view: ViewName, progress: number): boolean;
  /** The weights that do not stay the same all through the training, as figures `weight/TERM`. The same on every worker. */
  movingWeights(progress: number, factor: (name: TermName) => number): Figures;
}

export interface EvaluateContext {
  readonly labels: Int32Array;
  /** step / number of steps */
  readonly progress: number;
  /** What measured gaps multiply a term's weight with; 1 without it. */
  readonly factor?: (name: TermName) => number;
  /** Sums a few numbers over all workers, in place, and waits for them. */
  readonly sumOverWorkers: (values: Float32Array) => void;
}

/** Figures of one step; every value is additive over workers. */
export type Figures = Readonly<Record<string, number>>;

export function createObjective(settings: ObjectiveConfig): Objective {
  const data = DATA_VIEW[settings["generative-on"]];
  const viewFor = (role: ViewRole): ViewName => (role === "data" ? data : role);
  const active = TERM_NAMES.filter((name) => settings[name].value > 0);
  const needed = new Set<ViewName>(["clean", ...active.flatMap((name) => TERMS[name].needs.map(viewFor))]);
  const moving = active.filter((name) => {
    const { after, warmup, end, driven } = settings[name];
    return after > 0 || warmup > 0 || end !== null || driven !== null;
  });
  return {
    views: needed,
    reads: (view, progress) => active.some((name) => progress >= settings[name].after && TERMS[name].needs.map(viewFor).includes(view)),
    movingWeights: (progress, factor) =>
      Object.fromEntries(moving.map((name) => [`weight/${name}`, weightAt(settings[name], progress) * factor(name)])),
    evaluate(made, { labels, progress, factor, sumOverWorkers }) {
      const views: Views = { ...made, ...(made[data] && { data: made[data] }) };
      const present = active.filter((name) => TERMS[name].needs.every((view) => views[view]));
      const sums = sumShares(present, views, sumOverWorkers);
      const figures: Record<string, number> = { loss: 0 };
      for (const name of present) {
        const weight = weightAt(settings[name], progress) * (factor?.(name) ?? 1);
        const value = TERMS[name].apply(views, { labels, settings, sums: sums.get(name) ?? new Float64Array(0) }, weight);
        figures[name] = value;
        (figures.loss as number) += weight * value;
      }
      return { ...figures, ...observe(views, labels) };
    },
  };
}

const DATA_VIEW = { augmented: "clean", natural: "natural", adversarial: "adversarial" } as const satisfies Record<
  ObjectiveConfig["generative-on"],
  ViewName
>;

/** The sums that terms need over the global batch, term by term: one exchange for all of them, and none where no term asks. */
function sumShares(names: readonly TermName[], views: Views, sumOverWorkers: (values: Float32Array) => void): Map<TermName, Float64Array> {
  const shares = names.map((name) => [name, TERMS[name].shares?.(views) ?? []] as const).filter(([, own]) => own.length > 0);
  const sums = Float32Array.from(shares.flatMap(([, own]) => own));
  if (sums.length > 0) sumOverWorkers(sums);
  let from = 0;
  return new Map(
    shares.map(([name, own]) => {
      from += own.length;
      return [name, Float64Array.from(sums.subarray(from - own.length, from))];
    }),
  );
}

/** What people watch: accuracies, mean energies and gaps, as shares of global means. */
function observe(views: Views, labels: Int32Array): Figures {
  const figures: Record<string, number> = {};
  for (const name of ["clean", "natural", "adversarial", "generated"] as const) {
    const view = views[name];
    if (!view) continue;
    figures[`energy/${name}`] = energyShare(view);
    if (name === "generated" || name === "natural") continue;
    let correct = 0;
    for (let i = 0; i < view.n; i++) if (isCorrect(view, i, labels[i] as number)) correct++;
    figures[`accuracy/${name}`] = correct / view.total;
  }
  const { clean, adversarial, data, generated } = views;
  if (clean && adversarial) {
    figures["gap/adversarial"] = energyShare(adversarial) - energyShare(clean);
    figures["gap/adversarial-absolute"] =
      clean.energies.reduce((sum, e, i) => sum + Math.abs((adversarial.energies[i] as number) - e), 0) / clean.total;
  }
  if (data && generated) figures["gap/generated"] = energyShare(generated) - energyShare(data);
  return figures;
}
