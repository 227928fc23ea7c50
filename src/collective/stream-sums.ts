/**
 * Sums on the streams of one rank and generation. What `summation.ts` says of sums holds: the same sums in the same order on all ranks, one at
 * a time; when one has failed, the streams are closed, so that the neighbours' sums end as well.
 *
 * The vector is written to by native code until the promise is settled, however it is settled.
 */
import { IsoergError } from "../util/error.js";
import { OUTCOMES, type Outcome } from "./host-memory.js";
import type { NativeStreams } from "./native-streams.js";
import { decodeStageHeader } from "./stream-header.js";
import { encodeStages, planStreams, type StreamAlgorithm } from "./stream-plan.js";
import { nextRank, previousRank, type RingPlace, type SumTag } from "./transport.js";

export interface StreamLinks {
  readonly native: NativeStreams;
  readonly handle: number;
  readonly place: RingPlace;
}

export interface StreamWaits {
  /** Longest wait for another rank in a sum. */
  readonly timeoutMs: number;
  /** Of it, what is spent looking again and again, at most: see stream-plan.ts. */
  readonly maxSpinMs: number;
}

/** A training has few lengths; a plan is some dozens of numbers a rank. */
const MAX_PLANS = 64;

export class StreamSums {
  readonly place: RingPlace;
  readonly #native: NativeStreams;
  readonly #handle: number;
  readonly #waits: StreamWaits;
  readonly #plans = new Map<string, Float64Array>();
  #broken: Error | undefined;
  #lost: Error | undefined;

  constructor({ native, handle, place }: StreamLinks, waits: StreamWaits) {
    this.place = place;
    this.#native = native;
    this.#handle = handle;
    this.#waits = waits;
  }

  /** In place. @throws IsoergError NETWORK, PROTOCOL, or the reason of an interruption. */
  async sum(values: Float32Array, { step, bucket, algorithm }: SumTag & { readonly algorithm: StreamAlgorithm }): Promise<void> {
    if (this.#broken) throw this.#broken;
    const program = this.#planFor(algorithm, values.length);
    const { timeoutMs, maxSpinMs } = this.#waits;
    let outcome = this.#native.beginStreamSum(this.#handle, values, program, step, bucket, timeoutMs, maxSpinMs);
    if (OUTCOMES[outcome] === "pending") outcome = await this.#native.finishStreamSum(this.#handle, values);
    if (OUTCOMES[outcome] === "done") return;
    const reason = this.#broken ?? this.#errorOf(OUTCOMES[outcome] as Outcome, { step, bucket }, values.length);
    this.interrupt(reason);
    throw reason;
  }

  /** Ends pending and later sums with this reason. The neighbours see their connections close. */
  interrupt(reason: Error): void {
    if (this.#broken) return;
    this.#broken = reason;
    this.#native.closeStreams(this.#handle);
  }

  /** A neighbour is thought to be gone, for this reason: what it had sent is still taken. */
  lose(reason: Error): void {
    if (this.#broken || this.#lost) return;
    this.#lost = reason;
    this.#native.loseStreams(this.#handle);
  }

  #planFor(algorithm: StreamAlgorithm, numValues: number): Float64Array {
    const key = `${algorithm} ${numValues}`;
    const kept = this.#plans.get(key);
    if (kept) return kept;
    const { rank, worldSize } = this.place;
    const plan = encodeStages(planStreams(algorithm, { rank, worldSize, numValues }));
    if (this.#plans.size === MAX_PLANS) this.#plans.clear();
    this.#plans.set(key, plan);
    return plan;
  }

  #errorOf(outcome: Outcome, tag: SumTag, numValues: number): Error {
    const { rank } = this.place;
    const fault = this.#native.streamFault(this.#handle);
    const isTaking = fault <= -2;
    const other = isTaking ? -2 - fault : fault;
    switch (outcome) {
      case "gone":
        return fault === -1 && this.#lost
          ? this.#lost
          : new IsoergError("NETWORK", `rank ${rank}: rank ${other}, ${this.#roleOf(other, isTaking)}, is gone`);
      case "timed-out":
        return new IsoergError(
          "NETWORK",
          isTaking
            ? `rank ${rank}: rank ${other} took nothing for ${this.#waits.timeoutMs} ms`
            : `rank ${rank}: nothing came from rank ${other} for ${this.#waits.timeoutMs} ms`,
        );
      case "disagree": {
        const heard = decodeStageHeader(new Uint8Array(this.#native.streamHeard(this.#handle)));
        const sent = heard
          ? `step ${heard.step} bucket ${heard.bucket} round ${heard.round} (${heard.numValues} values)`
          : "something else";
        return new IsoergError(
          "PROTOCOL",
          `rank ${rank}: rank ${other} sent ${sent} where step ${tag.step} bucket ${tag.bucket} (${numValues} values) was due`,
          { hint: "all ranks must sum the same vectors in the same order" },
        );
      }
      case "closed":
      case "done":
      case "pending":
      case "worn-out":
        return new IsoergError("STOPPED", "the sums of this generation are over");
      default:
        return outcome satisfies never;
    }
  }

  #roleOf(other: number, isTaking: boolean): string {
    if (isTaking ? other === nextRank(this.place) : other === previousRank(this.place))
      return isTaking ? "the next in the ring" : "the previous in the ring";
    return "its partner";
  }
}
