/**
 * Who comes and who goes: workers open sessions, ask to leave, break, fall silent or are let go. Each coming and going is in the
 * journal, and after each the run is asked what follows (`regrouping.ts`). What a returning worker still is to the run is read
 * by `returning.ts`, which process stands for a worker by `sessions.ts`.
 */
import { slice } from "../data/plan.js";
import { type ErrorCode, errorCodeOf, IsoergError, isWrongInput } from "../util/error.js";
import type { FromWorker, Hello } from "../wire/messages.js";
import { PROTOCOL_VERSION } from "../wire/proto.js";
import { decideFault, type StepFault } from "./faults.js";
import { commitEntry } from "./journal.js";
import { recognise } from "./returning.js";
import type { WorkerEntry, WorkerPort } from "./roster.js";
import type { RunState } from "./run-state.js";
import { Pauses } from "./silence.js";

export class Attendance {
  readonly #state: RunState;
  readonly #reconsider: () => void;
  readonly #pauses = new Map<string, Pauses>();
  /** What broke at the step under way. */
  #faults: { readonly step: number; readonly faults: readonly StepFault[] } = { step: -1, faults: [] };

  constructor(state: RunState, next: { readonly reconsider: () => void }) {
    this.#state = state;
    this.#reconsider = next.reconsider;
  }

  /** A worker opened a session. @throws IsoergError PROTOCOL for a worker of another version. */
  join(hello: Hello, port: WorkerPort): void {
    const state = this.#state;
    const { workerId, incarnation, engine, peerEndpoint } = hello;
    if (hello.protocol !== PROTOCOL_VERSION) {
      throw new IsoergError(
        "PROTOCOL",
        `worker ${workerId} speaks protocol ${hello.protocol}, this coordinator speaks ${PROTOCOL_VERSION}`,
        {
          hint: "Run the same version of isoerg everywhere.",
        },
      );
    }
    if (state.stage.kind === "ended") {
      const { kind, reason, code } = state.stage.outcome;
      port.send({ kind: "stop", outcome: kind, reason, code: code ?? "" });
      port.close();
      return;
    }
    if (!state.sessions.admits(workerId, incarnation)) {
      port.send({ kind: "stop", outcome: "failed", reason: `another process is ${workerId} now`, code: "FENCED" });
      port.close();
      return;
    }
    this.#replaceSession(incarnation, workerId);
    const nowMs = state.options.now();
    const pauses = this.#pausesOf(incarnation);
    pauses.heard(nowMs);
    const { holds, verdict, missing } = recognise(hello, state.lineage, { canAdopt: state.generation === null });
    for (const committed of missing) this.#adopt(committed, workerId);
    if (verdict) port.send(verdict);
    state.roster.add({
      workerId,
      incarnation,
      engine,
      peerEndpoint,
      port,
      joinedAtMs: nowMs,
      heardAtMs: nowMs,
      pauses,
      get longestPauseMs() {
        return pauses.longestMs;
      },
      isRetiring: false,
      holds,
      rows: null,
      doing: { phase: "starting", phaseMs: 0, idleMs: 0, waits: true },
      step: state.step,
      stepMs: 0,
      isFresh: holds === null,
    });
    state.record({ event: "join", worker: workerId, incarnation, engine });
    this.#reconsider();
  }

  /** Kept over sessions: one that was given up in error is given more time from then on. */
  #pausesOf(incarnation: string): Pauses {
    const known = this.#pauses.get(incarnation) ?? new Pauses();
    this.#pauses.set(incarnation, known);
    return known;
  }

  /** The same process with a new session: what the old one had under way is void. */
  #replaceSession(incarnation: string, workerId: string): void {
    const state = this.#state;
    state.roster.remove(incarnation)?.port.close();
    const rank = state.members.indexOf(incarnation);
    if (rank < 0) return;
    state.broken ??= `${workerId} connected again`;
    state.checkpoints.lose(state.generation?.number ?? 0, rank, "its session ended");
  }

  /** A step that this worker was told is committed, and that the journal lost: a power loss took its end. */
  #adopt({ generation, step, checksum }: { generation: number; step: number; checksum: bigint }, toldBy: string): void {
    const state = this.#state;
    const { ids } = state.options.plan.batchOf(step);
    state.record(commitEntry({ generation, step, ids, checksum, toldBy }));
    state.lineage.commit(step);
    state.step = step + 1;
  }

  /** It says goodbye, asks to be released, or has failed. */
  leaves(worker: WorkerEntry, message: Extract<FromWorker, { kind: "leave" }>): void {
    const state = this.#state;
    const { workerId } = worker;
    if (message.retire) {
      worker.isRetiring = true;
      state.notice(`worker ${workerId} asks to leave: ${message.reason}`);
      this.#reconsider();
    } else if (!message.failed) {
      this.lose(worker, message.reason);
    } else {
      const code = errorCodeOf(message.code, "ENGINE");
      const reason = `worker ${workerId}, step ${state.step}: ${message.reason}`;
      if (isWrongInput(code)) state.end("failed", reason, code);
      else this.broke(worker, reason, code);
    }
  }

  /** Its engine broke, or it hangs: it is let go, or the run fails where the fault is the step's (`faults.ts`). */
  broke(worker: WorkerEntry, reason: string, code: ErrorCode = "ENGINE"): void {
    const state = this.#state;
    const { step, options, generation } = state;
    const { ids: batch } = options.plan.batchOf(step);
    if (this.#faults.step !== step) this.#faults = { step, faults: [] };
    const rank = state.members.indexOf(worker.incarnation);
    const positions = generation && rank >= 0 ? slice(batch.length, rank, generation.weights, options.groupSize) : { from: 0, to: 0 };
    const fault = { worker: worker.workerId, generation: generation?.number ?? 0, positions, reason };
    // Whoever was not a member broke at no step.
    const faults = rank >= 0 ? [...this.#faults.faults, fault] : [fault];
    if (rank >= 0) this.#faults = { step, faults };
    const [decision, why] = decideFault({ step, faults, batch, canSpareOne: this.#canSpare(worker) });
    if (decision.kind === "fail") state.end("failed", why, code);
    else {
      state.lastFault = why;
      this.lose(worker, why, "EVICTED");
    }
  }

  /** Enough others are here, or are waited for. */
  #canSpare(worker: WorkerEntry): boolean {
    const { roster, options } = this.#state;
    const { minWorkers, rejoinTimeoutMs } = options.membership;
    const others = roster.all().filter((other) => other !== worker && !other.isRetiring);
    return rejoinTimeoutMs > 0 || others.length >= Math.max(1, minWorkers);
  }

  /** @param code said to the worker, where it should not come back */
  lose(worker: WorkerEntry, reason: string, code?: ErrorCode): void {
    const state = this.#state;
    const rank = state.members.indexOf(worker.incarnation);
    state.roster.remove(worker.incarnation);
    if (code !== undefined) worker.port.send({ kind: "stop", outcome: "failed", reason, code });
    worker.port.close();
    if (state.isOver) return; // goodbyes
    state.record({ event: "leave", worker: worker.workerId, incarnation: worker.incarnation, reason });
    state.notice(`worker ${worker.workerId} is gone: ${reason}`);
    if (rank >= 0) {
      state.checkpoints.lose(state.generation?.number ?? 0, rank, reason);
      state.checkpoints.noteFailure();
    }
    this.#reconsider();
  }

  /** Those who asked to leave may go: nothing that they have is needed any more. */
  release(isFree: (worker: WorkerEntry) => boolean = () => true): void {
    for (const worker of this.#state.roster.all()) {
      if (worker.isRetiring && isFree(worker)) this.lose(worker, "released, as it asked", "TERMINATED");
    }
  }
}
