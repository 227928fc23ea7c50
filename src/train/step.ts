/**
 * One training step of one worker: make the views that the objective reads (the clean samples, what an attack makes of them,
 * the advanced chains, ...), and turn the logits of them all into the gradient of the objective.
 *
 * A slice may be empty: the worker then takes part in the sums with zeros.
 */
import { differentiate } from "./differentiate.js";
import type { StepInput } from "./step-input.js";
import { makeViews } from "./views/views.js";

export interface StepOutput {
  /** The advanced chains [n*H*W*C], to be stored if the step commits. */
  readonly chains: Float32Array | null;
}

/** Leaves this worker's share of the gradient and of the figures under way to the sum over all workers. */
export function computeStep(input: StepInput): StepOutput {
  const views = makeViews(input);
  const chains = (views.samples.get("generated")?.x.dataSync<"float32">() as Float32Array | undefined) ?? null;

  input.clock.begin("gradient");
  differentiate(views, input.update, input);
  views.dispose();
  return { chains };
}
