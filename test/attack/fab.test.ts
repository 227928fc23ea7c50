import { beforeAll, describe, expect, it } from "vitest";
import { createBoxProjection } from "../../src/attack/box-projection.js";
import { distanceOf, fab } from "../../src/attack/fab.js";
import { startCpu } from "../../src/engine/cpu.js";
import { linearModel } from "../kit/analytic-model.js";
import * as fc from "../kit/property.js";
import { expectNoTensorsLeft } from "../kit/tensors.js";

beforeAll(() => startCpu());
expectNoTensorsLeft();

const norms = ["linf", "l2"] as const;
/** Multiples of 1/64, so that nothing here is about denormal numbers. */
const number = (min: number, max: number) => fc.integer({ min: 64 * min, max: 64 * max }).map((value) => value / 64);
const numbers = (min: number, max: number) => fc.array(number(min, max), { minLength: 6, maxLength: 6 });

/** What moving each coordinate as far as `t` allows gains, and the move's norm: the optimality conditions, written anew. */
function moved(x: number[], w: number[], excess: number, t: number, norm: "linf" | "l2"): { left: number; size: number } {
  const direction = excess >= 0 ? -1 : 1;
  const d = x.map((xi, i) => {
    const wi = (w[i] as number) * direction;
    if (wi === 0) return 0;
    const room = wi > 0 ? 1 - xi : xi;
    return Math.sign(wi) * Math.min(norm === "linf" ? t : t * Math.abs(wi), room);
  });
  return {
    left: excess + d.reduce((sum, di, i) => sum + di * (w[i] as number), 0),
    size: norm === "linf" ? Math.max(...d.map(Math.abs)) : Math.hypot(...d),
  };
}

describe("the projection onto a hyperplane within the box", () => {
  it.each(norms)("is what bisection finds in %s, and lies on the hyperplane within [0,1]", (norm) => {
    const projection = createBoxProjection(norm, 6);
    fc.assert(
      fc.property(numbers(0, 1), numbers(-3, 3), number(-4, 4), (x, w, excess) => {
        const d = new Float64Array(6);
        const size = projection.project(x, 0, w, 0, excess, d);
        d.forEach((di, i) => {
          expect((x[i] as number) + di).toBeGreaterThanOrEqual(-1e-12);
          expect((x[i] as number) + di).toBeLessThanOrEqual(1 + 1e-12);
        });
        const left = excess + d.reduce((sum, di, i) => sum + di * (w[i] as number), 0);
        const corner = moved(x, w, excess, 1e12, norm).left;
        if (Math.sign(corner) === Math.sign(excess) && Math.abs(corner) > 1e-9) {
          expect(left).toBeCloseTo(corner, 9); // no point of the box is on the hyperplane: the nearest corner
          return;
        }
        expect(Math.abs(left)).toBeLessThan(1e-9);
        let [low, high] = [0, 1];
        while (
          Math.abs(moved(x, w, excess, high, norm).left) > 1e-13 &&
          Math.sign(moved(x, w, excess, high, norm).left) === Math.sign(excess) &&
          high < 1e12
        )
          high *= 2;
        for (let i = 0; i < 200; i++) {
          const middle = (low + high) / 2;
          if (Math.sign(moved(x, w, excess, middle, norm).left) === Math.sign(excess)) low = middle;
          else high = middle;
        }
        expect(size).toBeCloseTo(moved(x, w, excess, high, norm).size, 6);
      }),
      { numRuns: 200 },
    );
  });

  it("moves nothing that the hyperplane does not see", () => {
    const d = new Float64Array(3);
    expect(createBoxProjection("linf", 3).project([0.5, 0.5, 0.5], 0, [0, 2, 0], 0, 0.4, d)).toBeCloseTo(0.2, 12);
    expect([...d]).toEqual([0, -0.2, 0]);
  });

  it("starts where it is told within longer arrays", () => {
    const d = new Float64Array(2);
    expect(createBoxProjection("l2", 2).project([9, 0.5, 0.5], 1, [7, 7, 3, 4], 2, 1, d)).toBeCloseTo(0.2, 12);
    expect([...d]).toEqual([expect.closeTo(-0.12, 12), expect.closeTo(-0.16, 12)]);
  });
});

describe("fab on a linear model", () => {
  const W = [
    [1, -2, 0.5, 3],
    [-1, 1, 0.25, -2],
  ];
  const difference = W[1]?.map((w, i) => w - (W[0]?.[i] as number)) as number[];
  const gapOf = (x: readonly number[]): number => -x.reduce((sum, xi, i) => sum + xi * (difference[i] as number), 0); // f_0 - f_1
  const run = (rows: number[][], norm: "linf" | "l2", eps?: number) => {
    const model = linearModel(W);
    const found = fab({
      model,
      x: Float32Array.from(rows.flat()),
      shape: [2, 2, 1],
      labels: Int32Array.from(rows, () => 0),
      targets: Int32Array.from(rows, () => 1),
      numClasses: 2,
      norm,
      steps: 100,
      ...(eps !== undefined && { eps }),
    });
    model.dispose();
    return found;
  };
  const samples = [
    [0.5, 0.4, 0.6, 0.4],
    [0.6, 0.45, 0.5, 0.35],
  ];

  it.each(norms)("finds the distance to the boundary in %s, in closed form where the box is far", (norm) => {
    const { distance, adversarial } = run(samples, norm);
    samples.forEach((x, i) => {
      const dual = norm === "linf" ? difference.reduce((sum, w) => sum + Math.abs(w), 0) : Math.hypot(...difference);
      const exact = gapOf(x) / dual;
      expect(exact).toBeGreaterThan(0.02);
      expect(distance[i]).toBeGreaterThan(exact * 0.9999);
      expect(distance[i]).toBeLessThan(exact * 1.01);
      const point = adversarial.subarray(4 * i, 4 * i + 4);
      expect(gapOf([...point])).toBeLessThan(0);
      expect(distanceOf(point, Float32Array.from(x), norm)).toBe(distance[i]);
    });
  });

  it("needs a longer way where the box takes part of the short one", () => {
    // The last pixel can only fall by 0.05; the free optimum would take more of it.
    const x = [0.9, 0.1, 0.5, 0.05];
    const free = gapOf(x) / difference.reduce((sum, w) => sum + Math.abs(w), 0);
    const { distance } = run([x], "linf");
    expect(free).toBeGreaterThan(0.05);
    const boxed =
      (gapOf(x) - 5 * 0.05) / (Math.abs(difference[0] as number) + Math.abs(difference[1] as number) + Math.abs(difference[2] as number));
    expect(distance[0]).toBeGreaterThan(boxed * 0.999);
    expect(distance[0]).toBeLessThan(boxed * 1.01);
  });

  it("says infinity and gives the clean sample back where nothing is misclassified", () => {
    const model = linearModel([
      [1, 1, 1, 1],
      [-1, -1, -1, -1],
    ]);
    const x = Float32Array.of(0.5, 0.5, 0.5, 0.5);
    const labels = Int32Array.of(0);
    const { distance, adversarial } = fab({
      model,
      x,
      shape: [2, 2, 1],
      labels,
      targets: Int32Array.of(1),
      numClasses: 2,
      norm: "linf",
      steps: 20,
    });
    expect(distance[0]).toBe(Number.POSITIVE_INFINITY);
    expect([...adversarial]).toEqual([...x]);
    model.dispose();
  });

  it("stops at a sample once a point within the budget is found, and finds the same for it alone", () => {
    const both = run(samples, "linf", 0.5);
    samples.forEach((x, i) => {
      expect(both.distance[i]).toBeLessThanOrEqual(0.5);
      expect(run([x], "linf", 0.5).distance[0]).toBe(both.distance[i]);
    });
  });
});
