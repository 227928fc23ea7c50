/**
 * What the stability guard's alarm leads to: all workers go back to a checkpoint from before the trouble and on from there with what
 * the guard changes; or the run is given up, with what is known written down and the last good checkpoint as the latest.
 */
import { describeAdjustment } from "../config/adjustment.js";
import type { Alarm } from "./guarding.js";
import type { RunState } from "./run-state.js";

export class GoingBack {
  readonly #state: RunState;
  readonly #reconsider: () => void;

  constructor(state: RunState, next: { readonly reconsider: () => void }) {
    this.#state = state;
    this.#reconsider = next.reconsider;
  }

  alarmed(alarm: Alarm): void {
    const state = this.#state;
    state.stage = { kind: "rollingBack" };
    if (alarm.kind === "stop") {
      this.#giveUp(alarm).catch((error: Error) =>
        state.end("failed", `the training diverged: ${alarm.reason}; ${error.message}`, "DIVERGED"),
      );
      return;
    }
    this.#rollBack(alarm).catch((error: Error) =>
      state.end("failed", `${alarm.reason}; the run could not be taken back: ${error.message}`, "CHECKPOINT"),
    );
  }

  /** Leaves what is known, and the last good checkpoint as the latest. */
  async #giveUp(alarm: Extract<Alarm, { kind: "stop" }>): Promise<void> {
    const { checkpoints, options } = this.#state;
    const { reason, goodBefore } = alarm;
    checkpoints.abandon(reason);
    await checkpoints.settled;
    const folder = await options.postMortem?.(alarm);
    const found = await checkpoints.rollBack(goodBefore, reason);
    if (found !== null) await checkpoints.discardAfter(found, "saved after the training had gone astray");
    const written = folder === undefined ? "" : `; post-mortem in ${folder}`;
    this.#state.end("failed", `the training diverged: ${reason}${written}`, "DIVERGED");
  }

  async #rollBack({ rule, reason, goodBefore, adjustment }: Extract<Alarm, { kind: "rollback" }>): Promise<void> {
    const state = this.#state;
    const { step, checkpoints } = state;
    const found = await checkpoints.rollBack(goodBefore, reason);
    const entry = { event: "alarm", step, rule, reason, restoredStep: found ?? 0, adjustment } as const;
    state.record(entry);
    await checkpoints.discardAfter(found, `after step ${found ?? 0}, to which the stability guard goes back`);
    if (state.isOver) return;
    state.options.guard?.wentBack(entry);
    const changed = describeAdjustment(adjustment);
    state.notice(`the stability guard goes back to step ${found ?? 0}: ${reason}; ${changed}`);
    state.isVoided = true;
    state.lineage.forget(entry.restoredStep); // whatever workers hold was computed with other settings
    state.broken = `the stability guard goes back: ${reason}; ${changed}`;
    state.stage = { kind: "waiting" };
    this.#reconsider();
  }
}
