/**
 * What failures leave of the time: closed forms, for failures that strike a worker at random (exponential times between them).
 *
 * Work goes on in units that are kept or lost as a whole. isoerg's unit is the step: survivors keep the parameters, so a failure
 * costs the step under way and the forming of a new generation. With checkpoints alone it is the interval between two of them, and
 * a failure costs a restart of all. For a unit of length u, a recovery R and a mean time M between failures of the whole system
 * (Daly 2006, eq. 13; failures during the recovery included):
 *
 *     E[time] = M e^(R/M) (e^(u/M) - 1)
 */

export type Recovery =
  | {
      /** Survivors go on: only the step under way is lost. */
      readonly kind: "elastic";
      readonly recoveryMs: number;
    }
  | {
      /** Everything since the last checkpoint is lost, and all start again. */
      readonly kind: "checkpoint";
      readonly everySteps: number;
      readonly checkpointMs: number;
      readonly restartMs: number;
    };

export interface Reliability {
  /** Mean time between the failures of one worker. */
  readonly workerMtbfMs: number;
  readonly recovery: Recovery;
  /** How long a lost worker is away. Elastic recovery goes on with the others meanwhile. 0: another takes its place at once. */
  readonly repairMs: number;
}

/** What is kept or lost as a whole. */
export interface Unit {
  readonly steps: number;
  readonly extraMs: number;
  readonly recoveryMs: number;
}

export function unitOf(recovery: Recovery): Unit {
  switch (recovery.kind) {
    case "elastic":
      return { steps: 1, extraMs: 0, recoveryMs: recovery.recoveryMs };
    case "checkpoint":
      return { steps: recovery.everySteps, extraMs: recovery.checkpointMs, recoveryMs: recovery.restartMs };
    default:
      return recovery satisfies never;
  }
}

/** The mean time that a unit takes; Infinity where failures come so often that none is ever finished. */
export function expectedMs(unitMs: number, recoveryMs: number, mtbfMs: number): number {
  return Number.isFinite(mtbfMs) ? mtbfMs * Math.exp(recoveryMs / mtbfMs) * Math.expm1(unitMs / mtbfMs) : unitMs;
}

/** Useful time over all of it: between 0 and 1. Exact where lost workers are replaced at once. */
export function goodput(stepMs: number, workers: number, { workerMtbfMs, recovery }: Reliability): number {
  const { steps, extraMs, recoveryMs } = unitOf(recovery);
  return (steps * stepMs) / expectedMs(steps * stepMs + extraMs, recoveryMs, workerMtbfMs / workers);
}

/** Time between checkpoints with the least loss, to first order (Young 1974). */
export function youngMs(checkpointMs: number, mtbfMs: number): number {
  return Math.sqrt(2 * checkpointMs * mtbfMs);
}

/** To higher order (Daly 2006, eq. 37): work between the end of a checkpoint and the beginning of the next. */
export function dalyMs(checkpointMs: number, mtbfMs: number): number {
  if (checkpointMs >= 2 * mtbfMs) return mtbfMs;
  const ratio = checkpointMs / (2 * mtbfMs);
  return youngMs(checkpointMs, mtbfMs) * (1 + Math.sqrt(ratio) / 3 + ratio / 9) - checkpointMs;
}
