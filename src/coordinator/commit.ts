/**
 * Whether a step counts: a pure decision on the ballots of one generation.
 *
 * A step commits when every rank voted for it, all from the same parameters, and their samples are the plan's batch exactly.
 * A lost peer makes it come again in a new generation. An engine that broke is its worker's fault or the step's, which is decided
 * in `faults.ts`. A number that is not finite, parameters that differ or samples that are not the plan's stop the run, since
 * trying again would give the same or hide a fault. The first fault decides, without waiting for the other ballots: those
 * ranks may be waiting for a peer that is gone.
 */
import type { ErrorCode } from "../util/error.js";
import type { BallotMessage } from "../wire/messages.js";

export interface CommitState {
  readonly step: number;
  readonly worldSize: number;
  /** By rank; a rank that has not voted is missing. */
  readonly ballots: ReadonlyMap<number, BallotMessage>;
  /** Sample ids of the step's global batch, in the order of their positions. */
  readonly batch: Uint32Array;
  /** How often in a row a step was not finished because a collective failed. */
  readonly retriesSoFar: number;
  readonly numSteps: number;
  /** A person asked the run to end. */
  readonly stopAsked: string | null;
  /** One is due after this step, or something waits for one. */
  readonly checkpointAsked: boolean;
}

export interface CommitOptions {
  readonly maxRetries: number;
}

export type CommitDecision =
  | { readonly kind: "wait" }
  | {
      readonly kind: "commit";
      /** A checkpoint of the state after this step. */
      readonly checkpoint: boolean;
      /** What the run does then. */
      readonly next: "goOn" | "finish" | "stop";
    }
  | { readonly kind: "retry" }
  /** This rank's engine broke. */
  | { readonly kind: "broken"; readonly rank: number }
  | { readonly kind: "fail"; readonly code: ErrorCode };

/** @returns the verdict on the step under way, and why. Asked at every ballot, so what all of them say is looked at only when it counts. */
export function decideCommit(state: CommitState, options: CommitOptions): [CommitDecision, string] {
  if (state.ballots.size < state.worldSize && !hasFault(state.ballots))
    return [{ kind: "wait" }, `${state.ballots.size} of ${state.worldSize} have voted`];
  const ballots = [...state.ballots].sort(([a], [b]) => a - b);
  const where = (rank: number): string => `rank ${rank}, step ${state.step}`;
  for (const [rank, ballot] of ballots) {
    if (ballot.ok || ballot.fault === "collective") continue;
    const reason = `${where(rank)}: ${ballot.reason || ballot.fault}`;
    if (ballot.fault === "non-finite") return [{ kind: "fail", code: "DIVERGED" }, reason];
    return [{ kind: "broken", rank }, reason];
  }
  for (const [rank, ballot] of ballots) {
    if (ballot.ok) continue;
    const reason = `${where(rank)}: the sum over the workers was not finished (${ballot.reason || "no reason given"})`;
    if (state.retriesSoFar < options.maxRetries) return [{ kind: "retry" }, reason];
    return [{ kind: "fail", code: "NETWORK" }, `${reason}, for the ${state.retriesSoFar + 1}th time in a row`];
  }
  const [first] = ballots as [(typeof ballots)[number]];
  for (const [rank, ballot] of ballots) {
    if (ballot.checksum === first[1].checksum) continue;
    return [
      { kind: "fail", code: "ENGINE" },
      `step ${state.step}: parameters differ between workers: checksum ${hex(first[1].checksum)} on rank ${first[0]}, ${hex(ballot.checksum)} on rank ${rank}`,
    ];
  }
  const strayed = compareToPlan(ballots, state.batch);
  if (strayed !== null) return [{ kind: "fail", code: "PROTOCOL" }, `step ${state.step}: ${strayed}`];

  const done = state.step + 1;
  const everyone = `all ${state.worldSize} voted for it`;
  if (done >= state.numSteps)
    return [{ kind: "commit", checkpoint: true, next: "finish" }, `${everyone}; all ${state.numSteps} steps are done`];
  if (state.stopAsked !== null) return [{ kind: "commit", checkpoint: true, next: "stop" }, `${everyone}; stop asked: ${state.stopAsked}`];
  return [{ kind: "commit", checkpoint: state.checkpointAsked, next: "goOn" }, everyone];
}

/** Exactly once: the ballots' samples, by rank, must be the batch. @returns what differs, or null. */
export function compareToPlan(ballots: readonly (readonly [number, BallotMessage])[], batch: Uint32Array): string | null {
  let position = 0;
  for (const [rank, { sampleIds }] of ballots) {
    for (const id of sampleIds) {
      const planned = batch[position];
      if (id !== planned)
        return `rank ${rank} took part with sample ${id} at position ${position}, where the plan has ${planned ?? "none"}`;
      position++;
    }
  }
  return position === batch.length ? null : `the workers took part with ${position} samples, and the plan has ${batch.length}`;
}

function hasFault(ballots: CommitState["ballots"]): boolean {
  for (const { ok } of ballots.values()) if (!ok) return true;
  return false;
}

function hex(checksum: bigint): string {
  return checksum.toString(16).padStart(16, "0");
}
