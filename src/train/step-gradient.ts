/**
 * The gradient that a step ends with, which takes more than one where the configuration says so:
 *
 *   one                     the plain case
 *   two, a sum apart        weight perturbation (AWP, SAM): the first gives the direction, summed over the workers so that all
 *                           perturb alike; the second, on the same samples at the perturbed weights, is what is applied
 *   m, an update apart      Free: each but the last updates the weights at once, and moves the perturbation
 *   m, averaged             YOPO: all at the same weights, each but the last moves the perturbation
 *
 * All of them end as the plain case does: with the last gradient on its way to the sum over all workers.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import { createAttack } from "../attack/attack.js";
import type { Replay } from "../attack/replay.js";
import type { Figures } from "../objective/objective.js";
import type { View, ViewName } from "../objective/view.js";
import { globalNorm } from "../optimizer/clip.js";
import { invariant } from "../util/error.js";
import { differentiate, type GradientTarget } from "./differentiate.js";
import type { StepInput } from "./step-input.js";
import { viewMade } from "./views/maker.js";
import type { StepViews } from "./views/views.js";

export interface StepGradient {
  /** What the objective saw of this worker's samples at the last weights that were not perturbed. */
  readonly seen: Partial<Record<ViewName, View>>;
  /** Figures of a gradient before the last, over the global batch; they go before those that are still under way. */
  readonly settled: Figures;
  /** Of running statistics, where a gradient before the last has measured them. */
  readonly statistics?: Float32Array | null;
}

export function stepGradient(views: StepViews, input: StepInput): StepGradient {
  const { attack, optimizer } = input.config;
  if (optimizer.perturbation.kind !== "none") return perturbed(views, input);
  const made = views.samples.has("adversarial") ? createAttack(attack) : null;
  if (made?.kind === "replay") return replayed(views, made.replay, input);
  return { seen: differentiate(views, input.update, input).views, settled: {} };
}

/** The step's figures: those under way when it ended, behind those settled before. */
export function mergeFigures(last: Readonly<Record<string, number>>, settled: Figures): Record<string, number> {
  const { loss } = last;
  return settled.loss === undefined || loss === undefined ? { ...last, ...settled } : { ...last, ...settled, "loss-perturbed": loss };
}

function perturbed(views: StepViews, input: StepInput): StepGradient {
  const { gradient, weights, update, progress } = input;
  const seen = differentiate(views, update, input).views;
  const settled = gradient.finish();
  // At the weights that are kept: those of the perturbed ones are nobody's.
  const statistics = gradient.statistics?.slice() ?? null;
  const model = weights.perturbed(gradient.values, progress);
  // Not yet perturbed: the first gradient is the last, and its sum is done.
  if (!model) return { seen, settled: {} };
  differentiate(views, model, input, { movesStatistics: false });
  model.dispose();
  return { seen, settled, statistics };
}

function replayed(views: StepViews, { passes, updates, advance }: Replay, input: StepInput): StepGradient {
  const { gradient, weights, progress } = input;
  const clean = viewMade(views.samples, "clean").x;
  const adversarial = viewMade(views.samples, "adversarial");
  const sum = updates === "once" ? new LocalSum(gradient.values.length) : null;
  let model = input.update;
  let current = adversarial.x.clone();
  let seen: StepGradient["seen"] | undefined;
  for (let left = passes - 1; left >= 0; left--) {
    const now = { ...views, samples: new Map(views.samples).set("adversarial", { ...adversarial, x: current }) };
    const target = sum && { target: left > 0 ? sum.part() : sum.mean(gradient, passes) };
    const result = differentiate(now, model, input, { ...target, ...(left > 0 && { toInputOf: "adversarial" }) });
    seen = result.views;
    if (left === 0) break;
    sum?.add();
    const moved: Tensor4D = result.inputGradient ? advance(clean, current, result.inputGradient) : current.clone();
    result.inputGradient?.dispose();
    current.dispose();
    current = moved;
    if (updates === "each") {
      gradient.finish();
      const { values, statistics } = gradient;
      model = weights.advance({ gradient: values, gradientNorm: globalNorm(values), progress, statistics });
    }
  }
  current.dispose();
  invariant(seen, "a replay has at least one pass");
  return { seen, settled: {} };
}

/** Gradients of several passes added up on this worker, so that only their mean travels. */
class LocalSum {
  readonly #sum: Float32Array;
  readonly #part: Float32Array;

  constructor(length: number) {
    this.#sum = new Float32Array(length);
    this.#part = new Float32Array(length);
  }

  /** Where the next pass leaves its gradient. */
  part(): GradientTarget {
    return { values: this.#part, begin: () => undefined, ready: () => undefined };
  }

  add(): void {
    for (let i = 0; i < this.#sum.length; i++) (this.#sum[i] as number) += this.#part[i] as number;
  }

  /** Where the last pass leaves its own: range by range it becomes the mean of all as it gets ready. */
  mean(gradient: GradientTarget, count: number): GradientTarget {
    const { values } = gradient;
    let done = values.length;
    return {
      values,
      begin: (figures) => gradient.begin(figures),
      ready: (from) => {
        for (let i = from; i < done; i++) values[i] = ((values[i] as number) + (this.#sum[i] as number)) / count;
        done = from;
        gradient.ready(from);
      },
    };
  }
}
