/**
 * A term of the objective: which views it reads, and its value and gradient.
 *
 * Values are this worker's share of a mean over the global batch, so that the sum over workers is the term's value whatever
 * the slices. A term that is not a mean of per-sample values says which sums over the global batch it needs first.
 */
import type { ObjectiveConfig } from "../config/schema.js";
import { invariant } from "../util/error.js";
import type { View, ViewRole, Views } from "./view.js";

export interface TermContext {
  /** Of the clean samples, and of every view that is made of them. */
  readonly labels: Int32Array;
  /** The objective's settings: a term reads those of its own. */
  readonly settings: ObjectiveConfig;
  /** What `shares` gave, summed over all workers; empty for a term without it. */
  readonly sums: Float64Array;
}

export interface Term {
  readonly needs: readonly ViewRole[];
  /**
   * This worker's shares of sums over the global batch that must be known before the gradient. Their number must not depend on
   * the slice. They travel as float32.
   */
  shares?(views: Views): readonly number[];
  /** Returns this worker's share of the (unweighted) value and adds `weight` times its gradient to the views. */
  apply(views: Views, context: TermContext, weight: number): number;
}

/** A view that the term declared in `needs`. */
export function viewOf(views: Views, name: ViewRole): View {
  const view = views[name];
  invariant(view, `a term read the view '${name}' without declaring it`);
  return view;
}

/** This worker's share of a view's mean energy. */
export function energyShare(view: View): number {
  let sum = 0;
  for (const energy of view.energies) sum += energy;
  return sum / view.total;
}

/** What a view's maker says of each of its samples. */
export function constantOf(view: View, name: string): Float64Array {
  const values = view.constants[name];
  invariant(values?.length === view.n, `a view has no '${name}' for each of its ${view.n} samples`);
  return values;
}
