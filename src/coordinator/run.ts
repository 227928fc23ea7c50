/**
 * The run as a state machine: workers' messages, lost sessions and the clock go in; generations, verdicts and stops come out.
 *
 * It gathers what the pure decisions need (membership, restore, commit, hang) and carries out what they say; it decides nothing
 * by itself and owns no socket, timer or thread. Everything happens in the order of the calls, synchronously, except what waits
 * for a checkpoint to be on disk. This file is the machine's outside: what comes in is handed to the part whose noun it is, and
 * the parts are tied together. What they share is `run-state.ts`.
 *
 *   attendance.ts  who comes and goes          forming.ts   a generation, until all are ready
 *   regrouping.ts  what follows from that      stepping.ts  a step, from proceed to commit
 *   watch.ts       who hangs                   closing.ts   what follows the last checkpoint
 *   going-back.ts  what an alarm leads to
 */
import type { ErrorCode } from "../util/error.js";
import type { FromWorker, Hello, RunStatus, StateBlock } from "../wire/messages.js";
import { Attendance } from "./attendance.js";
import { Closing } from "./closing.js";
import { Forming } from "./forming.js";
import { GoingBack } from "./going-back.js";
import { Regrouping } from "./regrouping.js";
import type { WorkerPort } from "./roster.js";
import type { RunOptions } from "./run-options.js";
import { RunState } from "./run-state.js";
import { Stepping } from "./stepping.js";
import { Watch } from "./watch.js";

export class Run {
  readonly #state: RunState;
  readonly #attendance: Attendance;
  readonly #forming: Forming;
  readonly #stepping: Stepping;
  readonly #closing: Closing;
  readonly #regrouping: Regrouping;
  readonly #watch: Watch;
  #tickedAtMs: number;

  constructor(options: RunOptions) {
    const state = new RunState(options, (result) => this.#closing.lastSave.ended(result));
    const reconsider = (): void => this.#regrouping.reconsider();
    const lastSave = () => this.#closing.lastSave;
    this.#state = state;
    this.#attendance = new Attendance(state, { reconsider });
    this.#watch = new Watch(state, {
      evict: (worker, reason) => this.#attendance.broke(worker, reason),
      retry: (reason) => this.#stepping.retry(reason),
    });
    this.#forming = new Forming(state, {
      watch: this.#watch,
      reconsider,
      formed: (purpose) => (purpose === "train" ? this.#stepping.proceed() : this.#closing.saveNow(purpose)),
      release: (isFree) => this.#attendance.release(isFree),
    });
    const goingBack = new GoingBack(state, { reconsider });
    this.#stepping = new Stepping(state, {
      watch: this.#watch,
      lastSave,
      reconsider,
      broke: (worker, reason) => this.#attendance.broke(worker, reason),
      alarmed: (alarm) => goingBack.alarmed(alarm),
    });
    this.#closing = new Closing(state, {
      begin: (members, why, next) => this.#forming.begin(members, why, next),
      reconsider,
      release: () => this.#attendance.release(),
    });
    this.#regrouping = new Regrouping(state, {
      lastSave,
      begin: (members, why) => this.#forming.begin(members, why),
      lose: (worker, reason, code) => this.#attendance.lose(worker, reason, code),
    });
    this.#tickedAtMs = state.startedAtMs;
  }

  // ---- what comes in ----

  /** A worker opened a session. @throws IsoergError PROTOCOL for a worker of another version. */
  join(hello: Hello, port: WorkerPort): void {
    this.#attendance.join(hello, port);
  }

  receive(incarnation: string, message: FromWorker): void {
    const worker = this.#state.roster.get(incarnation);
    if (!worker || this.#state.isOver) return;
    const nowMs = this.#state.options.now();
    worker.heardAtMs = nowMs;
    switch (message.kind) {
      case "hello":
        this.#attendance.lose(worker, "it said hello twice");
        break;
      case "heartbeat":
        worker.pauses.heard(nowMs);
        worker.doing = message;
        worker.step = message.step;
        return;
      case "leave":
        this.#attendance.leaves(worker, message);
        break;
      case "ringBound":
        this.#forming.bound(worker, message);
        break;
      case "ready":
        this.#forming.ready(worker, message);
        break;
      case "ballot":
        this.#stepping.voted(worker, message);
        break;
      default:
        message satisfies never;
    }
  }

  /** A session ended without a word. */
  disconnected(incarnation: string, port: WorkerPort, reason: string): void {
    const worker = this.#state.roster.get(incarnation);
    if (worker?.port === port) this.#attendance.lose(worker, reason);
  }

  /** Time passed: silent and hung workers and overdue waits are looked at. */
  tick(): void {
    const { options, roster } = this.#state;
    const nowMs = options.now();
    const gapMs = nowMs - this.#tickedAtMs;
    this.#tickedAtMs = nowMs;
    // This process itself was away (suspended, or its machine was): what workers said meanwhile is still to be read.
    if (gapMs > options.membership.silence.floorMs / 2) {
      for (const worker of roster.all()) {
        worker.heardAtMs += gapMs;
        worker.pauses.passOver(gapMs);
      }
      this.#watch.passOver(gapMs);
      return;
    }
    this.#watch.look(nowMs);
    this.#regrouping.reconsider();
  }

  /** Ends the run after the step under way and a checkpoint; at once where nothing is there to be saved. */
  requestStop(reason: string, code: ErrorCode | null = null): void {
    const state = this.#state;
    if (state.stopAsked !== null || state.isOver) return;
    state.stopAsked = { reason, code };
    state.notice(`stopping after step ${state.step}: ${reason}`);
    if (state.stage.kind === "waiting") this.#closing.lastSave.close("stop", reason);
  }

  /** Ends the run now, without a checkpoint. */
  abort(reason: string): void {
    this.#state.end("asked", reason, null);
  }

  fail(reason: string, code: ErrorCode = "ENGINE"): void {
    this.#state.end("failed", reason, code);
  }

  /** Another coordinator leads the run: nothing more is written or told. */
  depose(reason: string): void {
    this.#state.depose(reason);
  }

  /** All steps were done, and saved, before this process began. */
  finishIfDone(): void {
    const { numSteps, start } = this.#state.options;
    if (start.checkpointStep === numSteps) this.#state.end("finished", `all ${numSteps} steps were done before`, null);
  }

  /** Settles when the store has nothing more to do. */
  get settled(): Promise<unknown> {
    return this.#state.checkpoints.settled;
  }

  /** A piece of a checkpoint; the reply to the worker says how much was taken. @throws IsoergError PROTOCOL */
  saveState(block: StateBlock): void {
    this.#state.checkpoints.add(block);
  }

  saveStateComplete(block: StateBlock): void {
    this.#state.checkpoints.complete(block);
  }

  // ---- what others ask ----

  /** Slice weights of a generation, as long as it is the present one. */
  sliceWeights(generation: number): readonly number[] | undefined {
    const present = this.#state.generation;
    return present?.number === generation ? present.weights : undefined;
  }

  status(): RunStatus {
    const { stage, step, figures, roster, metrics, generation, members, stopAsked, reason } = this.#state;
    const { runId, name, numSteps, plan } = this.#state.options;
    const running = stopAsked === null ? "training" : "stopping";
    const ended = { finished: "finished", asked: "stopped", failed: "failed" } as const;
    return {
      runId,
      name,
      state: stage.kind === "ended" ? ended[stage.outcome.kind] : stage.kind === "waiting" ? "waiting" : running,
      reason: stage.kind === "ended" ? stage.outcome.reason : reason,
      generation: generation?.number ?? 0,
      step,
      numSteps,
      epoch: step / plan.stepsPerEpoch,
      samplesPerSecond: figures.samplesPerSecond(),
      etaSeconds: figures.etaSeconds(numSteps - step),
      metrics,
      members: roster.describe(members),
    };
  }
}
