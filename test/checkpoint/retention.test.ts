/** What may be deleted: properties for all histories, and one by hand. */

import { describe, expect, it } from "vitest";
import { type RetainedEntry, retention } from "../../src/checkpoint/retention.js";
import * as fc from "../kit/property.js";

const histories = fc
  .uniqueArray(fc.record({ step: fc.nat(1000), condition: fc.constantFrom("whole" as const, "torn" as const) }), {
    selector: (entry) => entry.step,
    minLength: 1,
    maxLength: 12,
  })
  .map((entries) => entries.map((entry, index): RetainedEntry => ({ ...entry, sequence: index + 1 })));

describe("retention", () => {
  it("never deletes what was proved good, and of the rest keeps the last whole ones", () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 5 }), fc.nat(), (entries, keepLast, pick) => {
        const provedGood = (entries[pick % entries.length] as RetainedEntry).step;
        const deleted = new Set(retention(entries, { keepLast, provedGood }).map(({ step }) => step));
        expect(deleted.has(provedGood)).toBe(false);
        const whole = entries.filter((entry) => entry.condition === "whole");
        for (const { step } of whole.slice(-keepLast)) expect(deleted.has(step)).toBe(false);
        for (const { step } of whole.slice(0, -keepLast)) expect(deleted.has(step)).toBe(step !== provedGood);
        for (const { step, condition } of entries) if (condition === "torn" && step !== provedGood) expect(deleted.has(step)).toBe(true);
      }),
    );
  });

  it("counts age by the order of saving, not by step", () => {
    const entries: RetainedEntry[] = [
      { step: 900, sequence: 1, condition: "whole" },
      { step: 100, sequence: 2, condition: "whole" },
      { step: 200, sequence: 3, condition: "whole" },
    ];
    expect(retention(entries, { keepLast: 2, provedGood: 200 })).toEqual([
      { step: 900, reason: "step 900 is older than the last 2 checkpoints" },
    ]);
  });

  it("keeps the best few besides, by their score, and says so of the others", () => {
    const scored = [0.9, 0.2, 0.5, 0.2, 0.7].map((score, i): RetainedEntry => ({ step: i, sequence: i, condition: "whole", score }));
    const options = { keepLast: 1, provedGood: 4 };
    expect(retention(scored, { ...options, keepBest: { count: 1, higherIsBetter: false } })).toEqual(
      [0, 1, 2].map((step) => ({ step, reason: `step ${step} is older than the last 1 checkpoints, and not among the best 1` })),
    );
    const highest = retention(scored, { ...options, keepBest: { count: 2, higherIsBetter: true } });
    expect(highest.map(({ step }) => step)).toEqual([1, 2, 3]);
  });

  it("never deletes one of the best, and keeps no more than the last, the best and the one proved good", () => {
    const scored = fc
      .array(
        fc.record({
          condition: fc.constantFrom("whole" as const, "torn" as const),
          score: fc.option(fc.float({ noNaN: true }), { nil: undefined }),
        }),
        {
          minLength: 1,
          maxLength: 12,
        },
      )
      .map((entries) => entries.map((entry, i): RetainedEntry => ({ ...entry, step: 10 * i, sequence: i })));
    fc.assert(
      fc.property(
        scored,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        fc.boolean(),
        (entries, keepLast, count, higherIsBetter) => {
          const provedGood = (entries.at(-1) as RetainedEntry).step;
          const deleted = new Set(
            retention(entries, { keepLast, provedGood, keepBest: { count, higherIsBetter } }).map(({ step }) => step),
          );
          const kept = entries.filter(({ step }) => !deleted.has(step));
          const rated = entries.filter(({ condition, score }) => condition === "whole" && score !== undefined);
          const lost = rated.filter(({ step }) => deleted.has(step)).map(({ score }) => score as number);
          const best = rated.map(({ score }) => score as number).sort((a, b) => (higherIsBetter ? b - a : a - b));
          for (const score of lost)
            expect(higherIsBetter ? score <= (best[count - 1] as number) : score >= (best[count - 1] as number)).toBe(true);
          expect(kept.length).toBeLessThanOrEqual(keepLast + count + 1);
        },
      ),
    );
  });
});
