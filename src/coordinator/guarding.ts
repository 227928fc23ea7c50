/**
 * The stability guard as the run holds it: the figures of the committed steps, the alarms so far, and what they changed. It
 * asks the pure judge (../train/guard/judge.ts) after each step; the run carries out what it says.
 *
 * Alarms outlive the process: they are read back from the journal, so a resumed run counts on and trains with what was changed.
 */
import { type Adjustment, NO_ADJUSTMENT } from "../config/adjustment.js";
import type { GuardConfig } from "../config/schema.js";
import { historyLength, type Judgement, judge, type Reading } from "../train/guard/judge.js";
import type { JournalEntry, JournalLine } from "./journal.js";

export type AlarmEntry = Extract<JournalEntry, { event: "alarm" }>;
export type Alarm = Exclude<Judgement, { kind: "ok" }>;

export interface GuardingOptions {
  readonly policy: GuardConfig;
  /** Steps from one reading of the chains to the next. */
  readonly every: number;
  /** Of this run so far, in their order. */
  readonly alarms: readonly AlarmEntry[];
}

/** The alarms that a journal tells of. */
export function alarmsOf(lines: readonly JournalLine[]): AlarmEntry[] {
  return lines.filter((line) => line.event === "alarm");
}

/**
 * Checkpoints that an alarm condemned and that a crash may have left: saved before the alarm, later than what it went back to.
 * @returns their steps
 */
export function condemnedCheckpoints(lines: readonly JournalLine[]): number[] {
  const condemned = new Set<number>();
  const saved = new Set<number>();
  for (const line of lines) {
    if (line.event === "checkpoint") {
      saved.add(line.step);
      condemned.delete(line.step);
    } else if (line.event === "alarm") for (const step of saved) if (step > line.restoredStep) condemned.add(step);
  }
  return [...condemned].sort((a, b) => a - b);
}

export class Guarding {
  readonly #policy: GuardConfig;
  readonly #alarms: AlarmEntry[];
  readonly #length: number;
  #history: Reading[] = [];

  constructor({ policy, every, alarms }: GuardingOptions) {
    this.#policy = policy;
    this.#alarms = [...alarms];
    this.#length = historyLength(policy, every);
  }

  /** What the alarms so far have changed. */
  get adjustment(): Adjustment {
    return this.#alarms.at(-1)?.adjustment ?? NO_ADJUSTMENT;
  }

  get alarms(): readonly AlarmEntry[] {
    return this.#alarms;
  }

  get history(): readonly Reading[] {
    return this.#history;
  }

  /** Takes the figures of a step that is about to commit, or of one that can't (`fault`). @returns what is wrong, or null */
  observe(reading: Reading): Alarm | null {
    this.#history.push(reading);
    if (this.#history.length > this.#length) this.#history.shift();
    const judgement = judge(this.#history, this.#policy, { alarms: this.#alarms, adjustment: this.adjustment });
    return judgement.kind === "ok" ? null : judgement;
  }

  /** The run went back: what came after is forgotten. */
  wentBack(alarm: AlarmEntry): void {
    this.#alarms.push(alarm);
    this.forget(alarm.restoredStep);
  }

  /** Steps from this one on were taken back, for whatever reason. */
  forget(fromStep: number): void {
    this.#history = this.#history.filter(({ step }) => step < fromStep);
  }
}
