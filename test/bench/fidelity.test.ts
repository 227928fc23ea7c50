/** The comparison of methods: its cells can be configured, its table says what the cells say, its verdicts follow their rule. */

import { describe, expect, it } from "vitest";
import { allCells, configOf, DATASETS, fingerprint, METHODS, REFERENCE } from "../../bench/fidelity/cells.js";
import { markdownOf } from "../../bench/fidelity/markdown.js";
import type { CellFigures, CellResult, GapFigures } from "../../bench/fidelity/results.js";
import { differenceOf, spreadOf, Table } from "../../bench/fidelity/summary.js";
import { decide, factorBelow, pointsAbove, together } from "../../bench/fidelity/verdicts.js";
import * as fc from "../kit/property.js";

const gap = (over: Partial<GapFigures>): GapFigures => ({
  signed: -1,
  absolute: 1,
  wasserstein: 1,
  wassersteinOverStd: 1,
  stdClean: 1,
  ...over,
});

function cell(method: string, seed: number, figures: Partial<CellFigures> | null, over: Partial<CellResult> = {}): CellResult {
  const base: CellFigures = {
    clean: 0.5,
    pgd20: 0.3,
    apgd: 0.25,
    adversarial: gap({}),
    generated: gap({ absolute: null }),
    buffer: null,
    frechetFresh: 100,
    frechetBuffer: null,
  };
  return {
    dataset: "mnist",
    method,
    seed,
    fingerprint: "",
    engine: "",
    trainSeconds: 10,
    evaluateSeconds: 1,
    imagesPerSecond: 1,
    numImages: 1,
    alarms: [],
    failure: figures ? null : "training: it diverged",
    figures: figures && { ...base, ...figures },
    ...over,
  };
}

describe("cells", () => {
  it.each(DATASETS.flatMap(({ name: dataset }) => [REFERENCE, ...METHODS.map(({ name }) => name)].map((method) => ({ dataset, method }))))(
    "$dataset/$method has a configuration of its own",
    ({ dataset, method }) => {
      const config = configOf({ dataset, method, seed: 2 });
      expect(config.data.path).toBe(`data/${dataset}`);
      // The released code's attack has no ball; it starts from half the radius.
      expect(config.attack.eps).toBeCloseTo(config.evaluate.attack.eps * (method === "eb-jdat-as-released" ? 0.5 : 1), 12);
      if (method !== REFERENCE) expect(config.seed).toBe(2);
    },
  );

  it("of one seed come before those of the next; each has another fingerprint", () => {
    const cells = allCells(2);
    expect(cells).toHaveLength(2 * DATASETS.length * METHODS.length);
    expect(cells.findIndex(({ seed }) => seed === 2)).toBe(cells.length / 2);
    expect(new Set(cells.map(fingerprint)).size).toBe(cells.length);
  });

  it("of all methods train on the same number of images, in batches of one size", () => {
    for (const { name: dataset } of DATASETS) {
      const sizes = METHODS.map(({ name: method }) => {
        const { epochs, data } = configOf({ dataset, method, seed: 1 });
        return `${epochs} ${data.subset} ${data.batchSize}`;
      });
      expect(new Set(sizes).size).toBe(1);
    }
  });
});

describe("summary", () => {
  it("mean, deviation and one-sided bounds of Student's t", () => {
    expect(spreadOf([1, 2, 6])).toEqual({ n: 3, mean: 3, std: Math.sqrt(7) });
    const { low, high } = differenceOf([1, 2, 6]);
    expect(low).toBeCloseTo(3 - (2.92 * Math.sqrt(7)) / Math.sqrt(3), 12);
    expect(high).toBeCloseTo(3 + (2.92 * Math.sqrt(7)) / Math.sqrt(3), 12);
    expect(differenceOf([1])).toMatchObject({ low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY });
  });

  it("pairs by seed and leaves failed cells out", () => {
    const table = new Table([cell("a", 1, { clean: 0.9 }), cell("a", 2, { clean: 0.8 }), cell("b", 2, { clean: 0.5 }), cell("b", 1, null)]);
    expect(table.differences("a", "b", ({ clean }) => clean)).toEqual([0.8 - 0.5]);
    expect(table.values("b", ({ clean }) => clean)).toEqual([0.5]);
  });
});

describe("verdicts", () => {
  const apgd = ({ apgd: value }: CellFigures): number => value;
  const table = (a: readonly number[], b: readonly number[]): Table =>
    new Table([
      ...a.map((value, i) => cell("a", i + 1, { apgd: value, frechetFresh: value })),
      ...b.map((value, i) => cell("b", i + 1, { apgd: value, frechetFresh: value })),
    ]);

  it("a clear difference is shown, its opposite refuted, one within its spread or of one seed undecided", () => {
    expect(pointsAbove(table([0.3, 0.31, 0.3], [0.2, 0.2, 0.21]), "APGD", "a", "b", apgd, 0).verdict).toBe("shown");
    expect(pointsAbove(table([0.2, 0.2, 0.21], [0.3, 0.31, 0.3]), "APGD", "a", "b", apgd, 0).verdict).toBe("refuted");
    expect(pointsAbove(table([0.3, 0.2, 0.4], [0.29, 0.3, 0.2]), "APGD", "a", "b", apgd, 0).verdict).toBe("undecided");
    expect(pointsAbove(table([0.9], [0.1]), "APGD", "a", "b", apgd, 0).verdict).toBe("undecided");
    expect(pointsAbove(table([0.9], []), "APGD", "a", "b", apgd, 0)).toEqual({
      verdict: "undecided",
      because: "APGD: no seed has both a and b",
    });
  });

  it("a margin allows a loss", () => {
    const lost = table([0.28, 0.281, 0.28], [0.3, 0.3, 0.301]);
    expect(pointsAbove(lost, "APGD", "a", "b", apgd, -3).verdict).toBe("shown");
    expect(pointsAbove(lost, "APGD", "a", "b", apgd, -1).verdict).toBe("refuted");
    expect(pointsAbove(lost, "APGD", "a", "b", apgd, -3).because).toMatch(
      /^APGD: a 28\.0 %, b 30\.0 %: -2\.0 points, 95 % bounds -2\.\d and -1\.\d, margin -3\.0, 3 seeds$/,
    );
  });

  it("factors are compared on a logarithmic scale", () => {
    const smaller = table([1, 2, 4], [10, 20, 41]);
    expect(factorBelow(smaller, "d", "a", "b", apgd, 1 / 5)).toMatchObject({
      verdict: "shown",
      because: expect.stringContaining("0.0992 times"),
    });
    expect(factorBelow(smaller, "d", "a", "b", apgd, 1 / 20).verdict).toBe("refuted");
    expect(factorBelow(smaller, "d", "b", "a", apgd, 1).verdict).toBe("refuted");
  });

  it("never contradict: a difference that is shown one way is not shown the other way", () => {
    const values = fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(values, values, (a, b) => {
        const there = pointsAbove(table(a, b), "APGD", "a", "b", apgd, 0).verdict;
        const back = pointsAbove(table(a, b), "APGD", "b", "a", apgd, 0).verdict;
        expect([there, back]).not.toEqual(["shown", "shown"]);
        if (there === "shown") expect(back).toBe("refuted");
      }),
    );
  });

  it("of several parts: all must hold, and one that fails refutes", () => {
    expect(together(["shown", "shown"])).toBe("shown");
    expect(together(["shown", "undecided"])).toBe("undecided");
    expect(together(["undecided", "refuted"])).toBe("refuted");
  });

  it("every claim gets one, from no cells at all too", () => {
    for (const { verdict, because } of decide(new Table([]))) {
      expect(verdict).toBe("undecided");
      expect(because.length).toBeGreaterThan(0);
    }
  });
});

it("the table shows means and deviations, failures and alarms", () => {
  const text = markdownOf([
    cell("standard", 1, { clean: 0.7 }),
    cell("standard", 2, { clean: 0.74 }),
    cell("jem", 1, null, { alarms: ["step 3: too much"] }),
  ]);
  expect(text).toContain("| standard | 72.0 ± 2.8 | 30.0 ± 0 | 25.0 ± 0 | -1 ± 0; 1 ± 0; 1 ± 0 | -1 ± 0; 1 ± 0 |");
  expect(text).toContain("- jem, seed 1: training: it diverged");
  expect(text).toMatch(/\| jem \|.*\| 1 \| 10 \|/);
});
