/** The curriculum's decision, its AUC against a count over all pairs, and its state through a checkpoint. */

import { describe, expect, it } from "vitest";
import { advanceCurriculum, areaUnderCurve, Curriculum, createCurriculum, FRESH_CURRICULUM } from "../../src/sampler/curriculum.js";
import * as fc from "../kit/property.js";

const options = { auc: 0.8, window: 6, maxSteps: 3 };
const far = { data: Float32Array.of(-3, -2, -4), generated: Float32Array.of(1, 2, 0) };
const mixed = { data: Float32Array.of(1, -1, 3), generated: Float32Array.of(2, -2, 0) };

describe("the area under the curve", () => {
  it("is the share of pairs in which data lies lower, ties counting half", () => {
    const values = fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(values, values, (a, b) => {
        const pairs = a.flatMap((x) => b.map((y): number => (x < y ? 1 : x === y ? 0.5 : 0)));
        const expected = pairs.reduce((sum, v) => sum + v, 0) / pairs.length;
        expect(areaUnderCurve(Float32Array.from(a), Float32Array.from(b))).toBeCloseTo(expected, 12);
      }),
    );
  });
});

describe("the number of steps", () => {
  it("waits for a full window, grows by one where energies tell the kinds apart, and judges the new length afresh", () => {
    const [half, waits] = advanceCurriculum(FRESH_CURRICULUM, far, options);
    expect([half.steps, waits]).toEqual([0, "3 of 6 samples seen at T = 0"]);
    const [grown, why] = advanceCurriculum(half, far, options);
    expect([grown.steps, grown.data.length, grown.generated.length]).toEqual([1, 0, 0]);
    expect(why).toBe("AUC 1.000 at T = 0: T is now 1");
  });

  it("stays where they don't, keeping the latest of the window", () => {
    let state = { ...FRESH_CURRICULUM, steps: 2 };
    let reason = "";
    for (let i = 0; i < 4; i++) [state, reason] = advanceCurriculum(state, mixed, options) as [typeof state, string];
    expect([state.steps, state.data.length]).toEqual([2, 6]);
    expect(reason).toMatch(/^AUC 0.\d+ at T = 2, 0.8 is asked for$/);
  });

  it("ends at the most steps there are", () => {
    let state = { ...FRESH_CURRICULUM, steps: 3 };
    for (let i = 0; i < 3; i++) [state] = advanceCurriculum(state, far, options) as [typeof state, string];
    expect(state.steps).toBe(3);
  });

  it("goes on from a checkpoint exactly as if never interrupted", () => {
    const whole = new Curriculum(options);
    const seen = Array.from({ length: 20 }, (_, i) => (i % 3 === 0 ? mixed : far));
    const history = seen.map((energies, i) => {
      if (i === 7) saved = whole.save().map((part) => ({ ...part, data: part.data.slice() }));
      whole.observe(energies);
      return whole.steps;
    });
    const resumed = new Curriculum(options);
    resumed.restore(saved);
    const rest = seen.slice(7).map((energies) => {
      resumed.observe(energies);
      return resumed.steps;
    });
    expect(rest).toEqual(history.slice(7));
    expect(history.at(-1)).toBeGreaterThan(history[7] as number);
  });
  let saved: ReturnType<Curriculum["save"]> = [];

  it("is absent where none is configured, and says so of a checkpoint without it", () => {
    expect(createCurriculum({ curriculum: null, steps: 20 })).toBeNull();
    expect(() => new Curriculum(options).restore([])).toThrow("no 'curriculum.state'");
  });
});
