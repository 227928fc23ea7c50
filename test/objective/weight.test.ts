import { describe, expect, it } from "vitest";
import { objectiveSchema } from "../../src/config/schema/objective.js";
import { configSchema } from "../../src/config/schema.js";
import { Drives } from "../../src/objective/drives.js";
import { nextDrive, RESTING, weightAt } from "../../src/objective/weight.js";
import * as fc from "../kit/property.js";

const weightOf = (settings: Record<string, unknown>) => objectiveSchema.parse({ "align-adversarial": settings })["align-adversarial"];

describe("a weight's schedule", () => {
  it("stays at its value where nothing else is said", () => {
    for (const progress of [0, 0.3, 1]) expect(weightAt(weightOf({ value: 2 }), progress)).toBe(2);
  });

  it("rises over its warm-up, after its beginning, and then goes to its end", () => {
    const weight = weightOf({ value: 2, after: 0.2, warmup: 0.2, end: 1 });
    const at = [0, 0.19, 0.2, 0.3, 0.4, 0.7, 1].map((progress) => weightAt(weight, progress));
    for (const [i, expected] of [0, 0, 0, 1, 2, 1.5, 1].entries()) expect(at[i]).toBeCloseTo(expected, 12);
  });

  it("follows a cosine where it is asked to", () => {
    const weight = weightOf({ value: 1, warmup: 0.5, shape: "cosine", end: 0 });
    const at = [0, 0.125, 0.25, 0.5, 0.75, 1].map((progress) => weightAt(weight, progress));
    for (const [i, expected] of [0, (1 - Math.SQRT1_2) / 2, 0.5, 1, 0.5, 0].entries()) expect(at[i]).toBeCloseTo(expected, 12);
  });

  it("has a largest driven weight that is not below its value", () => {
    const settings = { value: 5, driven: { by: "gap/adversarial", target: 0.1, max: 2 } };
    expect(() => weightOf(settings)).toThrow(/largest weight is below/);
  });
});

describe("a weight that a gap drives", () => {
  const driven = { by: "gap/adversarial", target: 0.1, rate: 0.05, max: 8 } as const;
  const settings = { value: 2, driven };

  it("rises by the full rate at twice the target, rests at the target and falls below it", () => {
    const start = { factor: 2, gap: -1 };
    expect(nextDrive(start, 0.2, settings).factor).toBeCloseTo(2 * Math.exp(0.05), 6);
    expect(nextDrive(start, -5, settings).factor).toBeCloseTo(2 * Math.exp(0.05), 6); // either sign, and no faster
    expect(nextDrive(start, 0.1, settings).factor).toBeCloseTo(2, 6);
    expect(nextDrive(start, 0, settings).factor).toBeCloseTo(2 * Math.exp(-0.05), 6);
  });

  it("stays between its value and its largest, whatever is measured", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -10, max: 10, noNaN: true }), { maxLength: 200 }), (gaps) => {
        const drive = gaps.reduce((state, gap) => nextDrive(state, gap, settings), RESTING);
        return drive.factor >= 1 && drive.factor <= 4;
      }),
    );
  });

  it("opens up while a gap is open and comes back when it is closed", () => {
    let drive = RESTING;
    for (let i = 0; i < 100; i++) drive = nextDrive(drive, 1, settings);
    expect(drive.factor).toBe(4);
    for (let i = 0; i < 200; i++) drive = nextDrive(drive, 0.01, settings);
    expect(drive.factor).toBe(1);
  });

  it("goes on from its saved state as if never interrupted", () => {
    const { objective } = configSchema.parse({
      data: { path: "unused" },
      model: { kind: "mlp" },
      objective: { "align-adversarial": settings, contrast: { value: 1, driven: { ...driven, by: "gap/generated" } } },
    });
    const whole = new Drives(objective);
    const gap = (step: number) => ({ "gap/adversarial": Math.sin(step), ...(step % 2 === 0 && { "gap/generated": 0.3 / (step + 1) }) });
    for (let step = 0; step < 7; step++) whole.observe(gap(step));
    const resumed = new Drives(objective);
    resumed.restore(whole.save());
    for (let step = 7; step < 20; step++) {
      whole.observe(gap(step));
      resumed.observe(gap(step));
    }
    expect(resumed.save()).toEqual(whole.save());
    expect(whole.factor("align-adversarial")).toBeGreaterThan(1);
    expect(whole.factor("clean-ce")).toBe(1);
    expect(() => new Drives(objective).restore([])).toThrow(
      /no state of the weight of 'contrast'|no state of the weight of 'align-adversarial'/,
    );
  });
});
