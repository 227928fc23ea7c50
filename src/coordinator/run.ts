/**
 * The run as a state machine: workers' messages, lost sessions and the clock go in; generations, verdicts and stops come out.
 *
 * It gathers what the pure decisions need (membership, restore, commit) and carries out what they say; it decides nothing by
 * itself and owns no socket, timer or thread. Everything happens in the order of the calls, synchronously, except what waits
 * for a checkpoint to be on disk. A step's life: proceed -> ballots -> verdict -> proceed; whatever breaks it begins a new
 * generation, in which the first uncommitted step comes again.
 */
import { describeAdjustment, NO_ADJUSTMENT } from "../config/adjustment.js";
import { IsoergError } from "../util/error.js";
import type { BallotMessage, FromWorker, Hello, RunStatus, StateBlock } from "../wire/messages.js";
import { PROTOCOL_VERSION } from "../wire/proto.js";
import { chainsKept } from "./chains.js";
import { Checkpoints } from "./checkpoints.js";
import { decideCommit } from "./commit.js";
import type { Outcome } from "./events.js";
import { Figures } from "./figures.js";
import { type Generation, generationMessage, type Stage } from "./generation.js";
import type { Alarm } from "./guarding.js";
import { commitEntry, type JournalEntry } from "./journal.js";
import { decideMembership, ranked } from "./membership.js";
import { decideRestore } from "./restore.js";
import { Roster, type WorkerEntry, type WorkerPort } from "./roster.js";
import type { RunOptions } from "./run-options.js";
import type { SavingResult } from "./saving.js";

export class Run {
  readonly #options: RunOptions;
  readonly #roster = new Roster();
  readonly #figures = new Figures();
  #stage: Stage = { kind: "waiting" };
  #generation: Generation | null = null;
  #lastNumber: number;
  /** The first step that is not committed. */
  #step: number;
  readonly #checkpoints: Checkpoints;
  #broken: string | null = null;
  #retries = 0;
  #stopAsked: string | null = null;
  #admitting = false;
  #belowMinimumSinceMs: number | null;
  #reason = "";
  #metrics: Readonly<Record<string, number>> = {};

  constructor(options: RunOptions) {
    this.#options = options;
    this.#lastNumber = options.start.generation;
    this.#step = options.start.checkpointStep ?? 0;
    const { store, describeState, now, onEvent } = options;
    this.#checkpoints = new Checkpoints({
      store,
      describeState,
      lastStep: options.start.checkpointStep,
      now,
      record: (entry) => this.#record(entry),
      onEvent,
      onEnd: (result) => {
        if (this.#stage.kind === "pausing") this.#afterPause(this.#stage.next, result);
      },
    });
    this.#belowMinimumSinceMs = options.now();
  }

  // ---- what comes in ----

  /** A worker opened a session. @throws IsoergError PROTOCOL for a worker of another version, STOPPED when the run is over. */
  join(hello: Hello, port: WorkerPort): void {
    if (hello.protocol !== PROTOCOL_VERSION) {
      throw new IsoergError(
        "PROTOCOL",
        `worker ${hello.workerId} speaks protocol ${hello.protocol}, this coordinator speaks ${PROTOCOL_VERSION}`,
        {
          hint: "Run the same version of isoerg everywhere.",
        },
      );
    }
    if (this.#stage.kind === "ended") throw new IsoergError("STOPPED", `the run is over: ${this.#stage.outcome.reason}`);
    const { workerId, incarnation, engine } = hello;
    const nowMs = this.#options.now();
    this.#roster.add({
      workerId,
      incarnation,
      engine,
      port,
      joinedAtMs: nowMs,
      heardAtMs: nowMs,
      holdsStep: null,
      phase: "starting",
      step: this.#step,
      stepMs: 0,
    });
    this.#record({ event: "join", worker: workerId, incarnation, engine });
    this.#reconsider();
  }

  receive(incarnation: string, message: FromWorker): void {
    const worker = this.#roster.get(incarnation);
    if (!worker || this.#stage.kind === "ended") return;
    worker.heardAtMs = this.#options.now();
    switch (message.kind) {
      case "hello":
        this.#lose(worker, "it said hello twice");
        break;
      case "heartbeat":
        worker.phase = message.phase;
        worker.step = message.step;
        return;
      case "leave":
        if (message.wish) this.requestStop(`worker ${worker.workerId}: ${message.reason}`);
        else if (message.failed) this.#end("failed", `worker ${worker.workerId}, step ${this.#step}: ${message.reason}`);
        else this.#lose(worker, message.reason);
        break;
      case "ringBound":
        this.#bound(worker, message);
        break;
      case "ready":
        this.#ready(worker, message);
        break;
      case "ballot":
        this.#voted(worker, message);
        break;
      default:
        message satisfies never;
    }
  }

  /** A session ended without a word. */
  disconnected(incarnation: string, reason: string): void {
    const worker = this.#roster.get(incarnation);
    if (worker) this.#lose(worker, reason);
  }

  /** Time passed: silent workers and overdue waits are looked at. */
  tick(): void {
    this.#reconsider();
  }

  /** Ends the run after the step under way and a checkpoint; at once where no step is. */
  requestStop(reason: string): void {
    if (this.#stopAsked !== null || this.#stage.kind === "ended") return;
    this.#stopAsked = reason;
    this.#options.onEvent({ kind: "notice", message: `stopping after step ${this.#step}: ${reason}` });
    if (this.#stage.kind === "waiting") this.#end("asked", reason);
  }

  /** Ends the run now, without a checkpoint. */
  abort(reason: string): void {
    this.#end("asked", reason);
  }

  fail(reason: string): void {
    this.#end("failed", reason);
  }

  /** All steps were done before this process began. */
  finishIfDone(): void {
    if (this.#step >= this.#options.numSteps) this.#end("finished", `all ${this.#options.numSteps} steps were done before`);
  }

  /** Settles when the store has nothing more to do. */
  get settled(): Promise<unknown> {
    return this.#checkpoints.settled;
  }

  /** A piece of a checkpoint; the reply to the worker says how much was taken. @throws IsoergError PROTOCOL */
  saveState(block: StateBlock): void {
    this.#checkpoints.add(block);
  }

  saveStateComplete(block: StateBlock): void {
    this.#checkpoints.complete(block);
  }

  // ---- what others ask ----

  /** Slice weights of a generation, as long as it is the present one. */
  sliceWeights(generation: number): readonly number[] | undefined {
    return this.#generation?.number === generation ? this.#generation.weights : undefined;
  }

  status(): RunStatus {
    const { runId, name, numSteps, plan } = this.#options;
    const stage = this.#stage;
    const running = this.#stopAsked === null ? "training" : "stopping";
    const ended = { finished: "finished", asked: "stopped", failed: "failed" } as const;
    return {
      runId,
      name,
      state: stage.kind === "ended" ? ended[stage.outcome.kind] : stage.kind === "waiting" ? "waiting" : running,
      reason: stage.kind === "ended" ? stage.outcome.reason : this.#reason,
      generation: this.#generation?.number ?? 0,
      step: this.#step,
      numSteps,
      epoch: this.#step / plan.stepsPerEpoch,
      samplesPerSecond: this.#figures.samplesPerSecond(),
      etaSeconds: this.#figures.etaSeconds(numSteps - this.#step),
      metrics: this.#metrics,
      members: this.#roster.describe(this.#generation?.members ?? []),
    };
  }

  // ---- membership ----

  #lose(worker: WorkerEntry, reason: string): void {
    const rank = this.#generation?.members.indexOf(worker.incarnation) ?? -1;
    this.#roster.remove(worker.incarnation);
    worker.port.close(reason);
    if (this.#stage.kind === "ended") return; // goodbyes
    this.#record({ event: "leave", worker: worker.workerId, incarnation: worker.incarnation, reason });
    this.#options.onEvent({ kind: "notice", message: `worker ${worker.workerId} is gone: ${reason}` });
    if (rank >= 0) this.#checkpoints.lose(this.#generation?.number ?? 0, rank, reason);
    this.#reconsider();
  }

  #reconsider(): void {
    if (this.#stage.kind === "ended") return;
    const { membership, now } = this.#options;
    const candidates = this.#roster.all();
    const needed = this.#generation === null ? membership.expectedWorkers : membership.minWorkers;
    this.#belowMinimumSinceMs = candidates.length >= needed ? null : (this.#belowMinimumSinceMs ?? now());
    const state = {
      candidates,
      members: this.#generation?.members ?? null,
      belowMinimumSinceMs: this.#belowMinimumSinceMs,
      broken: this.#broken,
    };
    const [decision, reason] = decideMembership(now(), state, membership);
    this.#reason = reason;
    if ((this.#stage.kind === "pausing" || this.#stage.kind === "rollingBack") && decision.kind !== "drop") return; // what came or went is looked at after the checkpoint
    switch (decision.kind) {
      case "drop":
        for (const incarnation of decision.incarnations) {
          const worker = this.#roster.get(incarnation);
          if (worker) this.#lose(worker, reason);
        }
        return;
      case "begin":
        this.#begin(decision.members, reason);
        break;
      case "admit":
        this.#admitting = true;
        return;
      case "giveUp":
        this.#end("failed", reason);
        break;
      case "wait":
        if (this.#generation !== null && this.#stopAsked !== null) this.#end("asked", `${this.#stopAsked}; ${reason}`);
        else if (this.#stage.kind !== "waiting") this.#stage = { kind: "waiting" };
        return;
      case "stay":
        return;
      default:
        decision satisfies never;
    }
  }

  #begin(candidates: readonly string[], why: string): void {
    const before = this.#generation;
    const [plan, how] = decideRestore({
      step: this.#step,
      members: candidates,
      // After the last step there is none that could be proceeded with: its checkpoint was lost, so it comes again.
      holds: new Map(
        candidates.map((incarnation) => [
          incarnation,
          this.#step < this.#options.numSteps ? (this.#roster.get(incarnation)?.holdsStep ?? null) : null,
        ]),
      ),
      sameRanks: before?.members.join() === candidates.join(),
      checkpointStep: this.#checkpoints.lastStep,
    });
    const reason = `${why}; ${how}`;
    const { members, step, restore } = plan;
    this.#lastNumber++;
    this.#generation = { number: this.#lastNumber, members, weights: members.map(() => 1) };
    this.#stage = { kind: "forming", endpoints: new Map(), ready: new Set() };
    this.#options.guard?.forget(step);
    this.#step = step;
    this.#broken = null;
    this.#admitting = false;
    this.#reason = reason;
    this.#figures.restart();
    for (const incarnation of members) {
      const worker = this.#roster.get(incarnation);
      if (worker && restore !== "keep") worker.holdsStep = null;
    }
    const workers = members.map((incarnation) => this.#roster.get(incarnation)?.workerId ?? incarnation);
    const moves = restore === "keep" && before !== null && this.#options.numChains > 0;
    const chains = moves ? { chains: chainsKept(this.#options.numChains, before, this.#generation) } : {};
    this.#record({ event: "generation", generation: this.#lastNumber, step, workers, restore, ...chains, reason });
    this.#options.onEvent({ kind: "generation", generation: this.#lastNumber, step, workers, reason });
    for (const [rank, incarnation] of members.entries()) {
      const checkpointStep = this.#checkpoints.lastStep;
      const adjustment = this.#options.guard?.adjustment ?? NO_ADJUSTMENT;
      const message = generationMessage(this.#generation, rank, { step, restore, checkpointStep, adjustment });
      this.#roster.get(incarnation)?.port.send(message);
    }
    if (members.length < candidates.length) this.#admitting = true;
  }

  // ---- the life of a step ----

  #bound(worker: WorkerEntry, message: { generation: number; endpoint: string }): void {
    const rank = this.#rankIn(worker, message.generation);
    if (this.#stage.kind !== "forming" || rank === undefined || this.#generation === null) return;
    const { endpoints } = this.#stage;
    endpoints.set(rank, message.endpoint);
    const { number, members } = this.#generation;
    if (endpoints.size < members.length) return;
    this.#roster.send(members, { kind: "ringPeers", generation: number, endpoints: members.map((_, at) => endpoints.get(at) ?? "") });
  }

  #ready(worker: WorkerEntry, message: { generation: number }): void {
    const rank = this.#rankIn(worker, message.generation);
    if (this.#stage.kind !== "forming" || rank === undefined || this.#generation === null) return;
    worker.holdsStep = this.#step;
    this.#stage.ready.add(rank);
    if (this.#stage.ready.size === this.#generation.members.length) this.#proceed();
  }

  #proceed(): void {
    if (this.#generation === null) return;
    this.#stage = { kind: "stepping", ballots: new Map(), sinceMs: this.#options.now() };
    this.#roster.send(this.#generation.members, { kind: "proceed", generation: this.#generation.number, step: this.#step });
  }

  #voted(worker: WorkerEntry, ballot: BallotMessage): void {
    const rank = this.#rankIn(worker, ballot.generation);
    if (rank === undefined || this.#generation === null || ballot.step !== this.#step) return;
    if (this.#stage.kind === "forming" && !ballot.ok) {
      // A ring that could not be closed, told before there was a step to vote on.
      this.#stage = { kind: "stepping", ballots: new Map(), sinceMs: this.#options.now() };
    }
    if (this.#stage.kind !== "stepping") return;
    const { ballots, sinceMs } = this.#stage;
    ballots.set(rank, ballot);
    worker.stepMs = Object.values(ballot.phasesMs).reduce((sum, ms) => sum + ms, 0);
    const { ids } = this.#options.plan.batchOf(this.#step);
    const [decision, reason] = decideCommit(
      {
        step: this.#step,
        worldSize: this.#generation.members.length,
        ballots,
        batch: ids,
        retriesSoFar: this.#retries,
        numSteps: this.#options.numSteps,
        stopAsked: this.#stopAsked,
        checkpointAsked: this.#admitting,
      },
      this.#options.commit,
    );
    switch (decision.kind) {
      case "wait":
        return;
      case "fail": {
        const alarm =
          ballot.fault === "non-finite" ? this.#options.guard?.observe({ step: this.#step, figures: {}, fault: ballot.reason }) : null;
        if (alarm) this.#alarmed(alarm);
        else this.#end("failed", reason);
        break;
      }
      case "retry":
        this.#retries++;
        this.#broken = reason;
        this.#record({ event: "retry", generation: this.#generation.number, step: this.#step, reason });
        this.#reconsider();
        break;
      case "commit":
        this.#commit(ballots, ids, this.#options.now() - sinceMs, decision.checkpoint, decision.next, reason);
        break;
      default:
        decision satisfies never;
    }
  }

  #commit(
    ballots: ReadonlyMap<number, BallotMessage>,
    ids: Uint32Array,
    stepMs: number,
    checkpoint: boolean,
    next: "goOn" | "finish" | "stop",
    reason: string,
  ): void {
    const first = ballots.get(0);
    if (this.#generation === null || first === undefined) return;
    const { number: generation, members } = this.#generation;
    const step = this.#step;
    this.#record(commitEntry({ generation, step, ids, checksum: first.checksum }));
    this.#step = step + 1;
    this.#retries = 0;
    this.#metrics = first.metrics;
    for (const incarnation of members) {
      const worker = this.#roster.get(incarnation);
      if (worker) worker.holdsStep = this.#step;
    }
    const alarm = this.#options.guard?.observe({ step, figures: first.metrics }) ?? null;
    const saves = checkpoint && alarm === null; // what is not trusted is not saved
    if (saves) this.#checkpoints.begin({ step: this.#step, generation, worldSize: members.length });
    this.#roster.send(members, { kind: "verdict", generation, step, commit: true, checkpoint: saves, reason });
    if (alarm) this.#stage = { kind: "rollingBack" };
    else if (next !== "goOn") this.#stage = { kind: "pausing", next };
    else if (checkpoint && this.#admitting) this.#stage = { kind: "pausing", next: "admit" };
    else this.#proceed();
    this.#figures.committed(this.#options.now(), ids.length);
    this.#options.onEvent({
      kind: "commit",
      step,
      epoch: this.#step / this.#options.plan.stepsPerEpoch,
      generation,
      worldSize: members.length,
      batchSize: ids.length,
      time: new Date(this.#options.now()).toISOString(),
      stepMs,
      samplesPerSecond: this.#figures.samplesPerSecond(),
      metrics: first.metrics,
      phasesMs: members.map((_, rank) => ballots.get(rank)?.phasesMs ?? {}),
      ids,
      checksum: first.checksum,
    });
    if (alarm) this.#alarmed(alarm);
  }

  // ---- the stability guard ----

  /** Goes back to a state from before the trouble and on from there with what the guard changes, on all workers; or ends the run. */
  #alarmed(alarm: Alarm): void {
    if (alarm.kind === "stop") {
      this.#options.onEvent({ kind: "notice", message: `the stability guard stops the run: ${alarm.reason}` });
      this.#end("failed", `the training diverged: ${alarm.reason}`);
      return;
    }
    this.#stage = { kind: "rollingBack" };
    this.#rollBack(alarm).catch((error: Error) =>
      this.#end("failed", `${alarm.reason}; the run could not be taken back: ${error.message}`),
    );
  }

  async #rollBack({ rule, reason, goodBefore, adjustment }: Extract<Alarm, { kind: "rollback" }>): Promise<void> {
    const step = this.#step;
    const found = await this.#checkpoints.rollBack(goodBefore, reason);
    const entry = { event: "alarm", step, rule, reason, restoredStep: found ?? 0, adjustment } as const;
    await this.#options.journal.append(entry);
    await this.#checkpoints.discardAfter(found, `after step ${found ?? 0}, to which the stability guard goes back`);
    if (this.#stage.kind === "ended") return;
    this.#options.guard?.wentBack(entry);
    const changed = describeAdjustment(adjustment);
    this.#options.onEvent({ kind: "notice", message: `the stability guard goes back to step ${found ?? 0}: ${reason}; ${changed}` });
    for (const worker of this.#roster.all()) worker.holdsStep = null;
    this.#broken = `the stability guard goes back: ${reason}; ${changed}`;
    this.#stage = { kind: "waiting" };
    this.#reconsider();
  }

  // ---- checkpoints ----

  #afterPause(next: "admit" | "finish" | "stop", result: SavingResult): void {
    if (result.kind === "saved") {
      if (next === "finish") this.#end("finished", `all ${this.#options.numSteps} steps are done`);
      else if (next === "stop") this.#end("asked", this.#stopAsked ?? "");
      else this.#begin(ranked(this.#roster.all(), this.#generation?.members ?? []), "newcomers are let in");
    } else if (result.cause !== undefined) {
      // The store fails: training can go on without a checkpoint, but not end without one.
      if (next === "admit") this.#proceed();
      else this.#end("failed", `the last checkpoint could not be saved: ${result.reason}`);
    } else if (next === "stop") {
      this.#end("asked", `${this.#stopAsked}; the last checkpoint could not be saved: ${result.reason}`);
    } else {
      // A worker was lost before it had sent its part: a new generation follows.
      this.#stage = { kind: "waiting" };
      this.#reconsider();
    }
  }

  // ---- the end ----

  #end(kind: Outcome["kind"], reason: string): void {
    if (this.#stage.kind === "ended") return;
    const outcome: Outcome = { kind, reason, step: this.#step, checkpointStep: this.#checkpoints.lastStep };
    this.#stage = { kind: "ended", outcome };
    this.#checkpoints.abandon("the run ended");
    this.#record({ event: "end", outcome: kind, step: this.#step, reason });
    this.#roster.send(
      this.#roster.all().map(({ incarnation }) => incarnation),
      { kind: "stop", outcome: kind, reason },
    );
    this.#options.onEvent({ kind: "ended", outcome });
  }

  /** The rank of a worker in the present generation, if the message is of it. */
  #rankIn(worker: WorkerEntry, generation: number): number | undefined {
    if (this.#generation?.number !== generation) return undefined;
    const rank = this.#generation.members.indexOf(worker.incarnation);
    return rank < 0 ? undefined : rank;
  }

  /** A journal that can't be written ends the run: what follows could not be accounted for. */
  #record(entry: JournalEntry): void {
    this.#options.journal.append(entry).catch((error: Error) => this.#end("failed", `the journal can't be written: ${error.message}`));
  }
}
