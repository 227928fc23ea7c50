/**
 * How fast each worker is, from what its own part of every step took: who is slow is named, and slices may be weighted by it.
 *
 * Own time is that of the phases in which a worker computes; in the others it waits. Times are smoothed exponentially and kept
 * by process, so that they outlast a change of ranks. Weights only decide which worker computes which positions; what is
 * computed at a position does not depend on them, so that re-weighting changes no result beyond the order of sums.
 */
import { slices } from "../data/plan.js";
import type { Range } from "../util/range.js";

export type Slices = "equal" | "measured";

export interface SlowWorker {
  readonly worker: string;
  /** Of the step, for its own part. */
  readonly ownMs: number;
  /** Of the others. */
  readonly medianMs: number;
  /** Of the step's time, in which the others wait for it. */
  readonly share: number;
  readonly reason: string;
}

interface Speed {
  ownMs: number;
  msPerSample: number;
  numSteps: number;
}

/** Phases in which a worker computes. */
const OWN: ReadonlySet<string> = new Set(["data", "attack", "sample", "gradient", "update"]);
const SMOOTHING = 0.1;
/** Steps before a worker is judged, and between two judgements. */
const WINDOW = 20;
/** Own time over the others' median that is called slow. */
const SLOW_FACTOR = 1.5;
/** A new cut costs a generation: it must shorten the step by so much. */
const MIN_GAIN = 0.1;

export class Speeds {
  readonly #slices: Slices;
  readonly #groupSize: number;
  readonly #speeds = new Map<string, Speed>();
  #steps = 0;
  #namedAt = 0;
  #weighedAt = 0;

  /** @param groupSize of samples that slices don't part */
  constructor(slices: Slices, groupSize = 1) {
    this.#slices = slices;
    this.#groupSize = groupSize;
  }

  /** Takes a committed step in. @returns each rank's own time in ms */
  committed(
    members: readonly string[],
    weights: readonly number[],
    phasesMs: readonly Readonly<Record<string, number>>[],
    batchSize: number,
  ): number[] {
    this.#steps++;
    const ranges = slices(batchSize, weights, this.#groupSize);
    return members.map((incarnation, rank) => {
      const ownMs = Object.entries(phasesMs[rank] ?? {}).reduce((sum, [phase, ms]) => sum + (OWN.has(phase) ? ms : 0), 0);
      const { from, to } = ranges[rank] as Range;
      const speed = this.#speeds.get(incarnation) ?? { ownMs, msPerSample: 0, numSteps: 0 };
      const share = speed.numSteps < 1 / SMOOTHING ? 1 / (speed.numSteps + 1) : SMOOTHING; // a plain mean at first
      speed.ownMs += share * (ownMs - speed.ownMs);
      if (to > from) speed.msPerSample += share * (ownMs / (to - from) - speed.msPerSample);
      speed.numSteps++;
      this.#speeds.set(incarnation, speed);
      return ownMs;
    });
  }

  /** The worker that the others wait for, at most once in so many steps; null where none is slow. */
  slow(members: readonly string[], nameOf: (incarnation: string) => string): SlowWorker | null {
    if (members.length < 2 || this.#steps - this.#namedAt < WINDOW) return null;
    const known = members.flatMap((incarnation) => ({ incarnation, speed: this.#speeds.get(incarnation) }));
    if (known.some(({ speed }) => speed === undefined || speed.numSteps < WINDOW)) return null;
    const times = known.map(({ incarnation, speed }) => ({ incarnation, ownMs: speed?.ownMs ?? 0 })).sort((a, b) => b.ownMs - a.ownMs);
    const [slowest, ...others] = times;
    const medianMs = others[Math.floor((others.length - 1) / 2)]?.ownMs ?? 0;
    if (slowest === undefined || slowest.ownMs <= SLOW_FACTOR * medianMs || slowest.ownMs - medianMs < 1) return null;
    this.#namedAt = this.#steps;
    const worker = nameOf(slowest.incarnation);
    const share = (slowest.ownMs - medianMs) / slowest.ownMs;
    const percent = Math.round(100 * share);
    return {
      worker,
      ownMs: Math.round(slowest.ownMs),
      medianMs: Math.round(medianMs),
      share: Math.round(1000 * share) / 1000,
      reason: `worker ${worker} is slow: its part of a step takes ${Math.round(slowest.ownMs)} ms, the others' ${Math.round(medianMs)} ms; they wait for it in ${percent} % of the step`,
    };
  }

  /** Slice weights for these ranks: equal, or by speed where all are known. */
  weights(members: readonly string[]): number[] {
    const rates = members.map((incarnation) => this.#rate(incarnation));
    if (this.#slices === "equal" || rates.some((rate) => rate === null)) return members.map(() => 1);
    this.#weighedAt = this.#steps;
    const sum = rates.reduce((total: number, rate) => total + (rate ?? 0), 0);
    return rates.map((rate) => Math.round((1000 * members.length * (rate ?? 0)) / sum) / 1000);
  }

  /** Why the slices should be cut anew; null where they are well cut, or equal by choice. */
  reweighting(members: readonly string[], weights: readonly number[]): string | null {
    if (this.#slices === "equal" || members.length < 2 || this.#steps - this.#weighedAt < WINDOW) return null;
    const rates = members.map((incarnation) => this.#rate(incarnation));
    if (rates.some((rate) => rate === null)) return null;
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const total = rates.reduce((all: number, rate) => all + (rate ?? 0), 0);
    const presentMs = Math.max(...weights.map((weight, rank) => weight / sum / (rates[rank] ?? 1)));
    const gain = 1 - 1 / total / presentMs;
    return gain < MIN_GAIN ? null : `slices are cut anew by measured speed: the step becomes ${Math.round(100 * gain)} % shorter`;
  }

  /** Samples a millisecond; null until it has been watched for a while. */
  #rate(incarnation: string): number | null {
    const speed = this.#speeds.get(incarnation);
    return speed === undefined || speed.numSteps < WINDOW || speed.msPerSample <= 0 ? null : 1 / speed.msPerSample;
  }
}
