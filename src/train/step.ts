/**
 * One training step of one worker, in two parts: the views that the objective reads (the clean samples, what an attack makes of
 * them, the advanced chains, ...), for which a worker needs nobody else, and the gradient of the objective at them, summed over
 * all workers. The first part may be begun before its predecessor is known to be committed.
 *
 * A slice may be empty: the worker then takes part in the sums with zeros.
 */
import type { Figures } from "../objective/objective.js";
import type { View } from "../objective/view.js";
import type { Energies } from "../sampler/curriculum.js";
import { energySpread } from "./energy-spread.js";
import { stepGradient } from "./step-gradient.js";
import type { StepInput } from "./step-input.js";
import { makeViews, type StepViews } from "./views/views.js";

export interface StepOutput {
  /** The advanced chains [n*H*W*C], to be stored if the step commits. */
  readonly chains: Float32Array | null;
  /** Figures over the global batch that are summed already; `mergeFigures` puts them before those under way. */
  readonly settled: Figures;
  /** Of the whole global batch, by position: what a curriculum learns from if the step commits; null where there is none. */
  readonly energies: Energies | null;
  /** What is to be taken from running statistics, where that is not with the gradient under way. */
  readonly statistics: Float32Array | null;
}

/** A step whose views are made. */
export interface BegunStep {
  readonly input: StepInput;
  readonly views: StepViews;
}

export function beginStep(input: StepInput): BegunStep {
  return { input, views: makeViews(input) };
}

/** Leaves this worker's share of the gradient and of the figures under way to the sum over all workers. Disposes the views. */
export function finishStep({ input, views }: BegunStep): StepOutput {
  try {
    const chains = (views.samples.get("generated")?.x.dataSync<"float32">() as Float32Array | undefined) ?? null;
    input.clock.begin("gradient");
    const { seen, settled, statistics = null } = stepGradient(views, input);
    const { clean, natural = clean, generated } = seen;
    const energies = natural && generated && input.chainSteps !== undefined ? gatherEnergies(input, natural, generated) : null;
    const spread = input.looksAtSpread ? energySpread(seen, input) : {};
    return { chains, settled: { ...settled, ...spread }, energies, statistics };
  } finally {
    views.dispose();
  }
}

/** Every worker's energies at their positions: a sum to which each adds its own. */
function gatherEnergies({ clean, chains, sumOverWorkers }: StepInput, data: View, generated: View): Energies {
  const all = new Float32Array(data.total + generated.total);
  clean.positions.forEach((position, i) => {
    all[position] = data.energies[i] as number;
  });
  chains?.positions.forEach((position, i) => {
    all[data.total + position] = generated.energies[i] as number;
  });
  sumOverWorkers(all);
  return { data: all.subarray(0, data.total), generated: all.subarray(data.total) };
}
