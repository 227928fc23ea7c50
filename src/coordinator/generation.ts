/**
 * A period of unchanged membership: who is in it by rank, how far it has come, and what each member is told when it begins.
 *
 * A generation begins with the state of one step. Members that hold it keep it; the others take model and optimizer from one
 * that does. The chains of positions that change hands come from whoever had them, even from a worker that is leaving.
 */
import type { Adjustment } from "../config/adjustment.js";
import { slice } from "../data/plan.js";
import type { Range } from "../util/range.js";
import type { BallotMessage, ChainsAccount, GenerationMessage, PeerPlace, Restore } from "../wire/messages.js";
import type { Outcome } from "./events.js";
import type { RestorePlan } from "./restore.js";

export interface Generation {
  readonly number: number;
  /** Incarnations by rank. */
  readonly members: readonly string[];
  readonly weights: readonly number[];
}

/** What follows when the state is saved: the end, or letting those go who asked to leave. */
export type Closing = "finish" | "stop" | "giveUp" | "release";

/** What a run waits for. */
export type Stage =
  | { readonly kind: "waiting" }
  | {
      readonly kind: "forming";
      /** What those who take longest start from. */
      readonly restore: Restore;
      readonly endpoints: Map<number, string>;
      readonly ready: Map<number, ChainsAccount>;
      sinceMs: number;
      /** What for: the next step, or one last checkpoint. */
      readonly purpose: "train" | Closing;
    }
  | { readonly kind: "stepping"; readonly ballots: Map<number, BallotMessage>; sinceMs: number }
  /** Until the checkpoint of the present step is saved. */
  | { readonly kind: "pausing"; readonly next: Closing }
  /** Until the checkpoint that the guard goes back to is found, and later ones are gone. */
  | { readonly kind: "rollingBack" }
  | { readonly kind: "ended"; readonly outcome: Outcome };

/** A worker as far as it matters for who takes what from whom. */
export interface Place {
  readonly incarnation: string;
  readonly peerEndpoint: string;
  /** Positions whose chains it has; null where that is not known. */
  readonly rows: Range | null;
}

export interface Beginning {
  readonly generation: Generation;
  readonly plan: RestorePlan;
  readonly checkpointStep: number | null;
  readonly numChains: number;
  /** Of chains that slices don't part. */
  readonly groupSize: number;
  /** Everyone with a session who holds the state that the generation begins with, members or not. */
  readonly givers: readonly Place[];
  readonly adjustment: Adjustment;
}

/** How each member learns of its generation, by rank. */
export function generationMessages(beginning: Beginning): GenerationMessage[] {
  const { generation, plan, checkpointStep, numChains, givers } = beginning;
  const { members, weights, number } = generation;
  const holders = new Set(plan.holders);
  const keeps = plan.restore === "keep";
  const moves = keeps && chainsMove(beginning);
  const healing = members.filter((incarnation) => !holders.has(incarnation));
  const donorOf = new Map(healing.map((incarnation, i) => [incarnation, plan.holders[i % plan.holders.length]]));
  const donors = new Set(donorOf.values());
  const placeOf = new Map(givers.map((giver) => [giver.incarnation, giver]));
  return members.map((incarnation, rank) => {
    const donor = placeOf.get(donorOf.get(incarnation) ?? "");
    const gives = donors.has(incarnation) ? "everything" : moves ? "chains" : "";
    const peers = moves ? givers.filter((giver) => giver.incarnation !== incarnation).map((giver) => peerPlace(giver, numChains)) : [];
    return {
      generation: number,
      rank,
      worldSize: members.length,
      sliceWeights: weights,
      step: plan.step,
      restore: keeps && !holders.has(incarnation) ? "heal" : plan.restore,
      checkpointStep: checkpointStep ?? 0,
      hasCheckpoint: checkpointStep !== null,
      give: keeps && holders.has(incarnation) ? gives : "",
      donor: donor?.peerEndpoint ?? "",
      peers,
      adjustment: beginning.adjustment,
    };
  });
}

/** Whether some member lacks a chain of its positions, as far as is known. */
export function chainsMove({ generation, plan, numChains, groupSize, givers }: Beginning): boolean {
  if (numChains === 0) return false;
  const placeOf = new Map(givers.map((giver) => [giver.incarnation, giver]));
  return generation.members.some((incarnation, rank) => {
    const rows = plan.holders.includes(incarnation) ? placeOf.get(incarnation)?.rows : null;
    const wanted = slice(numChains, rank, generation.weights, groupSize);
    return wanted.to > wanted.from && (!rows || wanted.from < rows.from || wanted.to > rows.to);
  });
}

function peerPlace({ peerEndpoint, rows }: Place, numChains: number): PeerPlace {
  return { endpoint: peerEndpoint, rowFrom: rows?.from ?? 0, rowTo: rows?.to ?? numChains };
}
