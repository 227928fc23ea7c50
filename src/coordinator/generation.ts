/**
 * A period of unchanged membership: who is in it by rank, how far it has come, and what each member is told when it begins.
 */
import type { Adjustment } from "../config/adjustment.js";
import type { BallotMessage, ToWorker } from "../wire/messages.js";
import type { Outcome } from "./events.js";
import type { RestorePlan } from "./restore.js";

export interface Generation {
  readonly number: number;
  /** Incarnations by rank. */
  readonly members: readonly string[];
  readonly weights: readonly number[];
}

/** What a run waits for. */
export type Stage =
  | { readonly kind: "waiting" }
  | { readonly kind: "forming"; readonly endpoints: Map<number, string>; readonly ready: Set<number> }
  | { readonly kind: "stepping"; readonly ballots: Map<number, BallotMessage>; readonly sinceMs: number }
  /** Until the checkpoint of the step just committed is saved. */
  | { readonly kind: "pausing"; readonly next: "admit" | "finish" | "stop" }
  /** Until the checkpoint that the guard goes back to is found, and later ones are gone. */
  | { readonly kind: "rollingBack" }
  | { readonly kind: "ended"; readonly outcome: Outcome };

/** How a member learns of its generation. */
export function generationMessage(
  { number, members, weights }: Generation,
  rank: number,
  start: Pick<RestorePlan, "step" | "restore"> & { readonly checkpointStep: number | null; readonly adjustment: Adjustment },
): ToWorker {
  const { step, restore, checkpointStep, adjustment } = start;
  return {
    kind: "generation",
    generation: number,
    rank,
    worldSize: members.length,
    sliceWeights: weights,
    step,
    restore,
    checkpointStep: checkpointStep ?? 0,
    adjustment,
  };
}
