/**
 * A term of the objective: what it is called, which views it reads, and its value and gradient.
 *
 * Values are this worker's share of a mean over the global batch, so that the sum over workers is the term's value whatever
 * the slices. A term that is not a mean of per-sample values declares the sums it needs over the global batch first.
 */
import type { View, ViewName, Views } from "./view.js";

export interface TermContext {
  readonly labels: Int32Array;
  readonly labelSmoothing: number;
  /** Where the Huber of the alignment turns from quadratic to linear. */
  readonly alignBeta: number;
  /** Global means of E over each view; set only when some term `needsMeans`. */
  readonly meanEnergy: Readonly<Partial<Record<ViewName, number>>>;
}

export interface Term {
  readonly name: string;
  readonly needs: readonly ViewName[];
  /** Whether `meanEnergy` must be known before the gradient. */
  readonly needsMeans: boolean;
  /** Returns this worker's share of the (unweighted) value and adds `weight` times its gradient to the views. */
  apply(views: Views, context: TermContext, weight: number): number;
}

/** A view that the term declared in `needs`. */
export function viewOf(views: Views, name: ViewName): View {
  const view = views[name];
  if (!view) throw new Error(`bug in isoerg: a term read the view '${name}' without declaring it`);
  return view;
}
