/**
 * Learning-rate schedules: pure functions of the training's progress in [0,1] to a factor of the base rate.
 *
 * Progress counts in shares of the whole, so one configuration fits any number of steps. `progressOf` takes the middle of a
 * step: then the first step of a warm-up moves the model, and the last one of a decay is not lost.
 */
import type { OptimizerConfig } from "../config/schema.js";

export type Schedule = OptimizerConfig["schedule"];

export function progressOf(step: number, numSteps: number): number {
  return Math.min((step + 0.5) / numSteps, 1);
}

/** The factor of the base learning rate, in [0,1]: a linear warm-up from 0, then what the schedule says. */
export function scheduleFactor(schedule: Schedule, progress: number): number {
  const { warmup } = schedule;
  if (progress < warmup) return progress / warmup;
  switch (schedule.kind) {
    case "constant":
      return 1;
    case "cosine": // half a period, from the end of the warm-up to the end
      return 0.5 * (1 + Math.cos(Math.PI * share(progress, warmup)));
    case "linear": // flat until `hold`, then to zero
      return 1 - share(progress, Math.max(warmup, schedule.hold));
    case "step":
      return schedule.factor ** schedule.at.filter((at) => at <= progress).length;
    default:
      return schedule satisfies never;
  }
}

/** How far progress has come from `from` to 1. */
function share(progress: number, from: number): number {
  return progress <= from ? 0 : Math.min((progress - from) / (1 - from), 1);
}
