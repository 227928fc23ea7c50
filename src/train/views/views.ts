/**
 * The registry of views, in the order in which they are made, and the making of those that an objective reads.
 *
 * To add a view: its name in `../../objective/view.ts`, one file here and one line below.
 */
import type { Figures } from "../../objective/objective.js";
import type { ViewName } from "../../objective/view.js";
import type { StepInput } from "../step-input.js";
import { adversarial } from "./adversarial.js";
import { clean, natural } from "./clean.js";
import { curvature } from "./curvature.js";
import { generated } from "./generated.js";
import { gradientAlignment } from "./gradient-alignment.js";
import { leastLinear } from "./least-linear.js";
import type { Samples, ViewMaker } from "./maker.js";
import { neighbours } from "./neighbours.js";
import { virtualAdversarial } from "./virtual-adversarial.js";

const MAKERS: readonly ViewMaker[] = [
  clean,
  natural,
  adversarial,
  generated,
  virtualAdversarial,
  leastLinear,
  neighbours,
  gradientAlignment,
  curvature,
];

export interface StepViews {
  readonly samples: ReadonlyMap<ViewName, Samples>;
  /** What the makers measured: this worker's shares, additive over workers. */
  readonly figures: Figures;
  dispose(): void;
}

/** Makes the views that the objective reads, as far as this step has them. */
export function makeViews(input: StepInput): StepViews {
  const samples = new Map<ViewName, Samples>();
  const figures: Record<string, number> = {};
  for (const maker of MAKERS) {
    if (!maker.provides.some((name) => input.objective.views.has(name))) continue;
    input.clock.begin(maker.phase);
    const made = maker.make(input, samples);
    for (const name of maker.provides) {
      const view = made?.views[name];
      if (view) samples.set(name, view);
    }
    Object.assign(figures, made?.figures);
  }
  return {
    samples,
    figures,
    dispose() {
      for (const { x } of samples.values()) x.dispose();
    },
  };
}
