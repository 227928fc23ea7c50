/** What may be deleted: properties for all histories, and one by hand. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RetainedEntry, retention } from "../../src/checkpoint/retention.js";

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
});
