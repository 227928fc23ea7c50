/**
 * What a run knows of itself while it is under way: how far it has come, what it waits for, who is there, what is saved. The parts
 * of the state machine (`attendance.ts`, `regrouping.ts`, `forming.ts`, `stepping.ts`, `going-back.ts`, `closing.ts`) work on it;
 * each changes what its own noun says. Here stands only what all of them need, and the end, which any of them may bring.
 */
import { type ErrorCode, IsoergError } from "../util/error.js";
import { Checkpoints } from "./checkpoints.js";
import type { Outcome } from "./events.js";
import { Figures } from "./figures.js";
import type { Generation, Stage } from "./generation.js";
import type { Journal, JournalEntry } from "./journal.js";
import type { HeldState, Lineage } from "./lineage.js";
import { Roster, type WorkerEntry } from "./roster.js";
import type { RunOptions } from "./run-options.js";
import type { SavingResult } from "./saving.js";
import { Sessions } from "./sessions.js";
import { Speeds } from "./speeds.js";

export class RunState {
  readonly options: RunOptions;
  readonly roster = new Roster();
  readonly figures = new Figures();
  readonly speeds: Speeds;
  readonly lineage: Lineage;
  readonly sessions: Sessions;
  readonly checkpoints: Checkpoints;
  readonly startedAtMs: number;
  stage: Stage = { kind: "waiting" };
  generation: Generation | null = null;
  /** The first step that is not committed. */
  step: number;
  /** Why the present generation can't go on. */
  broken: string | null = null;
  /** The run was taken back on purpose: the next generation begins with nothing that workers hold. */
  isVoided = false;
  /** Why another one should follow when the step under way is done. */
  regroup: string | null = null;
  stopAsked: { readonly reason: string; readonly code: ErrorCode | null } | null = null;
  releaseAsked: string | null = null;
  /** What broke at the step under way, last; null since a step was committed. */
  lastFault: string | null = null;
  /** For people: what the membership is waiting for, or why the generation began. */
  reason = "";
  /** Of the last committed step. */
  metrics: Readonly<Record<string, number>> = {};
  #lastNumber: number;
  /** Asked for with every message. */
  #ranks: { readonly of: Generation; readonly byIncarnation: ReadonlyMap<string, number> } | null = null;
  #isDeposed = false;
  /** Whoever watches knows that it is over. */
  #isTold = false;

  /** @param onSaved the checkpoint begun last has ended */
  constructor(options: RunOptions, onSaved: (result: SavingResult) => void) {
    const { store, describeState, now, onEvent, start } = options;
    this.options = options;
    this.step = start.step;
    this.lineage = start.lineage;
    this.sessions = new Sessions(start);
    this.speeds = new Speeds(options.slices, options.groupSize);
    this.startedAtMs = now();
    this.#lastNumber = start.generation;
    this.checkpoints = new Checkpoints({
      store,
      describeState,
      lastStep: start.checkpointStep,
      schedule: options.checkpoints,
      now,
      record: (entry) => this.record(entry),
      onEvent,
      onEnd: onSaved,
    });
  }

  /** Incarnations of the present generation, by rank. */
  get members(): readonly string[] {
    return this.generation?.members ?? [];
  }

  /** For a generation that begins: no earlier one of the run had it. */
  nextNumber(): number {
    return ++this.#lastNumber;
  }

  /** The rank of a worker in the present generation, if the message is of it. */
  rankIn(worker: WorkerEntry, generation: number): number | undefined {
    if (this.generation?.number !== generation) return undefined;
    if (this.#ranks?.of !== this.generation) {
      const byIncarnation = new Map(this.generation.members.map((incarnation, rank) => [incarnation, rank]));
      this.#ranks = { of: this.generation, byIncarnation };
    }
    return this.#ranks.byIncarnation.get(worker.incarnation);
  }

  /** The step whose state this worker holds, if it is one that the run came through. */
  heldBy(worker: WorkerEntry | undefined): number | null {
    const holds: HeldState | null = worker?.holds ?? null;
    return holds !== null && this.lineage.has(holds) ? holds.step : null;
  }

  /** Nothing has happened to the present generation. */
  get isIntact(): boolean {
    return this.broken === null && this.members.every((incarnation) => this.roster.get(incarnation));
  }

  get isOver(): boolean {
    return this.stage.kind === "ended";
  }

  /** A journal that can't be written ends the run: what follows could not be accounted for. */
  record(entry: JournalEntry): void {
    this.#withJournal((journal) => journal.append(entry));
  }

  /** Whether this process still leads the run, as far as the journal tells. */
  confirmLead(): boolean {
    this.#withJournal((journal) => journal.check?.());
    return !this.#isDeposed;
  }

  #withJournal(use: (journal: Journal) => void): void {
    if (this.#isDeposed) return;
    try {
      use(this.options.journal);
    } catch (error) {
      if (error instanceof IsoergError && error.code === "FENCED") this.depose(error.message);
      else this.end("failed", `the journal can't be written: ${(error as Error).message}`, "ENGINE");
    }
  }

  notice(message: string): void {
    this.options.onEvent({ kind: "notice", message });
  }

  // ---- the end ----

  end(kind: Outcome["kind"], reason: string, code: ErrorCode | null): void {
    if (this.isOver) return;
    const outcome = this.#outcome(kind, reason, code);
    this.stage = { kind: "ended", outcome };
    this.checkpoints.abandon("the run ended");
    this.record({ event: "end", outcome: kind, step: this.step, ...(code !== null && { code }), reason });
    if (this.#isDeposed) return;
    this.roster.send(
      this.roster.all().map(({ incarnation }) => incarnation),
      { kind: "stop", outcome: kind, reason, code: code ?? "" },
    );
    this.#tell(outcome);
  }

  /** Another coordinator leads the run: nothing more is written, and nobody is told what to do. */
  depose(reason: string): void {
    if (this.#isTold) return;
    this.#isDeposed = true;
    const outcome = this.#outcome("failed", reason, "FENCED");
    this.stage = { kind: "ended", outcome };
    this.checkpoints.abandon(reason);
    for (const { port } of this.roster.all()) port.close();
    this.#tell(outcome);
  }

  #tell(outcome: Outcome): void {
    this.#isTold = true;
    this.options.onEvent({ kind: "ended", outcome });
  }

  #outcome(kind: Outcome["kind"], reason: string, code: ErrorCode | null): Outcome {
    return { kind, reason, code, step: this.step, checkpointStep: this.checkpoints.lastStep };
  }
}
