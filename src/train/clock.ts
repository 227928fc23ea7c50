/** Where a step's time goes: milliseconds of each phase, measured by laps. */

/** All that a training thread can be at, in a step and between two. */
export const PHASES = [
  "starting",
  "idle",
  "load",
  "heal",
  "offer",
  "wait",
  "data",
  "attack",
  "sample",
  "neighbours",
  "gradient",
  "reduce",
  "vote",
  "update",
  "save",
] as const;

export type Phase = (typeof PHASES)[number];

export interface PhaseClock {
  /** Ends the phase under way and begins another. */
  begin(phase: Phase): void;
  /** Another phase in the midst of the one under way, if there is one, which goes on after it. */
  within<Result>(phase: Phase, work: () => Result): Result;
  /** Ends the phase under way; none follows it until `begin`. */
  pause(): void;
  /** Ends the last phase and returns all of them. */
  finish(): Record<string, number>;
}

/** `announce` is told of each phase as it begins. */
export function createPhaseClock(announce: (phase: Phase) => void, now: () => number = () => performance.now()): PhaseClock {
  const phases: Record<string, number> = {};
  let current: { name: Phase; since: number } | undefined;
  const end = (at: number): void => {
    if (current) phases[current.name] = (phases[current.name] ?? 0) + at - current.since;
    current = undefined;
  };
  const begin = (phase: Phase): void => {
    const at = now();
    end(at);
    current = { name: phase, since: at };
    announce(phase);
  };
  return {
    begin,
    within(phase, work) {
      const outer = current;
      begin(phase);
      try {
        return work();
      } finally {
        if (outer) begin(outer.name);
        else end(now());
      }
    },
    pause: () => end(now()),
    finish() {
      end(now());
      return phases;
    },
  };
}
