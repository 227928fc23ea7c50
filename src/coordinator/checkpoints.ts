/**
 * The checkpoints of a run that is under way: at most one is being gathered, an earlier one may still be at the store, and
 * the last whole one is known. How each ended is in the journal and told to whoever watches.
 */
import type { CheckpointStore } from "../checkpoint/store.js";
import type { StateBlock } from "../wire/messages.js";
import type { RunEvent } from "./events.js";
import type { JournalEntry } from "./journal.js";
import { Saving, type SavingResult } from "./saving.js";
import { type CheckpointSchedule, optimalIntervalMs } from "./schedule.js";

export interface CheckpointsOptions {
  readonly store: CheckpointStore;
  /** state.json of a step. */
  readonly describeState: (step: number) => object;
  readonly lastStep: number | null;
  readonly schedule: CheckpointSchedule;
  readonly now: () => number;
  readonly record: (entry: JournalEntry) => void;
  readonly onEvent: (event: RunEvent) => void;
  /** The one begun last has ended. */
  readonly onEnd: (result: SavingResult) => void;
}

export interface CheckpointPlace {
  readonly step: number;
  readonly generation: number;
  readonly worldSize: number;
  /** Of the last committed step: which checkpoints are the best is told by them. */
  readonly metrics: Readonly<Record<string, number>>;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  #current: Saving | null = null;
  /** That one, and earlier ones that the store has not done with. */
  readonly #underWay = new Set<Saving>();
  #settled: Promise<unknown> = Promise.resolve();
  #lastStep: number | null;
  readonly #startedAtMs: number;
  #begunAtMs: number;
  #numFailures = 0;
  #saves = { count: 0, totalMs: 0 };

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.#lastStep = options.lastStep;
    this.#startedAtMs = options.now();
    this.#begunAtMs = this.#startedAtMs;
  }

  /** Whether the state before this step should be saved. */
  isDue(step: number): boolean {
    const { schedule, now } = this.#options;
    if (schedule.everySteps !== "auto") return step % schedule.everySteps === 0;
    const { count, totalMs } = this.#saves;
    const measured = {
      elapsedMs: now() - this.#startedAtMs,
      numFailures: this.#numFailures,
      saveMs: count === 0 ? null : totalMs / count,
    };
    return this.#current === null && now() - this.#begunAtMs >= optimalIntervalMs(measured, schedule);
  }

  /** A worker was lost. */
  noteFailure(): void {
    this.#numFailures++;
  }

  /** Whether some worker still owes its part. */
  get isGathering(): boolean {
    return this.#current?.isCollecting === true;
  }

  /** Step of the last whole checkpoint; null for none. */
  get lastStep(): number | null {
    return this.#lastStep;
  }

  /** Settles when the store has nothing more to do. */
  get settled(): Promise<unknown> {
    return this.#settled;
  }

  /** Begins to gather the state before `step` from a generation's workers. One that is still incomplete is given up. */
  begin({ step, generation, worldSize, metrics }: CheckpointPlace): void {
    const { store, describeState, now } = this.#options;
    const before = this.#current;
    this.#current = null; // whoever waits for the end of a checkpoint waits for this one now
    before?.supersede(`the checkpoint of step ${step} is due already`);
    const sinceMs = now();
    this.#begunAtMs = sinceMs;
    const saving: Saving = new Saving({
      step,
      generation,
      worldSize,
      store,
      metrics,
      state: describeState(step),
      after: this.#settled,
      onEnd: (result) => this.#ended(saving, result, now() - sinceMs),
    });
    this.#current = saving;
    this.#underWay.add(saving);
    this.#settled = Promise.all([this.#settled, saving.done]);
  }

  /** Takes a piece of the one being gathered; pieces of others are passed over. @throws IsoergError PROTOCOL */
  add(block: StateBlock): void {
    if (this.#isOf(block)) this.#current?.add(block);
  }

  /** The rank that sent this block has sent all. */
  complete(block: StateBlock): void {
    if (this.#isOf(block)) this.#current?.complete(block.rank);
  }

  /** A rank of this generation is gone, with what it had not sent. */
  lose(generation: number, rank: number, reason: string): void {
    if (this.#current?.generation === generation) this.#current.lose(rank, reason);
  }

  abandon(reason: string): void {
    this.#current?.abandon(reason);
  }

  /**
   * Whether a newer state than that before `step` is on its way to the store. Who would go back to `step` waits for it: fewer steps are
   * lost, and no checkpoint of a state that was taken back appears later. One that is still being gathered is given up.
   */
  awaitsAfter(step: number): boolean {
    if (this.#current !== null && this.#current.step > step) this.abandon(`the run goes back to step ${step}`);
    return [...this.#underWay].some((saving) => saving.step > step);
  }

  /**
   * Waits for the store, then finds the newest whole checkpoint of at most this step: the last one from now on. @returns its step; null for none
   */
  async rollBack(goodBefore: number, reason: string): Promise<number | null> {
    const { store } = this.#options;
    this.abandon(reason);
    await this.#settled; // one that is being written is carried through, and goes with the others
    const entries = await store.list();
    let found: number | null = null;
    for (const { step } of entries.filter((entry) => entry.step <= goodBefore).sort((a, b) => b.step - a.step)) {
      const isWhole = await store.load(step).then(
        () => true,
        () => false,
      );
      if (!isWhole) continue;
      found = step;
      break;
    }
    this.#lastStep = found;
    return found;
  }

  /** Deletes the checkpoints after this step; all of them for null. */
  async discardAfter(step: number | null, reason: string): Promise<void> {
    const { store } = this.#options;
    const steps = (await store.list()).map((entry) => entry.step).filter((other) => step === null || other > step);
    if (steps.length > 0) await store.discard(steps, reason);
    for (const discarded of steps) this.#options.record({ event: "checkpointDeleted", step: discarded, reason });
  }

  #isOf(block: StateBlock): boolean {
    return block.generation === this.#current?.generation && block.step === this.#current.step;
  }

  #ended(saving: Saving, result: SavingResult, ms: number): void {
    const { record, onEvent, onEnd } = this.#options;
    const { step } = saving;
    this.#underWay.delete(saving);
    if (result.kind === "saved") {
      this.#lastStep = step;
      this.#saves = { count: this.#saves.count + 1, totalMs: this.#saves.totalMs + ms };
      record({ event: "checkpoint", step, path: result.path, ms });
      onEvent({ kind: "checkpoint", step, path: result.path, ms });
    } else {
      record({ event: "checkpointFailed", step, reason: result.reason });
      onEvent({ kind: "notice", message: `no checkpoint of step ${step}: ${result.reason}` });
    }
    if (saving !== this.#current) return;
    this.#current = null;
    onEnd(result);
  }
}
