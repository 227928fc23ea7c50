/** Schedules by values worked out by hand, and what all of them keep. */

import { describe, expect, it } from "vitest";
import { progressOf, type Schedule, scheduleFactor } from "../../src/optimizer/schedule.js";
import * as fc from "../kit/property.js";

describe("scheduleFactor", () => {
  const table: [string, Schedule, [progress: number, factor: number][]][] = [
    [
      "constant",
      { kind: "constant", warmup: 0 },
      [
        [0, 1],
        [0.5, 1],
        [1, 1],
      ],
    ],
    [
      "constant with warm-up",
      { kind: "constant", warmup: 0.2 },
      [
        [0, 0],
        [0.05, 0.25],
        [0.1, 0.5],
        [0.2, 1],
        [1, 1],
      ],
    ],
    [
      "cosine",
      { kind: "cosine", warmup: 0 },
      [
        [0, 1],
        [1 / 3, 0.75],
        [0.5, 0.5],
        [2 / 3, 0.25],
        [1, 0],
      ],
    ],
    [
      "cosine with warm-up",
      { kind: "cosine", warmup: 0.1 },
      [
        [0.05, 0.5],
        [0.1, 1],
        [0.55, 0.5],
        [1, 0],
      ],
    ],
    [
      "linear",
      { kind: "linear", warmup: 0, hold: 0 },
      [
        [0, 1],
        [0.25, 0.75],
        [1, 0],
      ],
    ],
    [
      "linear with warm-up and hold",
      { kind: "linear", warmup: 0.03, hold: 0.3 },
      [
        [0.015, 0.5],
        [0.03, 1],
        [0.3, 1],
        [0.65, 0.5],
        [1, 0],
      ],
    ],
    [
      "linear with a hold shorter than its warm-up",
      { kind: "linear", warmup: 0.5, hold: 0.1 },
      [
        [0.25, 0.5],
        [0.5, 1],
        [0.75, 0.5],
      ],
    ],
    [
      "linear with a hold to the end",
      { kind: "linear", warmup: 0, hold: 1 },
      [
        [0.5, 1],
        [1, 1],
      ],
    ],
    [
      "step",
      { kind: "step", warmup: 0, at: [0.5, 0.75], factor: 0.1 },
      [
        [0.49, 1],
        [0.5, 0.1],
        [0.74, 0.1],
        [0.75, 0.01],
        [1, 0.01],
      ],
    ],
  ];

  it.each(table)("%s", (_, schedule, points) => {
    for (const [progress, factor] of points) expect(scheduleFactor(schedule, progress)).toBeCloseTo(factor, 12);
  });

  it("stays in [0,1] and never rises after its warm-up", () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const schedules: fc.Arbitrary<Schedule> = fc.oneof(
      fc.record({ kind: fc.constant("constant" as const), warmup: share }),
      fc.record({ kind: fc.constant("cosine" as const), warmup: share }),
      fc.record({ kind: fc.constant("linear" as const), warmup: share, hold: share }),
      fc.record({
        kind: fc.constant("step" as const),
        warmup: share,
        at: fc.array(share),
        factor: fc.double({ min: 0.01, max: 1, noNaN: true }),
      }),
    );
    fc.assert(
      fc.property(schedules, share, share, (schedule, a, b) => {
        const [early, late] = [scheduleFactor(schedule, Math.min(a, b)), scheduleFactor(schedule, Math.max(a, b))];
        expect(early).toBeGreaterThanOrEqual(0);
        expect(late).toBeLessThanOrEqual(1);
        if (Math.min(a, b) >= schedule.warmup) expect(late).toBeLessThanOrEqual(early);
      }),
    );
  });
});

describe("progressOf", () => {
  it("is the middle of a step, so neither a warm-up's first nor a decay's last is lost", () => {
    expect(progressOf(0, 10)).toBe(0.05);
    expect(progressOf(9, 10)).toBe(0.95);
    expect(progressOf(12, 10)).toBe(1);
  });
});
