import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { type ApgdInput, apgd } from "../../src/attack/apgd.js";
import { checkpoints, createStepControl } from "../../src/attack/apgd-steps.js";
import { startCpu } from "../../src/engine/cpu.js";
import { linearModel } from "../kit/analytic-model.js";
import * as fc from "../kit/property.js";
import { expectNoTensorsLeft } from "../kit/tensors.js";
import { images, keyAt, W0, W1 } from "./kit.js";

const W = [W0, W1, [0.5, 0.5, -2, 1]];
const EPS = 8 / 255;

beforeAll(() => startCpu());
expectNoTensorsLeft();

interface Found {
  readonly values: number[];
  readonly fooled: number[];
  readonly loss: number[];
}

function attacked(rows: readonly (readonly number[])[], labels: readonly number[], options: Partial<ApgdInput> = {}): Found {
  const model = linearModel(W);
  const x = images(rows);
  const { adversarial, fooled, loss } = apgd({
    model,
    x,
    labels: Int32Array.from(labels),
    numClasses: 3,
    norm: "linf",
    eps: EPS,
    steps: 20,
    loss: "cross-entropy",
    key: keyAt(rows.map((_, i) => i)),
    ...options,
  });
  const values = Array.from(adversarial.dataSync());
  tf.dispose([x, adversarial]);
  model.dispose();
  return { values, fooled: Array.from(fooled), loss: Array.from(loss) };
}

describe("the checkpoints of Auto-PGD", () => {
  it("are those of the paper for 100 steps", () => {
    expect(checkpoints(100)).toEqual([22, 41, 57, 70, 80, 87, 93, 99]);
  });

  it("lie within any number of steps, ever closer", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), (steps) => {
        const all = [0, ...checkpoints(steps)];
        const intervals = all.slice(1).map((at, i) => at - (all[i] as number));
        expect(all.at(-1)).toBeLessThanOrEqual(steps);
        for (let i = 1; i < intervals.length; i++) expect(intervals[i]).toBeLessThanOrEqual(intervals[i - 1] as number);
      }),
    );
  });
});

describe("the step of Auto-PGD", () => {
  /** Feeds losses of one sample; returns the step after each. */
  function stepsFor(steps: number, losses: readonly number[]): number[] {
    const control = createStepControl({ numSamples: 1, steps, step: 1 });
    control.begin([0], [0]);
    return losses.map((loss) => {
      control.after([0], [loss]);
      return control.stepSize(0);
    });
  }

  it("stays while the loss rises in more than three of four steps", () => {
    expect(
      stepsFor(
        100,
        Array.from({ length: 22 }, (_, i) => i + 1),
      ).at(-1),
    ).toBe(1);
    // 16 of 22 rises are 72.7 %, 17 are 77.3 %
    const rising = (rises: number): number[] => Array.from({ length: 22 }, (_, i) => (i < rises ? i + 1 : 0 - i));
    expect(stepsFor(100, rising(16)).at(-1)).toBe(0.5);
    expect(stepsFor(100, rising(17)).at(-1)).toBe(1);
  });

  it("is halved at a checkpoint, not before", () => {
    const found = stepsFor(100, new Array<number>(50).fill(-1));
    expect(found[20]).toBe(1);
    expect(found[21]).toBe(0.5);
    expect(found[39]).toBe(0.5);
    expect(found[40]).toBe(0.25);
  });

  it("is halved where the best loss stood still since a checkpoint that did not halve it", () => {
    // First interval rises to 100 and keeps the step. In the second the loss falls once, then rises 18 of 19 times, never above 100.
    const first = Array.from({ length: 22 }, (_, i) => i + 79);
    const second = Array.from({ length: 19 }, (_, i) => i);
    expect(stepsFor(100, [...first, ...second]).slice(-2)).toEqual([1, 0.5]);
  });

  it("goes back to the best point when it is halved", () => {
    const control = createStepControl({ numSamples: 2, steps: 10, step: 1 });
    control.begin([0, 1], [5, 5]);
    control.after([0, 1], [4, 6]);
    expect(control.after([0, 1], [3, 7])).toEqual({ improved: [false, true], back: [true, false] });
    expect([control.highest(0), control.highest(1)]).toEqual([5, 7]);
  });
});

describe("apgd on a linear model", () => {
  const x = [0.5, 0.4, 0.2, 0.3];
  const towards = (k: number): number[] => (W[k] as number[]).map((w, i) => w - ((W[0] as number[])[i] as number));

  it.each(["margin", "dlr"] as const)("reaches the corner that is the Linf optimum of a rival, ascending %s", (loss) => {
    const { values } = attacked([x], [0], { loss, steps: 40 });
    const corner = x.map((v, i) => v + EPS * Math.sign(towards(2)[i] as number));
    corner.forEach((v, i) => {
      expect(values[i]).toBeCloseTo(v, 4);
    });
  });

  it("reaches the L2 optimum: eps along the gradient", () => {
    const { values } = attacked([x], [0], { norm: "l2", eps: 0.1, loss: "margin", steps: 100 });
    const norm = Math.hypot(...towards(2));
    x.forEach((v, i) => {
      expect(values[i]).toBeCloseTo(v + (0.1 * (towards(2)[i] as number)) / norm, 3);
    });
  });

  it("with zero steps returns the start: in Linf one pixel at the edge of the ball, in L2 all of eps", () => {
    const grey = [0.5, 0.5, 0.5, 0.5];
    const linf = attacked([grey], [0], { steps: 0 }).values.map((v) => Math.abs(v - 0.5));
    expect(Math.max(...linf)).toBeCloseTo(EPS, 6);
    const l2 = attacked([grey], [0], { steps: 0, norm: "l2", eps: 0.3 }).values.map((v) => v - 0.5);
    expect(Math.hypot(...l2)).toBeCloseTo(0.3, 6);
  });

  it("returns a misclassified point where it met one, and says so", () => {
    // f_0 - f_2 is small here: the ball crosses the boundary
    const near = [0.5, 0.5, 0.35, 0.1];
    const { values, fooled } = attacked([near, [1, 0, 0, 1]], [0, 0], { loss: "margin" });
    expect(fooled).toEqual([1, 0]);
    const f = W.map((w) => w.reduce((sum, wi, i) => sum + wi * (values[i] as number), 0));
    expect(Math.max(...f)).toBeGreaterThan(f[0] as number);
  });
});

describe("apgd and the batch", () => {
  const sample = fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 });

  it.each(["linf", "l2"] as const)("keeps the budget in %s and pixels in [0,1], whatever the samples", (norm) => {
    fc.assert(
      fc.property(
        fc.array(sample, { minLength: 1, maxLength: 3 }),
        fc.double({ min: 0.001, max: 2, noNaN: true }),
        fc.constantFrom("fooled" as const, "end" as const),
        (rows, eps, until) => {
          const { values } = attacked(
            rows,
            rows.map(() => 1),
            { norm, eps, until, steps: 12 },
          );
          rows.forEach((row, r) => {
            const delta = row.map((v, i) => (values[r * 4 + i] as number) - Math.fround(v));
            const reached = norm === "linf" ? Math.max(...delta.map(Math.abs)) : Math.hypot(...delta);
            expect(reached).toBeLessThanOrEqual(eps * (1 + 1e-5) + 1e-6);
          });
          expect(values.every((v) => v >= 0 && v <= 1)).toBe(true);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("gives a sample the same path alone, among others, and beside samples that are finished early", () => {
    const rows = [
      [0.5, 0.5, 0.35, 0.1],
      [0.9, 0.1, 0.3, 0.8],
      [0.5, 0.5, 0.36, 0.12],
      [0.5, 0.4, 0.6, 0.3],
    ];
    const labels = [0, 0, 0, 0];
    const whole = attacked(rows, labels, { until: "fooled" });
    expect(whole.fooled).toContain(1);
    expect(whole.fooled).toContain(0);
    rows.forEach((row, i) => {
      const alone = attacked([row], [0], { until: "fooled", key: keyAt([i]) });
      expect(alone.fooled[0]).toBe(whole.fooled[i]);
      const toTheEnd = attacked([row], [0], { key: keyAt([i]) });
      expect(toTheEnd.fooled[0]).toBe(whole.fooled[i]);
      if (!whole.fooled[i]) expect(alone.values).toEqual(whole.values.slice(4 * i, 4 * i + 4));
    });
  });
});
