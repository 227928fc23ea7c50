/**
 * A step's life: proceed -> ballots -> figures, journal -> verdict, and what follows. Whatever breaks it begins a new generation, in
 * which the first uncommitted step comes again. Nothing is told before the journal has it. Whether a step counts is decided in
 * `commit.ts`, who is slow in `speeds.ts`, whether training goes astray in `guarding.ts`; here it is carried out.
 */
import type { BallotMessage } from "../wire/messages.js";
import { type CommitDecision, decideCommit } from "./commit.js";
import type { StepRecord } from "./events.js";
import type { Closing } from "./generation.js";
import type { Alarm } from "./guarding.js";
import { commitEntry } from "./journal.js";
import type { LastSave } from "./last-save.js";
import type { WorkerEntry } from "./roster.js";
import type { RunState } from "./run-state.js";
import type { Watch } from "./watch.js";

export interface SteppingNext {
  /** Told what the step took. */
  readonly watch: Pick<Watch, "committed">;
  readonly lastSave: () => LastSave;
  readonly reconsider: () => void;
  /** This worker's engine broke at the step under way. */
  readonly broke: (worker: WorkerEntry, reason: string) => void;
  /** The stability guard is not content. */
  readonly alarmed: (alarm: Alarm) => void;
}

export class Stepping {
  readonly #state: RunState;
  readonly #next: SteppingNext;
  #retries = 0;

  constructor(state: RunState, next: SteppingNext) {
    this.#state = state;
    this.#next = next;
  }

  /** The first step of a generation. */
  proceed(): void {
    const { generation, isOver, roster, step } = this.#state;
    if (generation === null || isOver) return;
    this.#expectBallots();
    roster.send(generation.members, { kind: "proceed", generation: generation.number, step });
  }

  #expectBallots(): void {
    this.#state.stage = { kind: "stepping", ballots: new Map(), sinceMs: this.#state.options.now() };
  }

  voted(worker: WorkerEntry, ballot: BallotMessage): void {
    const state = this.#state;
    const rank = state.rankIn(worker, ballot.generation);
    if (rank === undefined || state.generation === null || ballot.step !== state.step) return;
    if (state.stage.kind === "forming" && !ballot.ok) {
      // A ring that could not be closed, told before there was a step to vote on.
      const lastSave = this.#next.lastSave();
      if (lastSave.isUnderWay) {
        lastSave.retry(ballot.reason);
        return;
      }
      state.stage = { kind: "stepping", ballots: new Map(), sinceMs: state.options.now() };
    }
    if (state.stage.kind !== "stepping") return;
    const { ballots, sinceMs } = state.stage;
    ballots.set(rank, ballot);
    const { ids } = state.options.plan.batchOf(state.step);
    const [decision, reason] = this.#decide(ballots, ids);
    switch (decision.kind) {
      case "wait":
        return;
      case "fail": {
        const { guard } = state.options;
        const alarm = ballot.fault === "non-finite" ? guard?.observe({ step: state.step, figures: {}, fault: ballot.reason }) : null;
        if (alarm) this.#next.alarmed(alarm);
        else state.end("failed", reason, decision.code);
        break;
      }
      case "broken": {
        const broken = state.roster.get(state.generation.members[decision.rank] ?? "");
        if (broken) this.#next.broke(broken, reason);
        break;
      }
      case "retry":
        this.retry(reason);
        break;
      case "commit":
        this.#commit(ballots, ids, state.options.now() - sinceMs, decision);
        break;
      default:
        decision satisfies never;
    }
  }

  #decide(ballots: ReadonlyMap<number, BallotMessage>, batch: Uint32Array): [CommitDecision, string] {
    const { step, options, stopAsked, releaseAsked, checkpoints, members } = this.#state;
    return decideCommit(
      {
        step,
        worldSize: members.length,
        ballots,
        batch,
        retriesSoFar: this.#retries,
        numSteps: options.numSteps,
        stopAsked: stopAsked?.reason ?? null,
        checkpointAsked: releaseAsked !== null || checkpoints.isDue(step + 1),
      },
      options.commit,
    );
  }

  /** The step comes again in a new generation. */
  retry(reason: string): void {
    const state = this.#state;
    this.#retries++;
    state.broken = reason;
    state.record({ event: "retry", generation: state.generation?.number ?? 0, step: state.step, reason });
    this.#next.reconsider();
  }

  /** The figures first, then the journal, then the workers: who comes after a crash finds no step without its figures. */
  #commit(
    ballots: ReadonlyMap<number, BallotMessage>,
    ids: Uint32Array,
    stepMs: number,
    { checkpoint, next }: Extract<CommitDecision, { kind: "commit" }>,
  ): void {
    const state = this.#state;
    const first = ballots.get(0);
    if (state.generation === null || first === undefined || !state.confirmLead()) return;
    const { number: generation, members } = state.generation;
    const { options, step } = state;
    state.figures.committed(options.now(), ids.length);
    const record: StepRecord = {
      step,
      epoch: (step + 1) / options.plan.stepsPerEpoch,
      generation,
      worldSize: members.length,
      batchSize: ids.length,
      time: new Date(options.now()).toISOString(),
      stepMs,
      samplesPerSecond: state.figures.samplesPerSecond(),
      metrics: first.metrics,
      phasesMs: members.map((_, rank) => ballots.get(rank)?.phasesMs ?? {}),
    };
    options.writeFigures(record);
    state.record(commitEntry({ generation, step, ids, checksum: first.checksum }));
    if (state.isOver) return;
    state.lineage.commit(step);
    state.step = step + 1;
    this.#retries = 0;
    state.metrics = first.metrics;
    state.lastFault = null;
    for (const incarnation of members) {
      const worker = state.roster.get(incarnation);
      if (worker) worker.holds = { generation, step: state.step };
    }
    this.#next.watch.committed(record);
    this.#noteSpeeds(record.phasesMs, ids.length);
    const alarm = options.guard?.observe({ step, figures: first.metrics }) ?? null;
    const saves = checkpoint && alarm === null; // what is not trusted is not saved
    if (saves) state.checkpoints.begin({ step: state.step, generation, worldSize: members.length, metrics: first.metrics });
    const proceeds = alarm === null && next === "goOn" && state.releaseAsked === null && state.regroup === null;
    if (proceeds) this.#expectBallots();
    const reason = `all ${members.length} voted for it`;
    state.roster.send(members, { kind: "verdict", generation, step, commit: true, checkpoint: saves, reason, proceed: proceeds });
    if (!proceeds) this.#pause(alarm, next);
    options.onEvent({ kind: "commit", ...record, ids, checksum: first.checksum });
  }

  /** After a commit that no step follows at once: what is most pressing. */
  #pause(alarm: Alarm | null, next: "goOn" | Extract<Closing, "finish" | "stop">): void {
    const state = this.#state;
    if (alarm) this.#next.alarmed(alarm);
    else if (next !== "goOn") this.#next.lastSave().pause(next, state.stopAsked?.reason ?? "");
    else if (state.releaseAsked !== null) this.#next.lastSave().pause("release", state.releaseAsked);
    else {
      state.broken = state.regroup;
      this.#next.reconsider();
    }
  }

  /** What each worker's part took: who is slow is named, and may get less to do. */
  #noteSpeeds(phasesMs: readonly Readonly<Record<string, number>>[], batchSize: number): void {
    const { generation, speeds, roster, step } = this.#state;
    if (generation === null) return;
    const { members, weights } = generation;
    const ownMs = speeds.committed(members, weights, phasesMs, batchSize);
    for (const [rank, incarnation] of members.entries()) {
      const worker = roster.get(incarnation);
      if (worker) worker.stepMs = ownMs[rank] ?? 0;
    }
    const nameOf = (incarnation: string): string => roster.get(incarnation)?.workerId ?? incarnation;
    const slow = speeds.slow(members, nameOf);
    if (slow !== null) {
      this.#state.record({ event: "slow", step, ...slow });
      this.#state.notice(slow.reason);
    }
    const reweighting = speeds.reweighting(members, weights);
    if (reweighting !== null) this.#state.regroup ??= reweighting;
  }
}
