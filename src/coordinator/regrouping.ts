/**
 * What follows when somebody came or went, something broke, or time passed: the inputs of the pure decision on the membership are
 * gathered here, and what it says is carried out, as far as the stage of the run lets it. A last checkpoint under way comes first,
 * and so does a return to an earlier one.
 */

import { FOUND_WITHIN_MS } from "../wire/reconnect.js";
import type { LastSave } from "./last-save.js";
import { decideMembership, type MembershipState } from "./membership.js";
import type { WorkerEntry } from "./roster.js";
import type { RunState } from "./run-state.js";

export interface RegroupingNext {
  readonly lastSave: () => LastSave;
  readonly begin: (members: readonly string[], why: string) => void;
  readonly lose: (worker: WorkerEntry, reason: string, code?: "FENCED") => void;
}

export class Regrouping {
  readonly #state: RunState;
  readonly #next: RegroupingNext;
  #belowMinimumSinceMs: number | null;

  constructor(state: RunState, next: RegroupingNext) {
    this.#state = state;
    this.#next = next;
    this.#belowMinimumSinceMs = state.startedAtMs;
  }

  reconsider(): void {
    const state = this.#state;
    if (state.isOver) return;
    const { now, membership } = state.options;
    const [decision, reason] = decideMembership(now(), this.#gather(), membership);
    if (decision.kind === "drop") {
      for (const incarnation of decision.incarnations) {
        const worker = state.roster.get(incarnation);
        if (worker) this.#next.lose(worker, reason, ...(decision.fenced ? (["FENCED"] as const) : []));
      }
      return;
    }
    state.reason = reason;
    if (state.stage.kind === "rollingBack") return; // what came or went is looked at after it
    const lastSave = this.#next.lastSave();
    if (lastSave.isUnderWay) {
      lastSave.reconsider();
      return;
    }
    if (state.stage.kind === "waiting" && (decision.kind === "regroup" || decision.kind === "stay")) {
      state.broken = reason; // enough are here again, and nothing is under way that could be waited for
      this.reconsider();
      return;
    }
    switch (decision.kind) {
      case "begin":
        this.#next.begin(decision.members, reason);
        break;
      case "regroup":
        state.regroup = reason;
        return;
      case "saveAndRelease":
        if (state.stage.kind === "stepping" && state.isIntact) state.releaseAsked = reason;
        else lastSave.close("release", reason);
        return;
      case "giveUp":
        lastSave.close("giveUp", reason);
        break;
      case "wait":
        if (state.stopAsked !== null) lastSave.close("stop", state.stopAsked.reason);
        else if (state.stage.kind !== "waiting") state.stage = { kind: "waiting" };
        return;
      case "stay":
        return;
      default:
        decision satisfies never;
    }
  }

  #gather(): MembershipState {
    const { options, roster, generation, sessions, startedAtMs, broken } = this.#state;
    const { membership, now, returnTimeoutMs } = options;
    const candidates = roster.all();
    const staying = candidates.filter(({ isRetiring }) => !isRetiring).length;
    const needed = generation === null ? membership.expectedWorkers : membership.minWorkers;
    this.#belowMinimumSinceMs = staying >= needed ? null : (this.#belowMinimumSinceMs ?? now());
    return {
      candidates,
      members: generation?.members ?? null,
      awaited: {
        ...sessions.awaited((incarnation) => roster.get(incarnation) !== undefined),
        untilMs: startedAtMs + returnTimeoutMs,
        // From the last arrival: a coordinator that was suspended rather than killed is missed late, but by all at about the same time.
        foundByMs: Math.max(startedAtMs + returnTimeoutMs, ...candidates.map(({ joinedAtMs }) => joinedAtMs + FOUND_WITHIN_MS)),
      },
      belowMinimumSinceMs: this.#belowMinimumSinceMs,
      broken,
    };
  }
}
