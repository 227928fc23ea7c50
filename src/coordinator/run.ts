/**
 * The run as a state machine: workers' messages, lost sessions and the clock go in; generations, verdicts and stops come out.
 *
 * It gathers what the pure decisions need (membership, restore, commit, hang) and carries out what they say; it decides nothing
 * by itself and owns no socket, timer or thread. Everything happens in the order of the calls, synchronously, except what waits
 * for a checkpoint to be on disk. A step's life: proceed -> ballots -> journal -> verdict -> proceed; whatever breaks it begins a
 * new generation, in which the first uncommitted step comes again. Nothing is told before the journal has it.
 */
import { describeAdjustment, NO_ADJUSTMENT } from "../config/adjustment.js";
import { slice } from "../data/plan.js";
import { type ErrorCode, errorCodeOf, IsoergError, isWrongInput } from "../util/error.js";
import type { BallotMessage, ChainsAccount, FromWorker, Hello, RunStatus, StateBlock } from "../wire/messages.js";
import { PROTOCOL_VERSION } from "../wire/proto.js";
import { Checkpoints } from "./checkpoints.js";
import { decideCommit } from "./commit.js";
import type { Outcome, StepRecord } from "./events.js";
import { Figures } from "./figures.js";
import { type Closing, type Generation, generationMessages, type Stage } from "./generation.js";
import type { Alarm } from "./guarding.js";
import { decideHang } from "./hang.js";
import { commitEntry, type JournalEntry } from "./journal.js";
import { LastSave } from "./last-save.js";
import type { HeldState, Lineage } from "./lineage.js";
import { decideMembership, type MembershipState, ranked } from "./membership.js";
import { decideRestore } from "./restore.js";
import { recognise } from "./returning.js";
import { Roster, type WorkerEntry, type WorkerPort } from "./roster.js";
import type { RunOptions } from "./run-options.js";
import { Sessions } from "./sessions.js";
import { Speeds } from "./speeds.js";

export class Run {
  readonly #options: RunOptions;
  readonly #roster = new Roster();
  readonly #figures = new Figures();
  readonly #speeds: Speeds;
  readonly #lineage: Lineage;
  readonly #checkpoints: Checkpoints;
  readonly #sessions: Sessions;
  readonly #lastSave: LastSave;
  #stage: Stage = { kind: "waiting" };
  #generation: Generation | null = null;
  #lastNumber: number;
  /** The first step that is not committed. */
  #step: number;
  /** Why the present generation can't go on. */
  #broken: string | null = null;
  /** Why another one should follow when the step under way is done. */
  #regroup: string | null = null;
  #retries = 0;
  #engineFaults = { step: -1, count: 0 };
  #stopAsked: { readonly reason: string; readonly code: ErrorCode | null } | null = null;
  #releaseAsked: string | null = null;
  #belowMinimumSinceMs: number | null;
  readonly #startedAtMs: number;
  #tickedAtMs: number;
  #reason = "";
  #metrics: Readonly<Record<string, number>> = {};

  constructor(options: RunOptions) {
    this.#options = options;
    const { store, describeState, now, onEvent, start } = options;
    this.#lastNumber = start.generation;
    this.#step = start.step;
    this.#lineage = start.lineage;
    this.#sessions = new Sessions(start);
    this.#speeds = new Speeds(options.slices, options.groupSize);
    this.#checkpoints = new Checkpoints({
      store,
      describeState,
      lastStep: start.checkpointStep,
      schedule: options.checkpoints,
      now,
      record: (entry) => this.#record(entry),
      onEvent,
      onEnd: (result) => this.#lastSave.ended(result),
    });
    this.#lastSave = new LastSave({
      checkpoints: this.#checkpoints,
      timeoutMs: options.closeTimeoutMs,
      now,
      step: () => this.#step,
      stage: () => this.#stage,
      setStage: (stage) => {
        this.#stage = stage;
      },
      holders: () =>
        ranked(
          this.#roster.all().filter((worker) => this.#heldBy(worker) === this.#step),
          this.#generation?.members ?? [],
        ),
      isIntact: () => this.#isIntact(),
      begin: (members, why, next) => this.#begin(members, why, next),
      onClosed: (next, reason) => this.#closed(next, reason),
      onStoreFailed: (reason) => this.#end("failed", `the last checkpoint could not be saved: ${reason}`, "ENGINE"),
    });
    this.#startedAtMs = now();
    this.#tickedAtMs = this.#startedAtMs;
    this.#belowMinimumSinceMs = this.#startedAtMs;
  }

  // ---- what comes in ----

  /** A worker opened a session. @throws IsoergError PROTOCOL for a worker of another version. */
  join(hello: Hello, port: WorkerPort): void {
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
    if (this.#stage.kind === "ended") {
      const { kind, reason, code } = this.#stage.outcome;
      port.send({ kind: "stop", outcome: kind, reason, code: code ?? "" });
      port.close();
      return;
    }
    if (!this.#sessions.admits(workerId, incarnation)) {
      port.send({ kind: "stop", outcome: "failed", reason: `another process is ${workerId} now`, code: "FENCED" });
      port.close();
      return;
    }
    this.#replaceSession(incarnation, workerId);
    const nowMs = this.#options.now();
    const { holds, verdict, missing } = recognise(hello, this.#lineage, { canAdopt: this.#generation === null });
    for (const committed of missing) this.#adopt(committed, workerId);
    if (verdict) port.send(verdict);
    this.#roster.add({
      workerId,
      incarnation,
      engine,
      peerEndpoint,
      port,
      joinedAtMs: nowMs,
      heardAtMs: nowMs,
      isRetiring: false,
      holds,
      rows: null,
      phase: "starting",
      phaseSinceMs: nowMs,
      step: this.#step,
      stepMs: 0,
      longestStepMs: 0,
    });
    this.#record({ event: "join", worker: workerId, incarnation, engine });
    this.#reconsider();
  }

  /** The same process with a new session: what the old one had under way is void. */
  #replaceSession(incarnation: string, workerId: string): void {
    this.#roster.remove(incarnation)?.port.close();
    const rank = this.#generation?.members.indexOf(incarnation) ?? -1;
    if (rank < 0) return;
    this.#broken ??= `${workerId} connected again`;
    this.#checkpoints.lose(this.#generation?.number ?? 0, rank, "its session ended");
  }

  /** A step that this worker was told is committed, and that the journal lost: a power loss took its end. */
  #adopt({ generation, step, checksum }: { generation: number; step: number; checksum: bigint }, toldBy: string): void {
    const { ids } = this.#options.plan.batchOf(step);
    this.#record(commitEntry({ generation, step, ids, checksum, toldBy }));
    this.#lineage.commit(step);
    this.#step = step + 1;
  }

  receive(incarnation: string, message: FromWorker): void {
    const worker = this.#roster.get(incarnation);
    if (!worker || this.#stage.kind === "ended") return;
    const nowMs = this.#options.now();
    worker.heardAtMs = nowMs;
    switch (message.kind) {
      case "hello":
        this.#lose(worker, "it said hello twice");
        break;
      case "heartbeat":
        worker.phase = message.phase;
        worker.phaseSinceMs = nowMs - message.phaseMs;
        worker.step = message.step;
        return;
      case "leave":
        this.#leaves(worker, message);
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
  disconnected(incarnation: string, port: WorkerPort, reason: string): void {
    const worker = this.#roster.get(incarnation);
    if (worker?.port === port) this.#lose(worker, reason);
  }

  /** Time passed: silent and hung workers and overdue waits are looked at. */
  tick(): void {
    const nowMs = this.#options.now();
    const gapMs = nowMs - this.#tickedAtMs;
    this.#tickedAtMs = nowMs;
    // This process itself was away (suspended, or its machine was): what workers said meanwhile is still to be read.
    if (gapMs > this.#options.membership.heartbeatTimeoutMs / 2) {
      for (const worker of this.#roster.all()) worker.heardAtMs += gapMs;
      return;
    }
    this.#lookForHangs(nowMs);
    this.#reconsider();
  }

  /** Ends the run after the step under way and a checkpoint; at once where nothing is there to be saved. */
  requestStop(reason: string, code: ErrorCode | null = null): void {
    if (this.#stopAsked !== null || this.#stage.kind === "ended") return;
    this.#stopAsked = { reason, code };
    this.#options.onEvent({ kind: "notice", message: `stopping after step ${this.#step}: ${reason}` });
    if (this.#stage.kind === "waiting") this.#lastSave.close("stop", reason);
  }

  /** Ends the run now, without a checkpoint. */
  abort(reason: string): void {
    this.#end("asked", reason, null);
  }

  fail(reason: string, code: ErrorCode = "ENGINE"): void {
    this.#end("failed", reason, code);
  }

  /** Another coordinator leads the run: nothing more is written or told. */
  depose(reason: string): void {
    if (this.#stage.kind === "ended") return;
    const outcome = this.#outcome("failed", reason, "FENCED");
    this.#stage = { kind: "ended", outcome };
    this.#checkpoints.abandon(reason);
    for (const { port } of this.#roster.all()) port.close();
    this.#options.onEvent({ kind: "ended", outcome });
  }

  /** All steps were done, and saved, before this process began. */
  finishIfDone(): void {
    const { numSteps, start } = this.#options;
    if (start.checkpointStep === numSteps) this.#end("finished", `all ${numSteps} steps were done before`, null);
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

  #leaves(worker: WorkerEntry, message: Extract<FromWorker, { kind: "leave" }>): void {
    const { workerId } = worker;
    if (message.retire) {
      worker.isRetiring = true;
      this.#options.onEvent({ kind: "notice", message: `worker ${workerId} asks to leave: ${message.reason}` });
      this.#reconsider();
    } else if (!message.failed) {
      this.#lose(worker, message.reason);
    } else {
      const code = errorCodeOf(message.code, "ENGINE");
      const reason = `worker ${workerId}, step ${this.#step}: ${message.reason}`;
      if (isWrongInput(code) || !this.#canSpare(worker)) this.#end("failed", reason, code);
      else this.#evict(worker, message.reason);
    }
  }

  /** An engine that breaks on one worker is that worker's; the same step on a second one is the run's. */
  #canSpare(worker: WorkerEntry): boolean {
    const others = this.#roster.all().filter((other) => other !== worker && !other.isRetiring);
    const isFirst = this.#engineFaults.step !== this.#step || this.#engineFaults.count === 0;
    return isFirst && others.length >= Math.max(1, this.#options.membership.minWorkers);
  }

  #evict(worker: WorkerEntry, reason: string): void {
    const before = this.#engineFaults.step === this.#step ? this.#engineFaults.count : 0;
    this.#engineFaults = { step: this.#step, count: before + 1 };
    this.#lose(worker, reason, "EVICTED");
  }

  /** @param code said to the worker, where it should not come back */
  #lose(worker: WorkerEntry, reason: string, code?: ErrorCode): void {
    const rank = this.#generation?.members.indexOf(worker.incarnation) ?? -1;
    this.#roster.remove(worker.incarnation);
    if (code !== undefined) worker.port.send({ kind: "stop", outcome: "failed", reason, code });
    worker.port.close();
    if (this.#stage.kind === "ended") return; // goodbyes
    this.#record({ event: "leave", worker: worker.workerId, incarnation: worker.incarnation, reason });
    this.#options.onEvent({ kind: "notice", message: `worker ${worker.workerId} is gone: ${reason}` });
    if (rank >= 0) {
      this.#checkpoints.lose(this.#generation?.number ?? 0, rank, reason);
      this.#checkpoints.noteFailure();
    }
    this.#reconsider();
  }

  #lookForHangs(nowMs: number): void {
    if (this.#stage.kind !== "stepping" && this.#stage.kind !== "forming") return;
    const workers = (this.#generation?.members ?? []).flatMap((incarnation, rank) => {
      const worker = this.#roster.get(incarnation);
      return worker === undefined ? [] : [{ ...worker, rank }];
    });
    const stageSinceMs = this.#stage.sinceMs;
    const ready = this.#stage.kind === "forming" ? this.#stage.ready : null;
    const [decision, reason] = decideHang(nowMs, { workers, stageSinceMs, ready }, this.#options.hang);
    if (decision.kind === "evict") {
      const worker = this.#roster.get(decision.incarnation);
      if (worker) this.#lose(worker, reason, "EVICTED");
    } else if (decision.kind === "retry") {
      this.#retry(reason);
    }
  }

  #membershipState(): MembershipState {
    const { membership, now, returnTimeoutMs } = this.#options;
    const candidates = this.#roster.all();
    const isFirst = this.#generation === null;
    const staying = candidates.filter(({ isRetiring }) => !isRetiring).length;
    const needed = isFirst ? membership.expectedWorkers : membership.minWorkers;
    this.#belowMinimumSinceMs = staying >= needed ? null : (this.#belowMinimumSinceMs ?? now());
    return {
      candidates,
      members: this.#generation?.members ?? null,
      awaited: this.#sessions.awaited((incarnation) => this.#roster.get(incarnation) !== undefined, this.#startedAtMs + returnTimeoutMs),
      belowMinimumSinceMs: this.#belowMinimumSinceMs,
      broken: this.#broken,
    };
  }

  #reconsider(): void {
    if (this.#stage.kind === "ended") return;
    const [decision, reason] = decideMembership(this.#options.now(), this.#membershipState(), this.#options.membership);
    if (decision.kind === "drop") {
      for (const incarnation of decision.incarnations) {
        const worker = this.#roster.get(incarnation);
        if (worker) this.#lose(worker, reason, ...(decision.fenced ? (["FENCED"] as const) : []));
      }
      return;
    }
    this.#reason = reason;
    if (this.#stage.kind === "rollingBack") return; // what came or went is looked at after it
    if (this.#lastSave.isUnderWay) {
      this.#lastSave.reconsider();
      return;
    }
    if (this.#stage.kind === "waiting" && (decision.kind === "regroup" || decision.kind === "stay")) {
      this.#broken = reason; // enough are here again, and nothing is under way that could be waited for
      this.#reconsider();
      return;
    }
    switch (decision.kind) {
      case "begin":
        this.#begin(decision.members, reason);
        break;
      case "regroup":
        this.#regroup = reason;
        return;
      case "saveAndRelease":
        if (this.#stage.kind === "stepping" && this.#isIntact()) this.#releaseAsked = reason;
        else this.#lastSave.close("release", reason);
        return;
      case "giveUp":
        this.#lastSave.close("giveUp", reason);
        break;
      case "wait":
        if (this.#stopAsked !== null) this.#lastSave.close("stop", this.#stopAsked.reason);
        else if (this.#stage.kind !== "waiting") this.#stage = { kind: "waiting" };
        return;
      case "stay":
        return;
      default:
        decision satisfies never;
    }
  }

  #begin(candidates: readonly string[], why: string, purpose: "train" | Closing = "train"): void {
    const { numChains, groupSize = 1, numSteps, onEvent, now } = this.#options;
    const [plan, how] = decideRestore({
      step: this.#step,
      members: candidates,
      holds: new Map(candidates.map((incarnation) => [incarnation, this.#heldBy(this.#roster.get(incarnation))])),
      checkpointStep: this.#checkpoints.lastStep,
    });
    const present = this.#roster.all().filter(({ incarnation, isRetiring }) => isRetiring || candidates.includes(incarnation));
    const givers = present.filter((worker) => plan.restore === "keep" && this.#heldBy(worker) === plan.step);
    const reason = `${why}; ${how}`;
    const { step, restore } = plan;
    this.#lastNumber++;
    const generation = { number: this.#lastNumber, members: candidates, weights: this.#speeds.weights(candidates) };
    const workers = candidates.map((incarnation) => this.#roster.get(incarnation)?.workerId ?? incarnation);
    this.#record({ event: "generation", generation: generation.number, step, workers, members: candidates, restore, reason });
    if (this.#isOver()) return;
    this.#generation = generation;
    this.#lineage.begin(generation.number, step);
    this.#options.guard?.forget(step);
    const isLast = step >= numSteps && purpose === "train";
    this.#stage = { kind: "forming", endpoints: new Map(), ready: new Map(), sinceMs: now(), purpose: isLast ? "finish" : purpose };
    this.#step = step;
    this.#broken = null;
    this.#regroup = null;
    this.#reason = reason;
    this.#figures.restart();
    onEvent({ kind: "generation", generation: generation.number, step, workers, reason });
    const adjustment = this.#options.guard?.adjustment ?? NO_ADJUSTMENT;
    const messages = generationMessages({
      generation,
      plan,
      checkpointStep: this.#checkpoints.lastStep,
      numChains,
      groupSize,
      givers,
      adjustment,
    });
    for (const message of messages) {
      const worker = this.#roster.get(candidates[message.rank] ?? "");
      if (!worker) continue;
      if (message.restore !== "keep") {
        worker.holds = null;
        worker.longestStepMs = 0; // its engine warms up
      }
      worker.rows = null;
      worker.port.send({ kind: "generation", ...message });
    }
    for (const giver of givers) {
      if (!candidates.includes(giver.incarnation) && giver.isRetiring)
        giver.port.send({ kind: "release", generation: generation.number, step });
    }
  }

  /** The step whose state this worker holds, if it is one that the run came through. */
  #heldBy(worker: WorkerEntry | undefined): number | null {
    const holds: HeldState | null = worker?.holds ?? null;
    return holds !== null && this.#lineage.has(holds) ? holds.step : null;
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

  #ready(worker: WorkerEntry, message: Extract<FromWorker, { kind: "ready" }>): void {
    const rank = this.#rankIn(worker, message.generation);
    if (this.#stage.kind !== "forming" || rank === undefined || this.#generation === null) return;
    const { number, members, weights } = this.#generation;
    worker.holds = { generation: number, step: this.#step };
    worker.rows = slice(this.#options.numChains, rank, weights, this.#options.groupSize);
    this.#stage.ready.set(rank, message);
    if (this.#stage.ready.size < members.length) return;
    this.#accountForChains(number, [...this.#stage.ready.values()]);
    this.#releaseGivers(members);
    const { purpose } = this.#stage;
    if (purpose === "train") this.#proceed();
    else this.#saveNow(purpose);
  }

  /** Where the chains came from, if not everyone kept its own. */
  #accountForChains(generation: number, accounts: readonly ChainsAccount[]): void {
    const sum = (of: (account: ChainsAccount) => number): number => accounts.reduce((total, account) => total + of(account), 0);
    const [kept, moved] = [sum((account) => account.chainsKept), sum((account) => account.chainsMoved)];
    const [restored, startedAnew] = [sum((account) => account.chainsRestored), sum((account) => account.chainsAnew)];
    if (moved + restored + startedAnew === 0) return;
    const checkpointStep = restored > 0 ? this.#checkpoints.lastStep : null;
    this.#record({ event: "chains", generation, kept, moved, restored, checkpointStep, startedAnew });
  }

  /** Their chains are with the new members: they may go. */
  #releaseGivers(members: readonly string[]): void {
    for (const worker of this.#roster.all()) {
      if (worker.isRetiring && !members.includes(worker.incarnation)) this.#lose(worker, "released, as it asked", "TERMINATED");
    }
  }

  #proceed(): void {
    if (this.#generation === null || this.#isOver()) return;
    this.#stage = { kind: "stepping", ballots: new Map(), sinceMs: this.#options.now() };
    this.#roster.send(this.#generation.members, { kind: "proceed", generation: this.#generation.number, step: this.#step });
  }

  #voted(worker: WorkerEntry, ballot: BallotMessage): void {
    const rank = this.#rankIn(worker, ballot.generation);
    if (rank === undefined || this.#generation === null || ballot.step !== this.#step) return;
    if (this.#stage.kind === "forming" && !ballot.ok) {
      // A ring that could not be closed, told before there was a step to vote on.
      if (this.#lastSave.isUnderWay) {
        this.#lastSave.retry(ballot.reason);
        return;
      }
      this.#stage = { kind: "stepping", ballots: new Map(), sinceMs: this.#options.now() };
    }
    if (this.#stage.kind !== "stepping") return;
    const { ballots, sinceMs } = this.#stage;
    ballots.set(rank, ballot);
    const { ids } = this.#options.plan.batchOf(this.#step);
    const [decision, reason] = decideCommit(
      {
        step: this.#step,
        worldSize: this.#generation.members.length,
        ballots,
        batch: ids,
        retriesSoFar: this.#retries,
        numSteps: this.#options.numSteps,
        stopAsked: this.#stopAsked?.reason ?? null,
        checkpointAsked: this.#releaseAsked !== null || this.#checkpoints.isDue(this.#step + 1),
        engineFaults: this.#engineFaults.step === this.#step ? this.#engineFaults.count : 0,
        canSpareOne: this.#canSpare(worker),
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
        else this.#end("failed", reason, decision.code);
        break;
      }
      case "evict": {
        const broken = this.#roster.get(this.#generation.members[decision.rank] ?? "");
        if (broken) this.#evict(broken, reason);
        break;
      }
      case "retry":
        this.#retry(reason);
        break;
      case "commit":
        this.#commit(ballots, ids, this.#options.now() - sinceMs, decision.checkpoint, decision.next);
        break;
      default:
        decision satisfies never;
    }
  }

  #retry(reason: string): void {
    this.#retries++;
    this.#broken = reason;
    this.#record({ event: "retry", generation: this.#generation?.number ?? 0, step: this.#step, reason });
    this.#reconsider();
  }

  /** The figures first, then the journal, then the workers: who comes after a crash finds no step without its figures. */
  #commit(
    ballots: ReadonlyMap<number, BallotMessage>,
    ids: Uint32Array,
    stepMs: number,
    checkpoint: boolean,
    next: "goOn" | "finish" | "stop",
  ): void {
    const first = ballots.get(0);
    if (this.#generation === null || first === undefined) return;
    const { number: generation, members } = this.#generation;
    const { options, step } = { options: this.#options, step: this.#step };
    this.#figures.committed(options.now(), ids.length);
    const record: StepRecord = {
      step,
      epoch: (step + 1) / options.plan.stepsPerEpoch,
      generation,
      worldSize: members.length,
      batchSize: ids.length,
      time: new Date(options.now()).toISOString(),
      stepMs,
      samplesPerSecond: this.#figures.samplesPerSecond(),
      metrics: first.metrics,
      phasesMs: members.map((_, rank) => ballots.get(rank)?.phasesMs ?? {}),
    };
    options.writeFigures(record);
    this.#record(commitEntry({ generation, step, ids, checksum: first.checksum }));
    if (this.#isOver()) return;
    this.#lineage.commit(step);
    this.#step = step + 1;
    this.#retries = 0;
    this.#metrics = first.metrics;
    for (const incarnation of members) {
      const worker = this.#roster.get(incarnation);
      if (worker) worker.holds = { generation, step: this.#step };
    }
    this.#noteSpeeds(record.phasesMs, ids.length);
    const alarm = options.guard?.observe({ step, figures: first.metrics }) ?? null;
    const saves = checkpoint && alarm === null; // what is not trusted is not saved
    if (saves) this.#checkpoints.begin({ step: this.#step, generation, worldSize: members.length, metrics: first.metrics });
    const reason = `all ${members.length} voted for it`;
    this.#roster.send(members, { kind: "verdict", generation, step, commit: true, checkpoint: saves, reason });
    if (alarm) this.#alarmed(alarm);
    else if (next !== "goOn") this.#lastSave.pause(next, this.#stopAsked?.reason ?? "");
    else if (this.#releaseAsked !== null) this.#lastSave.pause("release", this.#releaseAsked);
    else if (this.#regroup !== null) {
      this.#broken = this.#regroup;
      this.#reconsider();
    } else this.#proceed();
    options.onEvent({ kind: "commit", ...record, ids, checksum: first.checksum });
  }

  /** What each worker's part took: who is slow is named, and may get less to do. */
  #noteSpeeds(phasesMs: readonly Readonly<Record<string, number>>[], batchSize: number): void {
    if (this.#generation === null) return;
    const { members, weights } = this.#generation;
    const ownMs = this.#speeds.committed(members, weights, phasesMs, batchSize);
    for (const [rank, incarnation] of members.entries()) {
      const worker = this.#roster.get(incarnation);
      if (!worker) continue;
      worker.stepMs = ownMs[rank] ?? 0;
      worker.longestStepMs = Math.max(worker.longestStepMs, worker.stepMs);
    }
    const nameOf = (incarnation: string): string => this.#roster.get(incarnation)?.workerId ?? incarnation;
    const slow = this.#speeds.slow(members, nameOf);
    if (slow !== null) {
      this.#record({ event: "slow", step: this.#step, ...slow });
      this.#options.onEvent({ kind: "notice", message: slow.reason });
    }
    const reweighting = this.#speeds.reweighting(members, weights);
    if (reweighting !== null) this.#regroup ??= reweighting;
  }

  // ---- the stability guard ----

  /** Goes back to a state from before the trouble and on from there with what the guard changes, on all workers; or ends the run. */
  #alarmed(alarm: Alarm): void {
    this.#stage = { kind: "rollingBack" };
    if (alarm.kind === "stop") {
      this.#giveUp(alarm).catch((error: Error) =>
        this.#end("failed", `the training diverged: ${alarm.reason}; ${error.message}`, "DIVERGED"),
      );
      return;
    }
    this.#rollBack(alarm).catch((error: Error) =>
      this.#end("failed", `${alarm.reason}; the run could not be taken back: ${error.message}`, "CHECKPOINT"),
    );
  }

  /** Leaves what is known, and the last good checkpoint as the latest. */
  async #giveUp(alarm: Extract<Alarm, { kind: "stop" }>): Promise<void> {
    const { reason, goodBefore } = alarm;
    this.#checkpoints.abandon(reason);
    await this.#checkpoints.settled;
    const folder = await this.#options.postMortem?.(alarm);
    const found = await this.#checkpoints.rollBack(goodBefore, reason);
    if (found !== null) await this.#checkpoints.discardAfter(found, "saved after the training had gone astray");
    this.#end("failed", `the training diverged: ${reason}${folder === undefined ? "" : `; post-mortem in ${folder}`}`, "DIVERGED");
  }

  async #rollBack({ rule, reason, goodBefore, adjustment }: Extract<Alarm, { kind: "rollback" }>): Promise<void> {
    const step = this.#step;
    const found = await this.#checkpoints.rollBack(goodBefore, reason);
    const entry = { event: "alarm", step, rule, reason, restoredStep: found ?? 0, adjustment } as const;
    this.#record(entry);
    await this.#checkpoints.discardAfter(found, `after step ${found ?? 0}, to which the stability guard goes back`);
    if (this.#isOver()) return;
    this.#options.guard?.wentBack(entry);
    const changed = describeAdjustment(adjustment);
    this.#options.onEvent({ kind: "notice", message: `the stability guard goes back to step ${found ?? 0}: ${reason}; ${changed}` });
    this.#lineage.forget(entry.restoredStep); // whatever workers hold was computed with other settings
    this.#broken = `the stability guard goes back: ${reason}; ${changed}`;
    this.#stage = { kind: "waiting" };
    this.#reconsider();
  }

  // ---- the last checkpoint, and what follows it ----

  /** All are ready, and there is no step to come: they hand over what they have. */
  #saveNow(next: Closing): void {
    if (this.#generation === null || this.#isOver()) return;
    const { number: generation, members } = this.#generation;
    this.#lastSave.pause(next, "the state is saved");
    this.#checkpoints.begin({ step: this.#step, generation, worldSize: members.length, metrics: this.#metrics });
    this.#roster.send(members, { kind: "save", generation, step: this.#step });
  }

  /** What follows the last checkpoint, whether it could be saved or not. */
  #closed(next: Closing, reason: string): void {
    const saved = this.#checkpoints.lastStep === this.#step ? "" : `; step ${this.#step} could not be saved`;
    switch (next) {
      case "finish":
        if (saved === "") this.#end("finished", `all ${this.#options.numSteps} steps are done`, null);
        else this.#waitAgain();
        break;
      case "stop":
        this.#end("asked", `${this.#stopAsked?.reason ?? reason}${this.#step > 0 ? saved : ""}`, this.#stopAsked?.code ?? null);
        break;
      case "giveUp":
        this.#end("failed", `${reason}${this.#step > 0 ? saved : ""}`, "BELOW_MINIMUM");
        break;
      case "release":
        this.#releaseAsked = null;
        for (const worker of this.#roster.all()) if (worker.isRetiring) this.#lose(worker, "released, as it asked", "TERMINATED");
        this.#waitAgain();
        break;
      default:
        next satisfies never;
    }
  }

  #waitAgain(): void {
    if (this.#isOver()) return;
    if (this.#stage.kind === "pausing") this.#stage = { kind: "waiting" };
    this.#broken ??= "a new beginning";
    this.#reconsider();
  }

  // ---- the end ----

  #end(kind: Outcome["kind"], reason: string, code: ErrorCode | null): void {
    if (this.#stage.kind === "ended") return;
    const outcome = this.#outcome(kind, reason, code);
    this.#stage = { kind: "ended", outcome };
    this.#checkpoints.abandon("the run ended");
    this.#record({ event: "end", outcome: kind, step: this.#step, ...(code !== null && { code }), reason });
    this.#roster.send(
      this.#roster.all().map(({ incarnation }) => incarnation),
      { kind: "stop", outcome: kind, reason, code: code ?? "" },
    );
    this.#options.onEvent({ kind: "ended", outcome });
  }

  #outcome(kind: Outcome["kind"], reason: string, code: ErrorCode | null): Outcome {
    return { kind, reason, code, step: this.#step, checkpointStep: this.#checkpoints.lastStep };
  }

  /** Nothing has happened to the present generation. */
  #isIntact(): boolean {
    return this.#broken === null && (this.#generation?.members ?? []).every((incarnation) => this.#roster.get(incarnation));
  }

  #isOver(): boolean {
    return this.#stage.kind === "ended";
  }

  /** The rank of a worker in the present generation, if the message is of it. */
  #rankIn(worker: WorkerEntry, generation: number): number | undefined {
    if (this.#generation?.number !== generation) return undefined;
    const rank = this.#generation.members.indexOf(worker.incarnation);
    return rank < 0 ? undefined : rank;
  }

  /** A journal that can't be written ends the run: what follows could not be accounted for. */
  #record(entry: JournalEntry): void {
    try {
      this.#options.journal.append(entry);
    } catch (error) {
      this.#end("failed", `the journal can't be written: ${(error as Error).message}`, "ENGINE");
    }
  }
}
