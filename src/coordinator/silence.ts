/**
 * How long a worker may be silent before it counts as lost. A stopped process and a cut connection say nothing; a machine under
 * load says it late. So the limit follows the longest pause between a worker's last heartbeats, between a floor (a few heartbeats)
 * and a ceiling: on a quiet machine a stopped worker is missed within seconds, on a busy one nobody is accused in error for long,
 * since the pause that led to it counts from then on. A failure detector that adapts to what it measures, as in Chen, Toueg and
 * Aguilera (IEEE Transactions on Computers 51, 2002), with the longest pause in place of a mean and a margin. No clock inside.
 */

export interface SilenceOptions {
  readonly floorMs: number;
  readonly ceilingMs: number;
}

/** Times the longest pause. */
const FACTOR = 4;
/** Heartbeats that are remembered. */
const WINDOW = 64;

/** @returns how long it may be silent now */
export function silenceLimitMs(longestPauseMs: number, { floorMs, ceilingMs }: SilenceOptions): number {
  return Math.min(ceilingMs, Math.max(floorMs, FACTOR * longestPauseMs));
}

/** The pauses between the last heartbeats of one process. */
export class Pauses {
  readonly #recentMs: number[] = [];
  #heardAtMs: number | null = null;

  /** A heartbeat, or a new session, which ends a pause as well. */
  heard(nowMs: number): void {
    if (this.#heardAtMs !== null) this.#recentMs.push(Math.max(0, nowMs - this.#heardAtMs));
    if (this.#recentMs.length > WINDOW) this.#recentMs.shift();
    this.#heardAtMs = nowMs;
  }

  /** Whoever listens was away for so long: that was no pause of the worker's. */
  passOver(ms: number): void {
    if (this.#heardAtMs !== null) this.#heardAtMs += ms;
  }

  /** Infinite before the first heartbeat: a process that starts, beside a thousand others perhaps, is given all the time there is. */
  get longestMs(): number {
    return this.#recentMs.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...this.#recentMs);
  }
}
