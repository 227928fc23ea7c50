/**
 * Population-based training (Jaderberg et al., "Population based training of neural networks", 2017): a population trains side by
 * side; after each interval a member among the worst share copies the weights of one among the best share (exploit) and changes its
 * settings a little (explore): each number is multiplied or divided by `factor` in turn, each setting drawn anew now and then.
 *
 * The member that has trained least goes next, so members stay within an interval of each other. What is drawn is a function
 * of (seed, member, interval).
 */
import { draws } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { type FinishedJob, type Job, lastJobs, scoreOf } from "../job.js";
import { type Point, pointAt, type Setting, type Space } from "../space.js";
import { type Decision, newTrial, type Schedule, type ScheduleInput } from "./schedule.js";

export interface PbtOptions {
  readonly space: Space;
  readonly seed: bigint;
  readonly population: number;
  /** Epochs between two looks at the population, and of the whole training. */
  readonly interval: number;
  readonly max: number;
  /** Share of the population that copies, and share that is copied. */
  readonly quantile: number;
  readonly factor: number;
  /** Probability that a setting is drawn anew rather than changed a little. */
  readonly resample: number;
}

export function createPbt(options: PbtOptions): Schedule {
  return {
    next(input) {
      const fresh = newTrial(input, { trials: options.population, to: Math.min(options.interval, options.max), observed: [] });
      if (fresh) return fresh;
      const visible = lastJobs(input.visible);
      const ready = [...lastJobs(input.decided).values()]
        .filter((job) => visible.get(job.trial)?.index === job.index && job.to < options.max)
        .sort((a, b) => a.to - b.to || a.trial - b.trial)[0];
      return ready ? goOn(ready, input, options) : null;
    },
  };
}

function goOn(own: Job, input: ScheduleInput, options: PbtOptions): Decision {
  const { trial, point, to: from } = own;
  const to = Math.min(from + options.interval, options.max);
  const ranked = input.visible.filter((job) => job.to === from).sort((a, b) => scoreOf(b.result) - scoreOf(a.result) || a.trial - b.trial);
  const share = Math.floor(options.quantile * ranked.length);
  const place = ranked.findIndex((job) => job.trial === trial);
  if (share === 0 || place < ranked.length - share) {
    return {
      job: { trial, point, from, to, copyOf: null },
      reason: `trial ${trial} is number ${place + 1} of ${ranked.length} and goes on`,
    };
  }
  const draw = draws({ seed: options.seed, purpose: PURPOSE.sweep, step: 3 + Math.round(from / options.interval), position: trial });
  const better = ranked[draw.below(share)] as FinishedJob;
  return {
    job: { trial, point: explore(better.point, draw, options), from, to, copyOf: better.index },
    reason: `trial ${trial} is number ${place + 1} of ${ranked.length} and goes on from trial ${better.trial}`,
  };
}

function explore(point: Point, draw: ReturnType<typeof draws>, { space, factor, resample }: PbtOptions): Point {
  const anew = pointAt(
    space,
    space.map(() => draw.uniform()),
  );
  const changed = space.map(({ path, domain }): [string, Setting] => {
    const redraw = draw.uniform() < resample;
    const up = draw.uniform() < 0.5;
    if (redraw) return [path, anew[path] as Setting];
    if (domain.kind === "choice") {
      const at = domain.values.indexOf(point[path] as Setting) + (up ? 1 : -1);
      return [path, domain.values[Math.max(0, Math.min(domain.values.length - 1, at))] as Setting];
    }
    const moved = (point[path] as number) * (up ? factor : 1 / factor);
    const inside = Math.max(domain.low, Math.min(domain.high, moved));
    return [path, domain.kind === "int" ? Math.round(inside) : inside];
  });
  return Object.fromEntries(changed);
}
