/**
 * What follows the last checkpoint of a run that ends, or of workers that are about to leave: when to try it and when it is over is
 * decided in `last-save.ts`; here the state is asked for, and what was to follow is carried out, saved or not.
 */
import type { Closing as Purpose } from "./generation.js";
import { LastSave } from "./last-save.js";
import { ranked } from "./membership.js";
import type { RunState } from "./run-state.js";

export interface ClosingNext {
  readonly begin: (members: readonly string[], why: string, next: Purpose) => void;
  readonly reconsider: () => void;
  /** Those who asked to leave may go. */
  readonly release: () => void;
}

export class Closing {
  readonly #state: RunState;
  readonly #next: ClosingNext;
  readonly lastSave: LastSave;

  constructor(state: RunState, next: ClosingNext) {
    this.#state = state;
    this.#next = next;
    this.lastSave = new LastSave({
      checkpoints: state.checkpoints,
      timeoutMs: state.options.closeTimeoutMs,
      now: state.options.now,
      step: () => state.step,
      stage: () => state.stage,
      setStage: (stage) => {
        state.stage = stage;
      },
      holders: () =>
        ranked(
          state.roster.all().filter((worker) => state.heldBy(worker) === state.step),
          state.members,
        ),
      isIntact: () => state.isIntact,
      begin: next.begin,
      onClosed: (purpose, reason) => this.#closed(purpose, reason),
      onStoreFailed: (reason) => state.end("failed", `the last checkpoint could not be saved: ${reason}`, "ENGINE"),
    });
  }

  /** All are ready, and there is no step to come: they hand over what they have. */
  saveNow(purpose: Purpose): void {
    const { generation, isOver, checkpoints, metrics, roster, step } = this.#state;
    if (generation === null || isOver) return;
    const { number, members } = generation;
    this.lastSave.pause(purpose, "the state is saved");
    checkpoints.begin({ step, generation: number, worldSize: members.length, metrics });
    roster.send(members, { kind: "save", generation: number, step });
  }

  #closed(purpose: Purpose, reason: string): void {
    const state = this.#state;
    const saved = state.checkpoints.lastStep === state.step ? "" : `; step ${state.step} could not be saved`;
    switch (purpose) {
      case "finish":
        if (saved === "") state.end("finished", `all ${state.options.numSteps} steps are done`, null);
        else this.#waitAgain();
        break;
      case "stop":
        state.end("asked", `${state.stopAsked?.reason ?? reason}${state.step > 0 ? saved : ""}`, state.stopAsked?.code ?? null);
        break;
      case "giveUp":
        state.end(
          "failed",
          `${reason}${state.lastFault === null ? "" : `; before that, ${state.lastFault}`}${state.step > 0 ? saved : ""}`,
          "BELOW_MINIMUM",
        );
        break;
      case "release":
        state.releaseAsked = null;
        this.#next.release();
        this.#waitAgain();
        break;
      default:
        purpose satisfies never;
    }
  }

  #waitAgain(): void {
    const state = this.#state;
    if (state.isOver) return;
    if (state.stage.kind === "pausing") state.stage = { kind: "waiting" };
    state.broken ??= "a new beginning";
    this.#next.reconsider();
  }
}
