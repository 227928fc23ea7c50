/**
 * Failures of a long training, event by event: steps are of equal length as long as nobody leaves or returns, so that whole stretches
 * of them are passed at once and thousands of failures can be followed through weeks. Seeded.
 *
 * Where lost workers are replaced at once it must meet the closed form of goodput.ts in the mean. Where they are not, the others share
 * the global batch until they are back, which no closed form here knows; each return costs a new generation as well.
 */
import { draws } from "../../src/engine/random/philox.js";
import { type Reliability, unitOf } from "./goodput.js";

export interface FailureSimulation {
  readonly workers: number;
  /** Of a step that so many workers compute. */
  readonly stepMs: (workers: number) => number;
  readonly reliability: Reliability;
  /** Ends with this one's recovery. */
  readonly failures: number;
  readonly seed: bigint;
}

export interface FailureHistory {
  /** What the committed steps would have taken undisturbed, over the time that passed. */
  readonly goodput: number;
  readonly committedSteps: number;
  readonly wallMs: number;
  readonly fewestWorkers: number;
}

/** Of random streams that no training uses. */
const PURPOSE = 223;

/** @throws RangeError where failures come faster than any step is finished. */
export function simulateFailures({ workers, stepMs, reliability, failures, seed }: FailureSimulation): FailureHistory {
  const { steps: unitSteps, extraMs, recoveryMs } = unitOf(reliability.recovery);
  const shrinks = reliability.recovery.kind === "elastic" && reliability.repairMs > 0;
  const returns: number[] = [];
  let now = 0;
  let alive = workers;
  let committedSteps = 0;
  let fewestWorkers = workers;
  for (let failed = 0; failed < failures; failed++) {
    // Exponential times forget: drawn anew whenever the number of workers changes.
    for (let change = 0; ; change++) {
      const unitMs = unitSteps * stepMs(alive) + extraMs;
      const untilFailure = timeToFailure(seed, { failed, change }, reliability.workerMtbfMs / alive);
      // Someone who is back is let in when the unit under way is done.
      const unitsToReturn = returns.length > 0 ? Math.ceil(Math.max(0, (returns[0] as number) - now) / unitMs) : Number.POSITIVE_INFINITY;
      const unitsToFailure = Math.floor(untilFailure / unitMs);
      committedSteps += unitSteps * Math.min(unitsToFailure, unitsToReturn);
      if (unitsToFailure < unitsToReturn) {
        now += untilFailure;
        break;
      }
      now += unitsToReturn * unitMs + recoveryMs;
      while (returns.length > 0 && (returns[0] as number) <= now) {
        returns.shift();
        alive++;
      }
    }
    if (shrinks) {
      returns.push(now + reliability.repairMs);
      alive--;
      if (alive === 0) {
        now = returns.shift() as number;
        alive = 1;
      }
      fewestWorkers = Math.min(fewestWorkers, alive);
    }
    now += recoveryTime(seed, failed, { recoveryMs, mtbfMs: reliability.workerMtbfMs / alive });
  }
  return { goodput: (committedSteps * stepMs(workers)) / now, committedSteps, wallMs: now, fewestWorkers };
}

function timeToFailure(seed: bigint, { failed, change }: { failed: number; change: number }, mtbfMs: number): number {
  return -Math.log1p(-draws({ seed, purpose: PURPOSE, step: failed, position: change }).uniform()) * mtbfMs;
}

const MAX_TRIES = 100_000;
/** Positions of a failure's stream from here on are its recovery's. */
const RECOVERY = 0x8000_0000;

/** A failure during the recovery begins it anew. */
function recoveryTime(seed: bigint, failed: number, { recoveryMs, mtbfMs }: { recoveryMs: number; mtbfMs: number }): number {
  let spent = 0;
  for (let i = 0; i < MAX_TRIES; i++) {
    const next = timeToFailure(seed, { failed, change: RECOVERY + i }, mtbfMs);
    if (next >= recoveryMs) return spent + recoveryMs;
    spent += next;
  }
  throw new RangeError(`${MAX_TRIES} failures in one recovery: no step is ever finished`);
}
