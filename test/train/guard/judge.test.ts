/** The guard's judgement on histories made by hand: what is an alarm, since when, what is changed, and what is none. */

import { describe, expect, it } from "vitest";
import { type Adjustment, NO_ADJUSTMENT } from "../../../src/config/adjustment.js";
import { guardSchema } from "../../../src/config/schema/guard.js";
import { intervene, type Judgement, judge, type PastAlarm, type Reading } from "../../../src/train/guard/judge.js";
import type { Figures } from "../../../src/train/guard/rules.js";
import * as fc from "../../kit/property.js";

const policy = guardSchema.parse({ window: 10, patience: 3 });
const calm: Figures = {
  "energy/clean": -2,
  "energy/generated": -1.5,
  "guard/energy-square/clean": 6,
  "guard/energy-square/generated": 5,
  "guard/chain-gradient": 0.4,
  "guard/saturation": 0.02,
  "gradient-norm": 2,
  "accuracy/clean": 0.8,
  "accuracy/adversarial": 0.4,
};

/** `length` steps; `at` gives what differs from calm at a step. */
function history(length: number, at: (step: number) => Figures): Reading[] {
  return Array.from({ length }, (_, step) => ({ step, figures: { ...calm, ...at(step) } }));
}

const NO_PAST = { alarms: [] as PastAlarm[], adjustment: NO_ADJUSTMENT };
const from = (onset: number, figures: Figures) => (step: number) => (step >= onset ? figures : {});

function rollback(judgement: Judgement): Extract<Judgement, { kind: "rollback" }> {
  expect(judgement.kind).toBe("rollback");
  return judgement as Extract<Judgement, { kind: "rollback" }>;
}

describe("judge", () => {
  it.each<[string, Figures]>([
    ["energy", { "guard/energy-square/generated": 2000 ** 2 }],
    ["contrast", { "energy/generated": 400 }],
    ["contrast", { "energy/generated": -400 }],
    ["chain-gradient", { "guard/chain-gradient": 20_000 }],
    ["dead-gradient", { "guard/chain-gradient": 0 }],
    ["saturation", { "guard/saturation": 0.7 }],
    ["gradient-norm", { "gradient-norm": 2e6 }],
    ["energy-growth", { "guard/energy-square/generated": 3600 }],
    ["contrast-growth", { "energy/generated": 33 }],
    ["accuracy", { "accuracy/clean": 0.3 }],
    ["catastrophic-overfitting", { "co/pgd-accuracy": 0.05 }],
  ])("%s: bad from step 40 on is an alarm at step 41, and the state before step 37 is trusted", (rule, figures) => {
    const beginning = rule === "catastrophic-overfitting" ? { "co/pgd-accuracy": 0.4 } : {};
    const readings = history(42, (step) => ({ ...beginning, ...from(40, figures)(step) }));
    for (let length = 1; length < 42; length++) expect(judge(readings.slice(0, length), policy, NO_PAST)).toEqual({ kind: "ok" });
    const found = rollback(judge(readings, policy, NO_PAST));
    expect(found).toMatchObject({ rule, goodBefore: 37 });
    expect(found.reason).toMatch(/^step 41: .*\d.*, bad since step 40; alarm 1 of 5$/);
  });

  it("says what it saw in numbers", () => {
    const { reason } = rollback(judge(history(42, from(40, { "energy/generated": 33 })), policy, NO_PAST));
    expect(reason).toBe(
      "step 41: the contrast |E(generated) - E(clean)| is 35, over 30, while it is usually 0.5, bad since step 40; alarm 1 of 5",
    );
  });

  it("one wild reading is none, unless it is a hundred times over its limit", () => {
    expect(judge(history(40, from(39, { "guard/energy-square/generated": 1e9 })), policy, NO_PAST)).toEqual({ kind: "ok" });
    expect(judge(history(40, from(39, { "guard/energy-square/generated": 1e11 })), policy, NO_PAST)).toMatchObject({
      rule: "energy",
      goodBefore: 36,
    });
  });

  it("a gap that a training begins with, and closes, is none", () => {
    const readings = history(100, (step) => ({
      "energy/generated": -200 / (1 + step),
      "guard/energy-square/generated": 20_000 / (1 + step),
    }));
    for (let length = 1; length <= 100; length++) expect(judge(readings.slice(0, length), policy, NO_PAST).kind).toBe("ok");
  });

  it("a slow rise is an alarm whose onset lies where it was half as bad", () => {
    const found = rollback(
      judge(
        history(60, (step) => ({ "guard/saturation": step / 90 })),
        policy,
        NO_PAST,
      ),
    );
    expect(found).toMatchObject({ rule: "saturation", goodBefore: 28 - policy.patience });
  });

  it("steps without chains say nothing, and hide nothing", () => {
    const readings = history(80, from(60, { "guard/saturation": 0.9 })).map(({ step, figures }) => {
      const { "guard/saturation": saturation, ...others } = figures;
      return { step, figures: step % 4 === 0 ? { ...others, "guard/saturation": saturation as number } : others };
    });
    expect(judge(readings.slice(0, 64), policy, NO_PAST).kind).toBe("ok");
    expect(rollback(judge(readings.slice(0, 65), policy, NO_PAST)).goodBefore).toBe(57);
  });

  it("a number that is not finite is an alarm at once, with the onset of what led to it", () => {
    const fault = "loss = NaN";
    const alone = [...history(30, () => ({})), { step: 30, figures: {}, fault }];
    expect(rollback(judge(alone, policy, NO_PAST))).toMatchObject({ rule: "non-finite", goodBefore: 27 });
    const announced = [...history(30, from(26, { "guard/energy-square/generated": 800 ** 2 })), { step: 30, figures: {}, fault }];
    expect(rollback(judge(announced, policy, NO_PAST)).goodBefore).toBe(23);
  });

  it("bad again right after going back goes back further; later trouble does not", () => {
    const past = { alarms: [{ step: 41, restoredStep: 30 }], adjustment: NO_ADJUSTMENT };
    expect(rollback(judge(history(34, from(31, { "guard/saturation": 0.9 })), policy, past)).goodBefore).toBe(28);
    expect(rollback(judge(history(36, from(33, { "guard/saturation": 0.9 })), policy, past)).goodBefore).toBe(29);
    expect(rollback(judge(history(90, from(80, { "guard/saturation": 0.9 })), policy, past)).goodBefore).toBe(77);
  });

  it("after the last allowed alarm it stops, and says what to try", () => {
    const alarms = Array.from({ length: 5 }, (_, i) => ({ step: 10 * i, restoredStep: 5 * i }));
    const found = judge(history(90, from(80, { "guard/saturation": 0.9 })), policy, { ...NO_PAST, alarms });
    expect(found).toMatchObject({ kind: "stop", rule: "saturation", tryThis: expect.stringContaining("sampler.stepSize") });
    expect(found.kind === "stop" && found.reason).toContain("alarm 6, and the guard takes a run back 5 times at most");
  });

  it("is deaf where nothing is out of order, whatever the order of magnitude", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 50, noNaN: true }),
        fc.integer({ min: 1, max: 120 }),
        fc.infiniteStream(fc.double({ min: 0.5, max: 1.5, noNaN: true })),
        (scale, length, noise) => {
          const readings = history(length, () => {
            const factor = scale * (noise.next().value as number);
            return {
              "energy/generated": factor - 2,
              "guard/energy-square/generated": factor ** 2,
              "guard/chain-gradient": factor,
              "gradient-norm": factor,
            };
          });
          expect(judge(readings, policy, NO_PAST)).toEqual({ kind: "ok" });
        },
      ),
    );
  });

  it("trusts no state after the onset, and never one later than the step judged", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 200 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 8 }),
        (onset, duration, patience) => {
          const readings = history(onset + duration, from(onset, { "guard/saturation": 0.9 }));
          const found = judge(readings, { ...policy, patience }, NO_PAST);
          if (duration < (patience + 1) / 2 || readings.length < patience) expect(found.kind).toBe("ok");
          if (found.kind === "rollback") expect(found.goodBefore).toBe(Math.max(0, onset - patience));
        },
      ),
    );
  });
});

describe("interventions", () => {
  const answer = policy.onAlarm;

  it("accumulate up to their bounds: streams, learning rate, Langevin steps, energy-l2", () => {
    const steps: Adjustment[] = [];
    for (let i = 0, now = NO_ADJUSTMENT; i < 3; i++) {
      now = intervene(now, "generative", answer);
      steps.push(now);
    }
    expect(steps).toEqual([
      { salt: 1, lrFactor: 0.5, samplerStepsFactor: 2, attackStepsFactor: 1, energyL2: 0.05 },
      { salt: 2, lrFactor: 0.25, samplerStepsFactor: 4, attackStepsFactor: 1, energyL2: 0.1 },
      { salt: 3, lrFactor: 0.125, samplerStepsFactor: 4, attackStepsFactor: 1, energyL2: 0.2 },
    ]);
  });

  it("answer catastrophic overfitting with a stronger attack", () => {
    expect(intervene(NO_ADJUSTMENT, "overfitting", answer)).toEqual({
      salt: 1,
      lrFactor: 0.5,
      samplerStepsFactor: 1,
      attackStepsFactor: 2,
      energyL2: 0,
    });
  });
});
