/** Expected costs against examples worked by hand, the bootstrap against the normal approximation, and costs files with mistakes in them. */
import { describe, expect, it } from "vitest";
import { costMatrix, costsSchema, parseCosts } from "../../../src/evaluate/decision/costs.js";
import type { Decisions } from "../../../src/evaluate/decision/decisions.js";
import { breakEven, type CostedModel, expectedCost } from "../../../src/evaluate/decision/expected-cost.js";

const classes = ["good", "scratch", "crack"];

/** [true, decided, band, count] */
const decided = (...cells: [number, number, number, number][]): Decisions => ({ numClasses: 3, numBands: 20, cells });

const costs = costsSchema.parse({
  attackRate: 0.1,
  mistakes: { default: 2, classes: { crack: { default: 50, scratch: 5 } } },
  compute: { default: 3, runs: { robust: 8 } },
});

// 100 clean decisions: 4 good ones taken for scratched (2 each), 1 crack for good (50), 2 cracks for scratches (5): 68 in all.
const standard: CostedModel = {
  name: "standard",
  classes,
  clean: decided([0, 0, 19, 56], [0, 1, 8, 4], [1, 1, 19, 20], [2, 0, 12, 1], [2, 1, 9, 2], [2, 2, 19, 17]),
  attacks: [
    { name: "weak", decisions: decided([0, 0, 19, 10]) },
    // 10 decisions: 4 cracks for good: 200.
    { name: "strong", decisions: decided([0, 0, 19, 6], [2, 0, 19, 4]) },
  ],
};
// 100 clean decisions: 10 good for scratched (20), 2 cracks for good (100): 120. Under attack 1 of 10 cracks for good: 50.
const robust: CostedModel = {
  name: "robust",
  classes,
  clean: decided([0, 0, 19, 50], [0, 1, 8, 10], [1, 1, 19, 20], [2, 0, 12, 2], [2, 2, 19, 18]),
  attacks: [{ name: "strong", decisions: decided([0, 0, 19, 9], [2, 0, 19, 1]) }],
};

describe("expectedCost", () => {
  it("is the sum of what each decision costs, worked by hand", () => {
    const found = expectedCost(standard, costs);
    expect(found.clean).toMatchObject({ mean: 0.68, numSamples: 100, mistakes: 0.07, abstained: 0 });
    expect(found.attacked).toMatchObject({ attack: "strong", index: 1, mean: 20, numSamples: 10, mistakes: 0.4 });
    // 1000 (0.9 * 0.68 + 0.1 * 20) + 3 = 612 + 2000 + 3
    expect(found.perThousand).toBeCloseTo(2615, 9);
    expect(found.interval[0]).toBeLessThan(2615);
    expect(found.interval[1]).toBeGreaterThan(2615);
    // 1000 (0.9 * 1.2 + 0.1 * 5) + 8
    expect(expectedCost(robust, costs).perThousand).toBeCloseTo(1588, 9);
  });

  it("charges abstaining where the model is not sure, right or wrong", () => {
    const careful = costsSchema.parse({ ...costs, abstain: { below: 0.5, cost: 1 } });
    const found = expectedCost(standard, careful);
    // Bands 8 and 9 lie below 0.5: 4 good ones and 2 cracks are looked at (6), 1 crack is let through (50).
    expect(found.clean).toMatchObject({ mean: 0.56, abstained: 0.06, mistakes: 0.01 });
    expect(found.attacked.mean).toBe(20);
  });

  it("names the dearest mistake that was not seen, and how often it may still occur", () => {
    expect(expectedCost(standard, costs).unseen).toMatchObject({ truth: "good", decided: "crack", cost: 2 });
    const { unseen } = expectedCost(robust, costs);
    expect(unseen).toMatchObject({ truth: "crack", decided: "scratch", cost: 5 });
    expect(unseen?.rate).toBeCloseTo(1 - 0.05 ** (1 / 20), 9); // none of 20: (1 - p)^20 = 0.05
  });

  it("has the interval that the spread of the costs gives", () => {
    const n = 4000;
    const wide: CostedModel = {
      ...standard,
      clean: decided([0, 0, 19, 0.8 * n], [0, 1, 19, 0.2 * n]),
      attacks: [{ name: "none", decisions: decided([0, 0, 19, n]) }],
    };
    const { clean } = expectedCost(wide, costs);
    const half = 1.96 * 2 * Math.sqrt((0.2 * 0.8) / n);
    expect(clean.mean).toBeCloseTo(0.4, 12);
    expect(clean.interval[0]).toBeCloseTo(0.4 - half, 2);
    expect(clean.interval[1]).toBeCloseTo(0.4 + half, 2);
    expect(Math.abs((clean.interval[1] - clean.interval[0]) / (2 * half) - 1)).toBeLessThan(0.1);
    expect(expectedCost(wide, costs).interval).toEqual(expectedCost(wide, costs).interval);
  });
});

describe("breakEven", () => {
  it("is the attack rate at which both cost the same", () => {
    const [a, b] = [expectedCost(standard, costs, 0), expectedCost(robust, costs, 1)];
    const found = breakEven(a, b);
    // 680 + 3 + r (20000 - 680) = 1200 + 8 + r (5000 - 1200): r = 525 / 15520
    expect(found.rate).toBeCloseTo(525 / 15520, 12);
    expect(found).toMatchObject({ below: "standard", above: "robust" });
    expect(breakEven(b, a)).toMatchObject({ below: "standard", above: "robust" });
    expect(found.share).toBeGreaterThan(0.5);
    expect(found.interval?.[0]).toBeLessThan(525 / 15520);
    expect(found.interval?.[1]).toBeGreaterThan(525 / 15520);
  });

  it("is none where one model is cheaper at every rate", () => {
    const dear = expectedCost({ ...standard, name: "dear" }, costsSchema.parse({ ...costs, compute: { runs: { dear: 500 } } }), 1);
    expect(breakEven(expectedCost(standard, costs), dear)).toMatchObject({
      rate: null,
      interval: null,
      below: "standard",
      above: "standard",
    });
  });
});

describe("a costs file", () => {
  it("gives the cost of every confusion", () => {
    expect(costMatrix(costs, classes)).toEqual([
      [0, 2, 2],
      [2, 0, 2],
      [50, 5, 0],
    ]);
  });

  it("has defaults, and errors that say where and what", () => {
    expect(parseCosts("attackRate: 0.5\nmistakes: { default: 1 }\n", "c.yaml")).toEqual({
      currency: "units",
      attackRate: 0.5,
      mistakes: { default: 1, classes: {} },
      abstain: null,
      compute: { default: 0, runs: {} },
    });
    const fails = (text: string): unknown => {
      try {
        return parseCosts(text, "c.yaml");
      } catch (error) {
        return error;
      }
    };
    expect(fails("attackRate: 2\nmistakes: { default: 1 }\n")).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("c.yaml:1:13: attackRate"),
    });
    expect(fails("attackrate: 0.1\nmistakes: { default: 1 }\n")).toMatchObject({
      message: expect.stringMatching(/c\.yaml:1:1: unknown key 'attackrate'.*attackRate/),
    });
    expect(fails("attackRate: 0.1\nmistakes: { default: -1 }\n")).toMatchObject({ message: expect.stringContaining("c.yaml:2:22") });
    expect(fails("attackRate: 0.1\nmistakes: { default: 1 }\nabstain: { below: 0.51, cost: 1 }\n")).toMatchObject({
      message: expect.stringContaining("bands of 0.05"),
    });
    expect(() =>
      costMatrix(parseCosts("attackRate: 0\nmistakes: { default: 1, classes: { crak: { good: 2 } } }\n", "c.yaml"), classes),
    ).toThrow(/no class 'crak'.*crack/);
  });
});
