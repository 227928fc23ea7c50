/**
 * What this worker has of the run, said in every hello: the state that it holds, the ballot that it waits with, and the commits
 * that it was told of last. A coordinator that comes back, or another one, knows by it where this worker stands.
 */
import type { Committed, Hello } from "../wire/messages.js";

/** Commits that are remembered: a journal loses about a second's at most. */
const TAIL = 256;

export class Holdings {
  #held: { readonly generation: number; readonly step: number } | null = null;
  #pending: Committed | null = null;
  readonly #commits: Committed[] = [];

  /** The state of this step is in place, as of this generation. */
  hold(generation: number, step: number): void {
    this.#held = { generation, step };
  }

  /** It is being replaced. */
  loseHold(): void {
    this.#held = null;
  }

  /** It voted for a step, and what it needs to apply it is at hand until `settle`. */
  vote(ballot: Committed): void {
    this.#pending = ballot;
  }

  /** The verdict on that ballot. */
  settle({ commit }: { commit: boolean }): void {
    const ballot = this.#pending;
    this.#pending = null;
    if (!commit || ballot === null) return;
    this.#commits.push(ballot);
    if (this.#commits.length > TAIL) this.#commits.shift();
    this.#held = { generation: ballot.generation, step: ballot.step + 1 };
  }

  describe(): Pick<Hello, "holdsGeneration" | "holdsStep" | "pendingGeneration" | "pendingStep" | "commits"> {
    return {
      holdsGeneration: this.#held?.generation ?? 0,
      holdsStep: this.#held?.step ?? 0,
      pendingGeneration: this.#pending?.generation ?? 0,
      pendingStep: this.#pending?.step ?? 0,
      commits: [...this.#commits],
    };
  }
}
