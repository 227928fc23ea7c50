/**
 * When a checkpoint is due: every so many steps, or in the interval that loses least, chosen as the run goes.
 *
 * Young's first-order optimum (CACM 17, 1974) for a save that takes C and a mean time between failures of M is sqrt(2 C M);
 * Daly (FGCS 22, 2006, equation 37) refines it for C not small against M. C is what saves of this run took, M the time it has
 * run over the workers it has lost. Before a failure was seen M is a prior, which counts as one failure: (prior + elapsed) /
 * (1 + failures). A pure function of what was measured; the clock is the caller's.
 */

export interface CheckpointSchedule {
  readonly everySteps: number | "auto";
  /** Mean time between failures that is expected before one is seen. */
  readonly priorMtbfMs: number;
}

export interface Measured {
  readonly elapsedMs: number;
  readonly numFailures: number;
  /** Mean duration of this run's saves; null before the first one. */
  readonly saveMs: number | null;
}

/** Before a save was measured. */
const FIRST_INTERVAL_MS = 60_000;
/** No more than this share of the time is spent on saving, whatever fails. */
const MAX_SHARE = 0.1;

/** @returns milliseconds from one checkpoint's beginning to the next */
export function optimalIntervalMs({ elapsedMs, numFailures, saveMs }: Measured, { priorMtbfMs }: CheckpointSchedule): number {
  if (saveMs === null) return FIRST_INTERVAL_MS;
  const mtbfMs = (priorMtbfMs + elapsedMs) / (1 + numFailures);
  return Math.max(daly(saveMs, mtbfMs) + saveMs, saveMs / MAX_SHARE);
}

/** Daly's higher-order estimate of the computing time between two saves, all in one unit. */
export function daly(save: number, mtbf: number): number {
  if (save >= 2 * mtbf) return mtbf;
  const ratio = Math.sqrt(save / (2 * mtbf));
  return Math.sqrt(2 * save * mtbf) * (1 + ratio / 3 + (ratio * ratio) / 9) - save;
}
