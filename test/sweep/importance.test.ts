/** The functional analysis of variance against closed forms: of hand-made trees exactly, of forests on known functions closely. */

import { describe, expect, it } from "vitest";
import { draws } from "../../src/engine/random/philox.js";
import { growForest } from "../../src/sweep/importance/forest.js";
import { type Importance, importanceOf, type Judged, MIN_TRIALS } from "../../src/sweep/importance/importance.js";
import { growTree, type Leaf, predict, type Tree } from "../../src/sweep/importance/tree.js";
import { valueAt, varianceOf } from "../../src/sweep/importance/variance.js";
import { createSobol } from "../../src/sweep/search/sobol.js";
import { createSpace, pointAt, type Space, unitOf } from "../../src/sweep/space.js";
import * as fc from "../kit/property.js";

const drawFor = (position: number) => draws({ seed: 5n, purpose: 200, step: 0, position });
const unitSpace = (numAxes: number): Space =>
  createSpace(Object.fromEntries(Array.from({ length: numAxes }, (_, i) => [`x${i}`, { uniform: [0, 1] as [number, number] }])));

/** A function at the first Sobol points of a space. */
function judge(space: Space, n: number, f: (u: readonly number[]) => number): Judged[] {
  const sobol = createSobol(space, { seed: 3n });
  return Array.from({ length: n }, (_, i) => {
    const point = sobol.propose(i, []) ?? {};
    return { point, value: f(unitOf(space, point)) };
  });
}

function told(space: Space, judged: readonly Judged[], seed = 1n): Importance {
  const answer = importanceOf(space, judged, { seed });
  if (answer.kind !== "told") throw new Error(answer.reason);
  return answer;
}

/** A tree that has one value in each cell of a grid. */
function gridTree(cells: readonly number[], f: (index: readonly number[]) => number): Tree {
  const leaves: Leaf[] = [];
  const walk = (index: readonly number[]): void => {
    const axis = index.length;
    if (axis < cells.length) {
      for (let k = 0; k < (cells[axis] as number); k++) walk([...index, k]);
      return;
    }
    const edge = (by: number) => index.map((k, i) => (k + by) / (cells[i] as number));
    leaves.push({ low: edge(0), high: edge(1), value: f(index) });
  };
  walk([]);
  return leaves;
}

describe("the variance of a tree", () => {
  it("is that of its axes and pairs, by hand on two by two cells", () => {
    // f = 3 [x>=1/2] + [y>=1/2] + 2 [both]: cells 0, 1, 3, 6
    const tree = gridTree([2, 2], ([x = 0, y = 0]) => 3 * x + y + 2 * x * y);
    const { mean, total, single, pairs, marginals } = varianceOf(tree, { pairs: "with" });
    expect(mean).toBeCloseTo(2.5, 12);
    expect(total).toBeCloseTo((2.5 ** 2 + 1.5 ** 2 + 0.5 ** 2 + 3.5 ** 2) / 4, 12);
    // a_x is 1/2 and 9/2, a_y is 3/2 and 7/2; the rest is +-1/2
    expect(single[0]).toBeCloseTo(4, 12);
    expect(single[1]).toBeCloseTo(1, 12);
    expect(pairs[0]?.[0]).toBeCloseTo(0.25, 12);
    expect(valueAt(marginals[0] ?? { edges: [], values: [] }, 0.2)).toBeCloseTo(0.5, 12);
    expect(valueAt(marginals[0] ?? { edges: [], values: [] }, 1)).toBeCloseTo(4.5, 12);
  });

  it("adds up over all sets of axes, and equals an average over a fine grid, for trees grown from anything", () => {
    const row = fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: -9, max: 9 }),
    );
    fc.assert(
      fc.property(fc.array(row, { minLength: 4, maxLength: 30 }), fc.nat(1000), (rows, seed) => {
        const points = rows.map(([x, y]) => [x, Math.min(7, Math.floor(y * 8)) / 8 + 1 / 16]);
        const values = rows.map(([, , y]) => y);
        const all = points.map((_, i) => i);
        const tree = growTree(points, values, all, drawFor(seed), { axesTried: 2, minLeaf: 1, parts: [null, 8] });
        const { mean, total, single, pairs } = varianceOf(tree, { pairs: "with" });
        expect((single[0] ?? 0) + (single[1] ?? 0) + (pairs[0]?.[0] ?? 0)).toBeCloseTo(total, 9);
        // By way of predictions on the rectangles that the leaves' edges make.
        const edges = [0, 1].map((axis) =>
          [...new Set(tree.flatMap(({ low, high }) => [low[axis] as number, high[axis] as number]))].sort((a, b) => a - b),
        );
        let average = 0;
        let square = 0;
        for (let i = 1; i < (edges[0]?.length ?? 0); i++) {
          for (let j = 1; j < (edges[1]?.length ?? 0); j++) {
            const [x0, x1, y0, y1] = [edges[0]?.[i - 1], edges[0]?.[i], edges[1]?.[j - 1], edges[1]?.[j]] as [
              number,
              number,
              number,
              number,
            ];
            const value = predict(tree, [(x0 + x1) / 2, (y0 + y1) / 2]);
            average += (x1 - x0) * (y1 - y0) * value;
            square += (x1 - x0) * (y1 - y0) * value ** 2;
          }
        }
        expect(mean).toBeCloseTo(average, 9);
        expect(total).toBeCloseTo(square - average ** 2, 8);
      }),
      {
        numRuns: 60,
        examples: [
          // Leaves whose volume is no number any more, between two neighbours.
          [
            [
              [5e-324, 0, 0],
              [0, 0.125, 0],
              [0, 0, 0],
              [0, 0, 0],
              [0, 0, 0],
              [0, 0, -1],
            ],
            0,
          ],
        ],
      },
    );
  });
});

describe("the variance of a function", () => {
  // Ishigami and Homma (1990), a = 7, b = 0.1: S1 = 0.3139, S2 = 0.4424, S3 = 0, S13 = 0.2437, all else 0 (Sobol' indices in closed form).
  it("of Ishigami and Homma is its Sobol' indices, by a tree on many points", () => {
    const space = unitSpace(3);
    const angle = (u = 0) => Math.PI * (2 * u - 1);
    const judged = judge(
      space,
      8192,
      ([x, y, z]) => Math.sin(angle(x)) + 7 * Math.sin(angle(y)) ** 2 + 0.1 * angle(z) ** 4 * Math.sin(angle(x)),
    );
    const tree = growTree(
      judged.map(({ point }) => unitOf(space, point)),
      judged.map(({ value }) => value),
      judged.map((_, i) => i),
      drawFor(2),
      { axesTried: 3, minLeaf: 1, parts: [null, null, null] },
    );
    const { total, single, pairs } = varianceOf(tree, { pairs: "with" });
    expect(total).toBeCloseTo(7 ** 2 / 8 + (0.1 * Math.PI ** 4) / 5 + (0.1 ** 2 * Math.PI ** 8) / 18 + 0.5, 0);
    for (const [i, expected] of [0.3139, 0.4424, 0].entries())
      expect(Math.abs((single[i] as number) / total - expected)).toBeLessThan(0.04);
    expect(Math.abs((pairs[0]?.[1] as number) / total - 0.2437)).toBeLessThan(0.03);
    expect((pairs[0]?.[0] as number) / total).toBeLessThan(0.02);
    expect((pairs[1]?.[0] as number) / total).toBeLessThan(0.02);
  });
});

describe("a tree", () => {
  it("gives back what it was grown from when nothing is left out, and cuts choices only between them", () => {
    const points = [0, 1, 2, 3, 4].flatMap((k) => [0.1, 0.6].map((x) => [x, (k + 0.5) / 5]));
    const values = points.map(([x = 0, y = 0]) => 10 * x + (y > 0.5 ? 3 : 0) + y);
    const tree = growTree(
      points,
      values,
      points.map((_, i) => i),
      drawFor(1),
      { axesTried: 2, minLeaf: 1, parts: [null, 5] },
    );
    for (const [i, point] of points.entries()) expect(predict(tree, point)).toBeCloseTo(values[i] as number, 12);
    for (const { low, high } of tree) {
      for (const edge of [low[1], high[1]]) expect(((edge as number) * 5) % 1).toBeCloseTo(0, 12);
    }
    expect(
      tree.reduce((sum, { low, high }) => sum + ((high[0] as number) - (low[0] as number)) * ((high[1] as number) - (low[1] as number)), 0),
    ).toBeCloseTo(1, 12);
  });
});

describe("importance", () => {
  // f = sum a_i x_i: V_i = a_i^2 / 12, no pair has a part.
  it("of a weighted sum is the weights' squares", () => {
    const space = unitSpace(3);
    const { settings, pairs, outOfBagR2 } = told(
      space,
      judge(space, 256, ([x = 0, y = 0, z = 0]) => 3 * x + 2 * y + 1 * z),
    );
    for (const [i, expected] of [9 / 14, 4 / 14, 1 / 14].entries()) expect(settings[i]?.share).toBeCloseTo(expected, 1);
    expect(pairs[0]?.share).toBeLessThan(0.03);
    expect(outOfBagR2).toBeGreaterThan(0.9);
    expect(settings.every(({ share, chance }) => share > chance)).toBe(true);
  });

  // f = (x - 1/2)(y - 1/2) + c x: V_x = c^2/12, V_y = 0, V_xy = 1/144.
  it("of a product is its pair's", () => {
    const space = unitSpace(2);
    const { settings, pairs } = told(
      space,
      judge(space, 400, ([x = 0, y = 0]) => (x - 0.5) * (y - 0.5) + x / 6),
    );
    const total = 1 / 432 + 1 / 144;
    expect(settings[0]?.share).toBeCloseTo(1 / 432 / total, 1);
    expect(settings[1]?.share).toBeLessThan(0.06);
    expect(pairs[0]?.share).toBeCloseTo(1 / 144 / total, 1);
    expect(pairs[0]?.paths).toEqual(["x0", "x1"]);
  });

  it("of settings of every kind is told in their own measure: a power law in the logarithm, a choice by its parts", () => {
    const space = createSpace({ lr: { "log-uniform": [1e-4, 1e-1] }, steps: { int: [1, 6] }, kind: { choice: ["a", "b", "c", "d"] } });
    const judged = judge(space, 300, () => 0).map(({ point }) => ({
      point,
      value: Math.log10(point.lr as number) + (point.kind === "c" ? 2 : 0),
    }));
    const { settings } = told(space, judged);
    const [lr, choice] = [9 / 12, 4 * (1 / 4) * (3 / 4)]; // variances of a uniform on [-4, -1], and of 2 [c]
    expect(settings[0]?.share).toBeCloseTo(lr / (lr + choice), 1);
    expect(settings[1]?.share).toBeLessThan(0.03);
    expect(settings[2]?.share).toBeCloseTo(choice / (lr + choice), 1);
    expect(settings[2]?.effect.map(({ u }) => u)).toEqual([0.125, 0.375, 0.625, 0.875]);
    const [a = 0, b = 0, c = 0] = settings[2]?.effect.map(({ mean }) => mean) ?? [];
    expect(c - a).toBeCloseTo(2, 0);
    expect(Math.abs(a - b)).toBeLessThan(0.3);
  });

  it("does not tell a pattern from values that have none, and says that the forest knows nothing", () => {
    const space = unitSpace(4);
    let above = 0;
    for (let round = 0; round < 5; round++) {
      const noise = drawFor(300 + round);
      const { settings, outOfBagR2 } = told(
        space,
        judge(space, 24, () => noise.uniform()),
        BigInt(round),
      );
      above += settings.filter(({ share, chance }) => share > chance).length;
      expect(outOfBagR2).toBeLessThan(0.3);
    }
    expect(above).toBeLessThanOrEqual(4); // of 20 at 5 %
  });

  it("finds the one setting that matters among five with 24 trials", () => {
    const space = unitSpace(5);
    const noise = drawFor(400);
    const { settings } = told(
      space,
      judge(space, 24, ([, , x = 0]) => (x - 0.3) ** 2 + 0.02 * noise.uniform()),
    );
    expect(settings.filter(({ share, chance }) => share > chance).map(({ path }) => path)).toEqual(["x2"]);
    expect(settings[2]?.low).toBeLessThan(settings[2]?.share ?? 0);
  });

  it("is the same each time, and untold for too few trials or equal values", () => {
    const space = unitSpace(2);
    const judged = judge(space, 12, ([x = 0]) => x);
    expect(importanceOf(space, judged, { seed: 1n })).toEqual(importanceOf(space, judged, { seed: 1n }));
    expect(importanceOf(space, judged.slice(0, MIN_TRIALS - 1), { seed: 1n }).kind).toBe("untold");
    expect(
      importanceOf(
        space,
        judge(space, 20, () => 1),
        { seed: 1n },
      ),
    ).toEqual({ kind: "untold", reason: "all trials have the same value" });
    expect(pointAt(space, [0.5, 0.5])).toEqual({ x0: 0.5, x1: 0.5 });
  });

  it("tells from rows that no tree has seen how much a forest knows", () => {
    const points = Array.from({ length: 60 }, (_, i) => [(i + 0.5) / 60]);
    const options = { seed: 1n, numTrees: 40, stream: 0, parts: [null], minLeaf: 2 };
    expect(
      growForest(
        points,
        points.map(([x = 0]) => Math.sin(6 * x)),
        options,
      ).outOfBagR2,
    ).toBeGreaterThan(0.95);
    const noise = drawFor(500);
    expect(
      growForest(
        points,
        points.map(() => noise.uniform()),
        options,
      ).outOfBagR2,
    ).toBeLessThan(0.2);
    expect(
      growForest(
        points,
        points.map(() => 1),
        options,
      ).outOfBagR2,
    ).toBeNull();
  });
});
