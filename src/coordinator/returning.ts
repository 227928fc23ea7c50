/**
 * What a worker that opens a session still is to this run: a pure reading of its hello against the run's lineage.
 *
 * It may wait for the verdict on a step that it voted for; the lineage knows it. It may hold a state that the run came through,
 * and goes on from there. And it may have been told of commits that the journal lost (a power loss takes the end of a file
 * that a killed process leaves whole): as long as no new generation has begun, those are taken over from it, each with the
 * checksum that its ballot had.
 */
import type { Committed, Hello, ToWorker } from "../wire/messages.js";
import type { HeldState, Lineage } from "./lineage.js";

export interface Returning {
  /** The state it will hold once it has heard the verdict; null for none that counts. */
  readonly holds: HeldState | null;
  /** On the ballot that it waits with. */
  readonly verdict: Extract<ToWorker, { kind: "verdict" }> | null;
  /** Commits to be entered in the journal, in their order. */
  readonly missing: readonly Committed[];
}

/** @param options.canAdopt no generation has begun since the journal was read */
export function recognise(hello: Hello, lineage: Lineage, options: { canAdopt: boolean }): Returning {
  const { pendingGeneration, pendingStep, holdsGeneration, holdsStep } = hello;
  const isPending = pendingGeneration > 0;
  const commit = isPending && lineage.isCommitted(pendingGeneration, pendingStep);
  const verdict: Returning["verdict"] = isPending
    ? {
        kind: "verdict",
        generation: pendingGeneration,
        step: pendingStep,
        commit,
        checkpoint: false,
        proceed: false,
        reason: commit ? "the journal has it" : "the journal does not have it",
      }
    : null;
  if (holdsGeneration === 0) return { holds: null, verdict, missing: [] };
  const holds = commit ? { generation: pendingGeneration, step: pendingStep + 1 } : { generation: holdsGeneration, step: holdsStep };
  if (lineage.has(holds)) return { holds, verdict, missing: [] };
  const isAhead = holds.generation === lineage.generation && holds.step > lineage.step;
  if (!isAhead || !options.canAdopt) return { holds: null, verdict, missing: [] };
  const missing: Committed[] = [];
  for (let step = lineage.step; step < holds.step; step++) {
    const committed = hello.commits.find((entry) => entry.generation === holds.generation && entry.step === step);
    if (committed === undefined) return { holds: null, verdict, missing: [] };
    missing.push(committed);
  }
  return { holds, verdict, missing };
}
