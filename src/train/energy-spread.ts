/**
 * How the energies of each kind of sample are spread, now and then during a training: quantiles over the global batch, from the
 * energies that the step has computed anyway. Means can lie over each other while the distributions do not; a report draws both.
 *
 *   energy-spread/clean/p5 ... energy-spread/clean/p95, and the same of adversarial and generated
 *
 * Quantiles of slices can't be merged, so the energies themselves are gathered, by position, as a sum to which every worker adds its
 * own: exact, whatever the slices. Which steps look is a function of the step alone, about a hundred of a training.
 */

import type { Figures } from "../objective/objective.js";
import type { View, ViewName } from "../objective/view.js";
import { quantile, sorted } from "../util/quantile.js";
import type { StepInput } from "./step-input.js";

export const SPREAD_PERCENTS = [5, 25, 50, 75, 95] as const;
export const SPREAD_VIEWS = ["clean", "adversarial", "generated"] as const;

const LOOKS = 100;
/** Longer sums may be rounded on their way. */
const MAX_SUM = 4096;

/** Whether a step looks at the spread: a step with chains, where there are such. @param every steps from one with chains to the next */
export function looksAtSpread(step: number, { totalSteps, every }: { totalSteps: number; every: number }): boolean {
  return step % (every * Math.max(1, Math.floor(totalSteps / LOOKS / every))) === 0;
}

/** The name of a quantile among a step's figures. */
export function spreadName(view: (typeof SPREAD_VIEWS)[number], percent: (typeof SPREAD_PERCENTS)[number]): string {
  return `energy-spread/${view}/p${percent}`;
}

/** Of the whole global batch, the same on every worker; every worker has to call it. */
export function energySpread(
  seen: Readonly<Partial<Record<ViewName, View>>>,
  { clean, chains, sumOverWorkers }: Pick<StepInput, "clean" | "chains" | "sumOverWorkers">,
): Figures {
  const present = SPREAD_VIEWS.flatMap((name) => {
    const view = seen[name];
    const positions = name === "generated" ? chains?.positions : clean.positions;
    return view && positions ? [{ name, view, positions }] : [];
  });
  const all = new Float32Array(present.reduce((sum, { view }) => sum + view.total, 0));
  let from = 0;
  const parts = present.map(({ name, view, positions }) => {
    const part = all.subarray(from, from + view.total);
    from += view.total;
    positions.forEach((position, i) => {
      part[position] = view.energies[i] as number;
    });
    return { name, part };
  });
  for (let at = 0; at < all.length; at += MAX_SUM) sumOverWorkers(all.subarray(at, at + MAX_SUM));
  return Object.fromEntries(
    parts.flatMap(({ name, part }) => {
      const ascending = sorted(part);
      return SPREAD_PERCENTS.map((percent) => [spreadName(name, percent), quantile(ascending, percent / 100)]);
    }),
  );
}
