import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { assertInBall, pgd } from "../../src/attack/pgd.js";
import type { AttackConfig } from "../../src/config/schema.js";
import { startCpu } from "../../src/engine/cpu.js";
import { linearModel } from "../kit/analytic-model.js";
import * as fc from "../kit/property.js";
import { expectNoTensorsLeft } from "../kit/tensors.js";
import { images, keyAt, W0, W1 } from "./kit.js";

const BASE: AttackConfig = {
  norm: "linf",
  eps: 8 / 255,
  steps: 10,
  stepSize: 2 / 255,
  start: "uniform",
  target: "cross-entropy",
  restarts: 1,
};
const key = (n: number) => keyAt(Array.from({ length: n }, (_, i) => i));

beforeAll(() => startCpu());
expectNoTensorsLeft();

function attacked(rows: readonly (readonly number[])[], labels: readonly number[], config: AttackConfig): Float32Array {
  const model = linearModel([W0, W1]);
  const x = images(rows);
  const adversarial = pgd({ model, x, labels: Int32Array.from(labels), numClasses: 2, config, key: key(rows.length) });
  const values = adversarial.dataSync<"float32">() as Float32Array;
  tf.dispose([x, adversarial]);
  model.dispose();
  return values;
}

describe("pgd on a linear model", () => {
  const x = [0.5, 0.4, 0.6, 0.3];
  const difference = W1.map((w, i) => w - (W0[i] as number)); // for label 0 the loss grows along w1 - w0

  it.each(["cross-entropy", "margin"] as const)("reaches the corner that is the Linf optimum, ascending %s", (target) => {
    const values = attacked([x], [0], { ...BASE, target });
    x.forEach((v, i) => {
      expect(values[i]).toBeCloseTo(v + BASE.eps * Math.sign(difference[i] as number), 6);
    });
  });

  it("reaches the L2 optimum: eps along the gradient", () => {
    const values = attacked([x], [0], { ...BASE, norm: "l2", eps: 0.25, stepSize: 0.05, steps: 60 });
    const norm = Math.hypot(...difference);
    x.forEach((v, i) => {
      expect(values[i]).toBeCloseTo(v + (0.25 * (difference[i] as number)) / norm, 4);
    });
  });

  it("reaches it however small the gradient is", () => {
    const scale = 1e-25; // its square is zero in float32
    const model = linearModel([W0, W1].map((row) => row.map((w) => w * scale)));
    const clean = images([x]);
    const config: AttackConfig = { ...BASE, norm: "l2", eps: 0.25, stepSize: 0.05, steps: 60 };
    const adversarial = pgd({ model, x: clean, labels: Int32Array.of(0), numClasses: 2, config, key: key(1) });
    const values = adversarial.dataSync();
    x.forEach((v, i) => {
      expect(values[i]).toBeCloseTo(v + (0.25 * (difference[i] as number)) / Math.hypot(...difference), 4);
    });
    tf.dispose([clean, adversarial]);
    model.dispose();
  });

  it("raises the joint energy of the label: -f_y is ascended", () => {
    const values = attacked([x], [0], { ...BASE, target: "joint-energy" });
    x.forEach((v, i) => {
      expect(values[i]).toBeCloseTo(v - BASE.eps * Math.sign(W0[i] as number), 6);
    });
  });

  it("with zero steps from the sample itself changes nothing", () => {
    const values = attacked([x], [0], { ...BASE, steps: 0, start: "zero" });
    x.forEach((v, i) => {
      expect(values[i]).toBe(Math.fround(v));
    });
  });
});

describe("the budget, in pixels", () => {
  const sample = fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 });

  it.each(["linf", "l2"] as const)("is kept in %s for any sample, budget and step, and pixels stay in [0,1]", (norm) => {
    fc.assert(
      fc.property(
        fc.array(sample, { minLength: 1, maxLength: 3 }),
        fc.double({ min: 0.001, max: 2, noNaN: true }),
        fc.double({ min: 0.001, max: 3, noNaN: true }),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        (rows, eps, stepSize, steps, restarts) => {
          // pgd itself asserts the ball; a violation throws
          const values = attacked(
            rows,
            rows.map(() => 1),
            { ...BASE, norm, eps, stepSize, steps, restarts },
          );
          rows.forEach((row, r) => {
            const delta = row.map((v, i) => (values[r * 4 + i] as number) - Math.fround(v));
            const size = norm === "linf" ? Math.max(...delta.map(Math.abs)) : Math.hypot(...delta);
            expect(size).toBeLessThanOrEqual(eps * (1 + 1e-5) + 1e-6);
          });
          expect(values.every((v) => v >= 0 && v <= 1)).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("is asserted: a sample outside the ball or outside [0,1] is a bug that throws", () => {
    tf.tidy(() => {
      const x = images([[0.5, 0.5, 0.5, 0.5]]);
      expect(() => assertInBall(x, images([[0.5, 0.5, 0.5, 0.54]]), BASE)).toThrow(/eps is/);
      expect(() => assertInBall(x, images([[0.5, 0.5, 0.5, 0.53]]), BASE)).not.toThrow();
      expect(() => assertInBall(images([[0, 0, 0, 0]]), images([[-0.01, 0, 0, 0]]), BASE)).toThrow(/pixels/);
    });
  });
});

describe("random starts and restarts", () => {
  it("draw a sample's start from its position, not from its place in the slice", () => {
    const model = linearModel([W0, W1]);
    const rows = [
      [0.5, 0.4, 0.6, 0.3],
      [0.2, 0.9, 0.1, 0.7],
      [0.6, 0.6, 0.6, 0.6],
    ];
    const config = { ...BASE, steps: 0 };
    const run = (part: typeof rows, positions: number[]): number[] => {
      const x = images(part);
      const labels = Int32Array.from(part.map(() => 0));
      const out = pgd({ model, x, labels, numClasses: 2, config, key: { ...key(0), positions: Int32Array.from(positions) } });
      const values = Array.from(out.dataSync());
      tf.dispose([x, out]);
      return values;
    };
    const whole = run(rows, [0, 1, 2]);
    expect([...run(rows.slice(0, 1), [0]), ...run(rows.slice(1), [1, 2])]).toEqual(whole);
    expect(new Set(whole).size).toBe(12);
    model.dispose();
  });

  it("keep the strongest start of each sample", () => {
    // Only the start matters with zero steps: more restarts can't make the attack weaker.
    const model = linearModel([W0, W1]);
    const lossOf = (restarts: number): number => {
      const values = attacked([[0.5, 0.4, 0.6, 0.3]], [0], { ...BASE, steps: 0, restarts });
      const f = [W0, W1].map((w) => w.reduce((sum, wi, i) => sum + wi * (values[i] as number), 0));
      return (f[1] as number) - (f[0] as number);
    };
    const losses = [1, 2, 4, 8, 16].map(lossOf);
    for (let i = 1; i < losses.length; i++) expect(losses[i]).toBeGreaterThanOrEqual((losses[i - 1] as number) - 1e-7);
    expect(losses.at(-1)).toBeGreaterThan(losses[0] as number);
    model.dispose();
  });
});
