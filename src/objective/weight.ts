/**
 * What a term's weight is at a point of the training: its schedule, times the factor by which a measured gap drives it.
 *
 * The drive is a controller without a clock: each committed step's gap goes in, the next factor comes out. Gaps are figures
 * over the global batch, the same numbers on every worker, so the factors are too. They are kept as float32, so that a state
 * that went through a checkpoint is the state.
 */
import type { ObjectiveConfig } from "../config/schema.js";

export type WeightConfig = ObjectiveConfig["clean-ce"];
type Schedule = Pick<WeightConfig, "value" | "after" | "warmup" | "shape" | "end">;

/** `progress` in [0,1]. */
export function weightAt({ value, after, warmup, shape, end }: Schedule, progress: number): number {
  if (progress < after) return 0;
  const course = shape === "linear" ? (t: number) => t : (t: number) => (1 - Math.cos(Math.PI * t)) / 2;
  const full = after + warmup;
  if (progress < full) return value * course((progress - after) / warmup);
  if (end === null || full >= 1) return value;
  return value + (end - value) * course(Math.min(1, (progress - full) / (1 - full)));
}

export interface Drive {
  /** By which the scheduled weight is multiplied, 1 .. max/value. */
  readonly factor: number;
  /** Magnitude of the gap, smoothed; negative while nothing was measured. */
  readonly gap: number;
}

export const RESTING: Drive = { factor: 1, gap: -1 };

/** Weight of the newest measurement in the smoothed gap: a batch's own gap is noisy. */
const NEWEST = 0.1;

/**
 * The drive after one more measured gap. The factor changes by at most `rate`, in proportion to how far the smoothed gap is
 * from the target: at twice the target or more it rises by the full rate, at a gap of 0 it falls by it.
 */
export function nextDrive(
  { factor, gap }: Drive,
  measured: number,
  { value, driven }: Pick<WeightConfig, "value"> & { driven: NonNullable<WeightConfig["driven"]> },
): Drive {
  const size = Math.abs(measured);
  const smoothed = Math.fround(gap < 0 ? size : (1 - NEWEST) * gap + NEWEST * size);
  const pressure = Math.min(1, smoothed / driven.target - 1); // -1 at a gap of 0
  const moved = factor * Math.exp(driven.rate * pressure);
  return { factor: Math.fround(Math.max(1, Math.min(driven.max / value, moved))), gap: smoothed };
}
