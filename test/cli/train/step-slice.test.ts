/** A step in small and what it says of the whole: pure arithmetic. */

import { describe, expect, it } from "vitest";
import { stepCases } from "../../../bench/step/cases.js";
import { flopsPerStep } from "../../../bench/step/measure.js";
import {
  configOfStep,
  extrapolate,
  type MeasuredStep,
  nextStep,
  operationsOfStep,
  type StepSize,
  smallestStep,
  wholeStep,
} from "../../../src/cli/train/step-slice.js";
import type { ViewName } from "../../../src/objective/view.js";
import { chunksOf } from "../../../src/train/micro-batch.js";
import * as fc from "../../kit/property.js";
import { smallConfig } from "../../kit/small-run.js";

const views: ReadonlySet<ViewName> = new Set(["clean", "adversarial", "generated"]);
const config = smallConfig({
  sampler: { chains: 60, bufferSize: 600, steps: 3, every: 1, start: "uniform" },
  data: { path: "unused", batchSize: 100 },
});
const whole = wholeStep(config, views);

/** What a machine takes whose phases have a fixed part and one for each sample, chain or row. */
function machine(fixed: number, each: number): (size: StepSize) => MeasuredStep {
  return (size) => ({
    size,
    tookMs: 0,
    phasesMs: {
      attack: fixed + each * size.samples,
      sample: fixed + each * size.chains,
      gradient: fixed + each * (2 * size.samples + size.chains),
      update: fixed,
    },
  });
}

describe("a step in small", () => {
  it("tells a linear machine's whole step exactly from two sizes, and bounds it from one", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 100, noNaN: true }),
        fc.double({ min: 0.01, max: 50, noNaN: true }),
        fc.integer({ min: 2, max: 40 }),
        (fixed, each, factor) => {
          const at = machine(fixed, each);
          const first = smallestStep(config, whole);
          const second = { samples: factor * first.samples, chains: factor * first.chains };
          const truth = Object.values(at(whole).phasesMs).reduce((sum, ms) => sum + ms, 0);
          expect(extrapolate([at(first), at(second)], whole, config, views).totalMs / truth).toBeCloseTo(1, 9);
          expect(extrapolate([at(first)], whole, config, views).totalMs).toBeGreaterThanOrEqual(truth * (1 - 1e-12));
          expect(extrapolate([at(whole)], whole, config, views).totalMs / truth).toBeCloseTo(1, 12);
        },
      ),
    );
  });

  it("stays between the larger step and it in proportion, whatever the noise", () => {
    const ms = fc.double({ min: 0, max: 1000, noNaN: true });
    fc.assert(
      fc.property(ms, ms, (small, large) => {
        const sizes = [
          { samples: 1, chains: 1 },
          { samples: 4, chains: 4 },
        ] as const;
        const measured = [small, large].map((attack, i) => ({ size: sizes[i] as StepSize, phasesMs: { attack }, tookMs: 0 }));
        const { totalMs } = extrapolate(measured, whole, config, views);
        expect(totalMs).toBeGreaterThanOrEqual(large);
        expect(totalMs).toBeLessThanOrEqual(large * 25 * (1 + 1e-12));
      }),
    );
  });

  it("counts chains as often as they are advanced", () => {
    const seldom = { ...config, sampler: { ...config.sampler, every: 4 } };
    const at = machine(0, 1);
    const every = extrapolate([at(whole)], whole, config, views).phasesMs;
    expect(extrapolate([at(whole)], whole, seldom, views).phasesMs).toEqual({ ...every, sample: 15, gradient: 215 });
  });

  it("fits the time that is left, warm-up included, or is not taken", () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 1e5, noNaN: true }), (leftMs) => {
        const at = machine(3, 2);
        const first = at(smallestStep(config, whole));
        const next = nextStep(first, whole, leftMs);
        const cost = (size: StepSize) => 2 * Object.values(at(size).phasesMs).reduce((sum, ms) => sum + ms, 0);
        if (next === null) expect(leftMs).toBeLessThan(2 * cost(first.size));
        else expect(cost(next)).toBeLessThanOrEqual(leftMs);
      }),
    );
    expect(nextStep(machine(1, 1)(whole), whole, 1e9)).toBeNull();
    expect(nextStep(machine(1, 1)({ samples: 1, chains: 1 }), whole, 1e9)).toEqual(whole);
  });

  it("keeps the inner loops, the buffer's depth and the chunks of the whole step", () => {
    const chunked = { ...config, memory: { microBatch: 32 } };
    for (const samples of [2, 10, 100]) {
      const small = configOfStep(chunked, { samples, chains: 6 });
      expect([small.attack.steps, small.sampler.steps, small.sampler.bufferSize]).toEqual([config.attack.steps, 3, 60]);
      expect(chunksOf(2 * samples, small.memory.microBatch).length).toBeGreaterThan(1);
    }
    const grouped = smallConfig({
      data: { path: "unused", batchSize: 64 },
      model: { kind: "convnet", stages: [{ channels: 8 }], norm: { kind: "ghost-batch", groupSize: 16 } },
      sampler: { chains: 32, start: "uniform" },
      memory: { microBatch: 32 },
    });
    expect(smallestStep(grouped, wholeStep(grouped, views))).toEqual({ samples: 16, chains: 16 });
    expect(configOfStep(grouped, { samples: 48, chains: 16 }).memory.microBatch).toBe(16);
    expect(wholeStep(config, new Set<ViewName>(["clean"]))).toEqual({ samples: 100, chains: 0 });
  });

  it("counts the operations that the step benchmark counts", () => {
    for (const stepCase of stepCases) {
      const size = wholeStep(stepCase.config, views);
      expect(operationsOfStep(stepCase.config, size, views, 1000)).toBe(flopsPerStep(stepCase, 1000));
    }
  });
});
