/** What the guard's adjustments do to a configuration, and what they leave alone. */

import { expect, it } from "vitest";
import { adjustConfig, describeAdjustment, NO_ADJUSTMENT, streamSeed } from "../../src/config/adjustment.js";
import * as fc from "../kit/property.js";
import { smallConfig } from "../kit/small-run.js";

const adjustment = { salt: 2, lrFactor: 0.25, samplerStepsFactor: 4, attackStepsFactor: 2, energyL2: 0.1 };

it("changes the named keys and no others", () => {
  const before = smallConfig();
  const after = adjustConfig(before, adjustment);
  expect(after.optimizer).toEqual({ ...before.optimizer, lr: before.optimizer.lr / 4 });
  expect(after.sampler).toEqual({ ...before.sampler, steps: before.sampler.steps * 4 });
  expect(after.attack).toEqual({ ...before.attack, steps: before.attack.steps * 2 });
  expect(after.objective).toEqual({ ...before.objective, "energy-l2": { ...before.objective["energy-l2"], value: 0.1 } });
  for (const key of ["seed", "epochs", "data", "model", "precision", "checkpoint", "evaluate", "guard"] as const)
    expect(after[key]).toBe(before[key]);
});

it("a weight that is larger already stays; no adjustment is the configuration itself", () => {
  const before = smallConfig({ objective: { "clean-ce": 1, contrast: 1, "energy-l2": 0.5 } });
  expect(adjustConfig(before, adjustment).objective).toBe(before.objective);
  expect(adjustConfig(before, NO_ADJUSTMENT)).toBe(before);
});

it("salt 0 is the seed; other salts give other seeds of 64 bits", () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.uniqueArray(fc.nat(1000), { minLength: 2, maxLength: 20 }),
      (seed, salts) => {
        expect(streamSeed(seed, { salt: 0 })).toBe(seed);
        const seeds = salts.map((salt) => streamSeed(seed, { salt }));
        expect(new Set(seeds).size).toBe(salts.length);
        for (const one of seeds) expect(one >= 0n && one < 2n ** 64n).toBe(true);
      },
    ),
  );
});

it("is told in words", () => {
  expect(describeAdjustment(NO_ADJUSTMENT)).toBe("nothing changed");
  expect(describeAdjustment(adjustment)).toBe(
    "learning rate x 0.25, Langevin steps x 4, attack steps x 2, energy-l2 at least 0.1, random streams redrawn 2 times",
  );
});
