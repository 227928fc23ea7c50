/**
 * A searcher proposes points, one after the other. It is pure: the n-th proposal is a function of n, the seed and what has been
 * observed, so that a study which is read back from its journal goes on as if it had never stopped.
 */
import type { Point } from "../space.js";

export interface Observation {
  readonly point: Point;
  /** Larger is better; minus infinity for a trial that failed. */
  readonly value: number;
}

export interface Searcher {
  /** The `index`-th point (from 0), or null when there are no more. */
  propose(index: number, observed: readonly Observation[]): Point | null;
}
