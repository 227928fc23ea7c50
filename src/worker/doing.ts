/**
 * What the training thread is doing, as the link thread sees it: the phase that it named, how long nothing was heard of it, whether
 * it waits for an answer, and how long the process has used no processor. By these a coordinator tells a thread that hangs from
 * one that is slow: one that waits is blameless, and one that hangs uses no processor.
 *
 * A process that was stopped (SIGSTOP, a suspended machine) does nothing in that time; so its clock stands still. The link's own
 * heartbeats show how long that was: they come from a timer that does not fire while the process is stopped.
 *
 * What the thread asks comes as messages; what it does between them is felt (`pulse.ts`), at a heartbeat, and so up to one late.
 */
import type { Phase } from "../train/clock.js";
import type { Doing } from "../wire/messages.js";
import { Pulse } from "./pulse.js";

export interface DoingClock {
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Processor time of this process so far, in milliseconds. */
  readonly cpuMs: () => number;
}

export const PROCESS_CLOCK: DoingClock = {
  now: () => performance.now(),
  cpuMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

/** Of one processor: with less than this a process does nothing but send its heartbeats. */
const BUSY_SHARE = 0.05;
/** Times the interval of heartbeats between two of them: the process was stopped, or starved, not busy. */
const AWAY_FACTOR = 3;

export class Activity {
  readonly #clock: DoingClock;
  readonly #pulse: Pulse;
  #beats: number;
  #phase: Phase = "starting";
  #waits = 0;
  /** When the thread was last heard of. */
  #sinceMs: number;
  /** When the process last used a processor. */
  #busyAtMs: number;
  #looked: { readonly atMs: number; readonly cpuMs: number };

  constructor(pulse = new Pulse(), clock: DoingClock = PROCESS_CLOCK) {
    this.#clock = clock;
    this.#pulse = pulse;
    this.#beats = pulse.beats;
    this.#looked = { atMs: clock.now(), cpuMs: clock.cpuMs() };
    this.#sinceMs = this.#looked.atMs;
    this.#busyAtMs = this.#looked.atMs;
  }

  /** What the thread is given to do, until its pulse says more. */
  phase(name: Phase): void {
    this.#phase = name;
    this.#beats = this.#pulse.beats;
    this.heard();
  }

  /** The thread lives: it said something. */
  heard(): void {
    this.#sinceMs = this.#clock.now();
  }

  /** The thread asks for something, and waits until it is answered. */
  async waitsFor<T>(answer: Promise<T>): Promise<T> {
    this.#waits++;
    this.heard();
    try {
      return await answer;
    } finally {
      this.#waits--;
      this.heard();
    }
  }

  /** For a heartbeat; called once in so many milliseconds. */
  describe(everyMs: number): Doing {
    const [atMs, cpuMs] = [this.#clock.now(), this.#clock.cpuMs()];
    const passedMs = atMs - this.#looked.atMs;
    const { beats } = this.#pulse;
    if (beats !== this.#beats) {
      this.#beats = beats;
      this.#phase = this.#pulse.phase;
      this.#sinceMs = atMs;
    }
    if (passedMs > AWAY_FACTOR * everyMs) {
      this.#sinceMs = Math.min(atMs, this.#sinceMs + passedMs);
      this.#busyAtMs = Math.min(atMs, this.#busyAtMs + passedMs);
    }
    if (cpuMs - this.#looked.cpuMs >= BUSY_SHARE * passedMs) this.#busyAtMs = atMs;
    this.#looked = { atMs, cpuMs };
    const phaseMs = atMs - this.#sinceMs;
    return { phase: this.#phase, phaseMs, idleMs: Math.min(phaseMs, atMs - this.#busyAtMs), waits: this.#waits > 0 || this.#pulse.waits };
  }
}
