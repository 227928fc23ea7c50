import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { MAX_SOBOL_DIMENSIONS, sobolPoint } from "../../src/sweep/search/sobol.js";
import { createSpace, gridOf, pointAt, unitOf } from "../../src/sweep/space.js";
import { createStrategy, sweepSchema } from "../../src/sweep/spec.js";
import * as fc from "../kit/property.js";
import { hasPyTorch, pyTorchNote, runPyTorch } from "../kit/pytorch.js";
import { simulate, valued } from "./simulate.js";

const space = createSpace({
  "optimizer.lr": { "log-uniform": [1e-4, 1e-1] },
  "attack.steps": { int: [1, 4] },
  "data.augment.flip": [true, false],
  "optimizer.momentum": { uniform: [0.5, 1] },
});

describe("a space", () => {
  it("comes back from the unit cube and stays inside its domains", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 4, maxLength: 4 }), (u) => {
        const point = pointAt(space, u);
        const again = pointAt(space, unitOf(space, point));
        expect(again["attack.steps"]).toBe(point["attack.steps"]);
        expect(again["data.augment.flip"]).toBe(point["data.augment.flip"]);
        expect(again["optimizer.lr"]).toBeCloseTo(point["optimizer.lr"] as number, 9);
        expect(point["optimizer.lr"]).toBeGreaterThanOrEqual(1e-4);
        expect(point["optimizer.lr"]).toBeLessThanOrEqual(1e-1);
        expect([1, 2, 3, 4]).toContain(point["attack.steps"]);
      }),
    );
  });

  it("takes whole numbers and ends into a grid", () => {
    expect(gridOf({ kind: "int", low: 1, high: 9 }, 3)).toEqual([1, 5, 9]);
    expect(gridOf({ kind: "int", low: 1, high: 2 }, 5)).toEqual([1, 2]);
    const logarithmic = gridOf({ kind: "log-uniform", low: 1e-3, high: 1e-1 }, 3) as number[];
    for (const [i, expected] of [1e-3, 1e-2, 1e-1].entries()) expect(logarithmic[i]).toBeCloseTo(expected, 12);
  });
});

describe("searchers", () => {
  const base = { experiment: "quickstart", space: { a: { uniform: [0, 1] }, b: { uniform: [0, 1] } } };

  it("grid: every combination once, then no more", () => {
    const { searcher } = createStrategy(
      sweepSchema.parse({ ...base, space: { a: [1, 2, 3], b: ["x", "y"] }, search: { kind: "grid" } }),
      1,
    );
    const points = Array.from({ length: 7 }, (_, i) => searcher.propose(i, []));
    expect(points[6]).toBeNull();
    expect(new Set(points.slice(0, 6).map((point) => JSON.stringify(point))).size).toBe(6);
  });

  it("random: a function of seed and index alone", () => {
    const of = (seed: number) => createStrategy(sweepSchema.parse({ ...base, seed, search: { kind: "random", trials: 9 } }), 1).searcher;
    expect(of(1).propose(5, [])).toEqual(of(1).propose(5, [{ point: { a: 0, b: 0 }, value: 1 }]));
    expect(of(1).propose(5, [])).not.toEqual(of(2).propose(5, []));
    expect(of(1).propose(5, [])).not.toEqual(of(1).propose(6, []));
  });

  it.runIf(hasPyTorch)(`sobol: the points of PyTorch's SobolEngine in all dimensions${pyTorchNote}`, () => {
    const count = 64;
    const script = fileURLToPath(new URL("./sobol_reference.py", import.meta.url));
    const reference = runPyTorch(script, { dimensions: MAX_SOBOL_DIMENSIONS, count }) as number[][];
    const ours = Array.from({ length: count }, (_, i) => sobolPoint(i, MAX_SOBOL_DIMENSIONS));
    for (const [i, point] of reference.entries()) for (const [d, u] of point.entries()) expect(ours[i]?.[d], `${i} ${d}`).toBeCloseTo(u, 8);
  });

  it("sobol: any 2^k points put one into each 2^-k slice of each axis, shifted or not", () => {
    const shift = Uint32Array.from({ length: 7 }, (_, i) => (i + 1) * 0x9e3779b9);
    for (let axis = 0; axis < 7; axis++) {
      const slices = Array.from({ length: 32 }, (_, i) => Math.floor((sobolPoint(i, 7, shift)[axis] as number) * 32));
      expect([...slices].sort((a, b) => a - b)).toEqual(Array.from({ length: 32 }, (_, i) => i));
    }
  });

  it("tpe finds a known optimum closer than random search with the same number of trials, in most of 20 studies", () => {
    const best = (search: object, seed: number): number => {
      const spec = sweepSchema.parse({
        ...base,
        space: { a: { uniform: [0, 1] }, b: { uniform: [0, 1] }, c: ["u", "v", "w"] },
        seed,
        search,
      });
      // The optimum 0 lies at a = .3, b = .8, c = v.
      const judge = (p: Readonly<Record<string, unknown>>) =>
        valued(-(((p.a as number) - 0.3) ** 2) - ((p.b as number) - 0.8) ** 2 - (p.c === "v" ? 0 : 0.2));
      const jobs = simulate({ strategy: createStrategy(spec, 1), parallel: 2, judge });
      return Math.max(...jobs.map((job) => (job.result?.kind === "value" ? job.result.value : -9)));
    };
    let wins = 0;
    const tpe: number[] = [];
    for (let seed = 1; seed <= 20; seed++) {
      const own = best({ kind: "tpe", trials: 60 }, seed);
      tpe.push(own);
      if (own > best({ kind: "random", trials: 60 }, seed)) wins++;
    }
    expect(wins).toBeGreaterThanOrEqual(15);
    // 60 trials bring the median study within 0.05 of the optimum in each coordinate.
    expect(tpe.sort((a, b) => a - b)[10]).toBeGreaterThan(-0.005);
  });
});
