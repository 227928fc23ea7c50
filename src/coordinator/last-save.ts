/**
 * The last checkpoint of a run that ends, or of workers that are about to leave: those who hold the state hand it over, and only
 * then follows what was to follow. Where there is no step whose verdict could ask for it, a generation is formed for it alone.
 *
 * Workers may be lost meanwhile: it is tried again with the others, a few times and for a limited time; then what follows is
 * told that nothing was saved. It decides when to try and when it is over; the run forms generations and carries out the end.
 */
import type { Checkpoints } from "./checkpoints.js";
import type { Closing, Stage } from "./generation.js";
import type { SavingResult } from "./saving.js";

export interface LastSaveOptions {
  readonly checkpoints: Checkpoints;
  readonly timeoutMs: number;
  readonly now: () => number;
  /** The first step that is not committed: the state before it is what should be saved. */
  readonly step: () => number;
  readonly stage: () => Stage;
  readonly setStage: (stage: Stage) => void;
  /** Incarnations of all who hold that state, by rank. */
  readonly holders: () => string[];
  /** Nothing has happened to the present generation. */
  readonly isIntact: () => boolean;
  readonly begin: (members: readonly string[], why: string, next: Closing) => void;
  /** It is over, saved or not. */
  readonly onClosed: (next: Closing, reason: string) => void;
  /** The store does not work, so that nothing can be saved. */
  readonly onStoreFailed: (reason: string) => void;
}

const MAX_TRIES = 4;

export class LastSave {
  readonly #options: LastSaveOptions;
  #underWay: { readonly reason: string; tries: number; readonly sinceMs: number } | null = null;

  constructor(options: LastSaveOptions) {
    this.#options = options;
  }

  get isUnderWay(): boolean {
    return this.#underWay !== null;
  }

  /** Saves what the workers here hold; at once over where there is nothing to save that is not saved yet. */
  close(next: Closing, reason: string): void {
    const { checkpoints, step, holders, begin } = this.#options;
    const attempt = this.#begun(reason);
    const members = holders();
    if (members.length === 0 || checkpoints.lastStep === step() || attempt.tries >= MAX_TRIES || this.#isOverdue()) {
      this.#closed(next);
      return;
    }
    attempt.tries++;
    begin(members, attempt.reason, next);
  }

  /** The state is being saved, or about to be: what was under way waits. */
  pause(next: Closing, reason: string): void {
    this.#begun(reason);
    this.#options.setStage({ kind: "pausing", next });
  }

  /** Somebody came or went, or time passed. */
  reconsider(): void {
    const stage = this.#options.stage();
    if (stage.kind === "forming" && stage.purpose !== "train" && (!this.#options.isIntact() || this.#isOverdue()))
      this.close(stage.purpose, "a worker was lost");
    else if (stage.kind === "pausing" && this.#isOverdue() && this.#options.checkpoints.isGathering)
      this.#options.checkpoints.abandon("it took too long");
  }

  /** The generation that was formed for it could not be. */
  retry(reason: string): void {
    const stage = this.#options.stage();
    if (stage.kind === "forming" && stage.purpose !== "train") this.close(stage.purpose, reason);
  }

  /** The checkpoint that was paused for has ended. */
  ended(result: SavingResult): void {
    const stage = this.#options.stage();
    if (stage.kind !== "pausing") return;
    const { next } = stage;
    if (result.kind === "saved" || (result.cause !== undefined && next === "release")) {
      this.#closed(next);
    } else if (result.cause !== undefined) {
      this.#options.onStoreFailed(result.reason);
    } else {
      this.#options.setStage({ kind: "waiting" });
      this.close(next, result.reason); // a worker was lost before it had sent its part: again, with the others
    }
  }

  #begun(reason: string): { readonly reason: string; tries: number; readonly sinceMs: number } {
    this.#underWay ??= { reason, tries: 0, sinceMs: this.#options.now() };
    return this.#underWay;
  }

  #isOverdue(): boolean {
    return this.#underWay !== null && this.#options.now() - this.#underWay.sinceMs > this.#options.timeoutMs;
  }

  #closed(next: Closing): void {
    const reason = this.#underWay?.reason ?? "";
    this.#underWay = null;
    this.#options.onClosed(next, reason);
  }
}
