/**
 * The asynchronous successive halving algorithm, ASHA (Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht & Talwalkar, "A system for
 * massively parallel hyperparameter tuning", MLSys 2020, Algorithm 2).
 *
 * Rung r trains to min * reduction^r, the last to max. Whenever there is room: look at the rungs from the top down; in the first
 * that has a trial among its best 1/reduction that is not promoted yet, promote it; if there is none, begin a new trial in rung 0.
 */
import { type FinishedJob, scoreOf } from "../job.js";
import { type Decision, newTrial, type Schedule, type ScheduleInput } from "./schedule.js";

export interface AshaOptions {
  readonly trials: number;
  /** eta: one in so many is promoted. */
  readonly reduction: number;
  /** Epochs of the lowest and of the highest rung. */
  readonly min: number;
  readonly max: number;
  /** Results of one rung that a searcher needs before it is told of them rather than of a lower rung's. */
  readonly enough: number;
}

/** Epochs of each rung, ascending; the last is `max`. */
export function rungsOf({ reduction, min, max }: Pick<AshaOptions, "reduction" | "min" | "max">): readonly number[] {
  const rungs: number[] = [];
  for (let epochs = min; epochs < max; epochs *= reduction) rungs.push(epochs);
  return [...rungs, max];
}

export function createAsha(options: AshaOptions): Schedule {
  const rungs = rungsOf(options);
  return {
    next(input) {
      const byRung = rungs.map((to) => input.visible.filter((job) => job.to === to));
      return (
        promotion(input, rungs, byRung, options.reduction) ??
        newTrial(input, { trials: options.trials, to: rungs[0] as number, observed: bestKnown(byRung, options.enough) })
      );
    },
  };
}

function promotion(
  input: ScheduleInput,
  rungs: readonly number[],
  byRung: readonly (readonly FinishedJob[])[],
  reduction: number,
): Decision | null {
  for (let rung = rungs.length - 2; rung >= 0; rung--) {
    const finished = byRung[rung] as readonly FinishedJob[];
    const from = rungs[rung] as number;
    const to = rungs[rung + 1] as number;
    const room = Math.floor(finished.length / reduction);
    const promoted = new Set(input.decided.filter((job) => job.to === to).map((job) => job.trial));
    const best = [...finished].sort((a, b) => scoreOf(b.result) - scoreOf(a.result) || a.index - b.index).slice(0, room);
    const candidate = best.find((job) => !promoted.has(job.trial) && job.result.kind === "value");
    if (!candidate) continue;
    const place = best.indexOf(candidate) + 1;
    return {
      job: { trial: candidate.trial, point: candidate.point, from, to, copyOf: null },
      reason: `trial ${candidate.trial} is number ${place} of ${finished.length} after ${from} epochs; the best ${room} go on to ${to}`,
    };
  }
  return null;
}

/** What a searcher learns from: the highest rung with enough results, since values of different rungs can't be compared. */
function bestKnown(byRung: readonly (readonly FinishedJob[])[], enough: number): readonly FinishedJob[] {
  for (let rung = byRung.length - 1; rung > 0; rung--) {
    const finished = byRung[rung] as readonly FinishedJob[];
    if (finished.length >= enough) return finished;
  }
  return byRung[0] ?? [];
}
