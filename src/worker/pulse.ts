/**
 * What the training thread shows of itself without a message, in memory that it shares with the link thread: its phase, whether
 * it waits for its peers, and a beat whenever one of the two changes. A step has a dozen such changes; a message for each would
 * wake the link thread as often, on a core that computes. It is felt once a heartbeat instead.
 */
import { PHASES, type Phase } from "../train/clock.js";

const PHASE = 0;
const WAITS = 1;
const BEATS = 2;

export class Pulse {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  /** @param memory another thread's pulse */
  constructor(memory = new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
  }

  // ---- the training thread's side ----

  begin(phase: Phase): void {
    this.#set(PHASE, PHASES.indexOf(phase));
  }

  /** It waits for its peers, or goes on. */
  wait(waits: boolean): void {
    this.#set(WAITS, waits ? 1 : 0);
  }

  #set(word: number, value: number): void {
    Atomics.store(this.#words, word, value);
    Atomics.add(this.#words, BEATS, 1);
  }

  // ---- the link thread's side ----

  get phase(): Phase {
    return PHASES[Atomics.load(this.#words, PHASE)] as Phase;
  }

  get waits(): boolean {
    return Atomics.load(this.#words, WAITS) === 1;
  }

  /** Another number than before: the thread lives. */
  get beats(): number {
    return Atomics.load(this.#words, BEATS);
  }
}
