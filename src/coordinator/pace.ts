/**
 * How long things have taken in this run: the phases of a step, a whole step, the forming of a generation. What is expected of
 * the next one, and by that when one hangs (`hang.ts`), is told from the longest of the last ones; so a run that has slowed
 * down is judged by its present pace, and a single stall is forgotten after a while.
 *
 * A process's first step is kept apart: engines compile, tune and allocate in it. Times are scaled up, never down, with the share
 * of the batch that a worker has, since a lost worker leaves more to the others. No clock inside.
 */

import type { Restore } from "../wire/messages.js";

/** A step as far as its pace is told. */
export interface PacedStep {
  /** By rank: what each phase took. */
  readonly phasesMs: readonly Readonly<Record<string, number>>[];
  /** By rank: whether it was the first one of its process. */
  readonly isFirst: readonly boolean[];
  /** Largest share of the batch that one worker has, in (0, 1]. */
  readonly share: number;
  /** From "proceed" to the commit. */
  readonly stepMs: number;
}

interface Reading {
  readonly share: number;
  readonly longestMs: ReadonlyMap<string, number>;
}

/** Steps, and generations, that are remembered. */
const WINDOW = 64;
/** A whole step among its phases. */
const STEP = "";

export class Pace {
  readonly #steps: Reading[] = [];
  readonly #firstSteps: Reading[] = [];
  readonly #formings = new Map<Restore, number[]>();

  committed({ phasesMs, isFirst, share, stepMs }: PacedStep): void {
    const anyFirst = isFirst.some(Boolean);
    const take = (into: Reading[], which: boolean): void => {
      const longestMs = new Map<string, number>();
      if (anyFirst === which) longestMs.set(STEP, stepMs);
      for (const [rank, phases] of phasesMs.entries()) {
        if ((isFirst[rank] ?? false) !== which) continue;
        for (const [phase, ms] of Object.entries(phases)) longestMs.set(phase, Math.max(longestMs.get(phase) ?? 0, ms));
      }
      if (longestMs.size > 0) remember(into, { share, longestMs });
    };
    take(this.#steps, false);
    take(this.#firstSteps, true);
  }

  /** All members of a generation were ready after so long. @param restore what those who take longest started from */
  formed(restore: Restore, ms: number): void {
    const times = this.#formings.get(restore) ?? [];
    remember(times, ms);
    this.#formings.set(restore, times);
  }

  /** The longest that a phase has taken lately; null where it was never seen. */
  phaseMs(phase: string, share: number, { isFirst }: { readonly isFirst: boolean }): number | null {
    return longest(isFirst ? this.#firstSteps : this.#steps, phase, share);
  }

  /** The same of a whole step. */
  stepMs(share: number, { isFirst }: { readonly isFirst: boolean }): number | null {
    return this.phaseMs(STEP, share, { isFirst });
  }

  formingMs(restore: Restore): number | null {
    const times = this.#formings.get(restore);
    return times === undefined ? null : Math.max(...times);
  }
}

function longest(readings: readonly Reading[], phase: string, share: number): number | null {
  let found: number | null = null;
  for (const reading of readings) {
    const ms = reading.longestMs.get(phase);
    if (ms !== undefined) found = Math.max(found ?? 0, ms * Math.max(1, share / reading.share));
  }
  return found;
}

function remember<T>(into: T[], one: T): void {
  into.push(one);
  if (into.length > WINDOW) into.shift();
}
