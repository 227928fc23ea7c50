/** The signs of catastrophic overfitting on models where they are known, and over workers. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { looksForOverfitting, overfittingFigures } from "../../src/attack/overfitting.js";
import { startCpu } from "../../src/engine/cpu.js";
import type { BoundModel } from "../../src/model/model.js";
import { linearModel } from "../kit/analytic-model.js";
import { attackConfig, curvedModel, images, ROWS, W0, W1 } from "./kit.js";

beforeAll(() => startCpu());

const LABELS = Int32Array.of(0, 1, 1, 0);

function figures(model: BoundModel, positions: readonly number[], overrides: Record<string, unknown> = {}, numClasses = 2) {
  const x = images(positions.map((position) => ROWS[position] as readonly number[]));
  const before = tf.memory().numTensors;
  const result = overfittingFigures({
    model,
    x,
    labels: Int32Array.from(positions, (position) => LABELS[position] as number),
    positions: Int32Array.from(positions),
    total: ROWS.length,
    numClasses,
    config: attackConfig(overrides),
    seed: 3n,
    step: 5,
  });
  expect(tf.memory().numTensors).toBe(before);
  x.dispose();
  return result;
}

describe("the signs of catastrophic overfitting", () => {
  it("a linear model has one gradient direction everywhere, and one step is the whole attack", () => {
    const model = linearModel([W0, W1]);
    const { "co/cosine": cos, "co/fgsm-accuracy": fgsm, "co/pgd-accuracy": pgd } = figures(model, [0, 1, 2, 3]);
    expect(cos).toBeCloseTo(1, 5);
    // By hand: sample i is right under the worst move where its margin exceeds eps |w0 - w1|_1.
    const slope = W0.reduce((sum, w, i) => sum + Math.abs(w - (W1[i] as number)), 0);
    const right = ROWS.filter((row, i) => {
      const f = [W0, W1].map((w) => w.reduce((sum, wk, k) => sum + wk * (row[k] as number), 0)) as [number, number];
      const margin = LABELS[i] === 0 ? f[0] - f[1] : f[1] - f[0];
      return margin > (8 / 255) * slope;
    }).length;
    expect(fgsm).toBe(right / 4);
    expect(pgd).toBe(right / 4);
    model.dispose();
  });

  it("a gradient that turns within the ball shows as a small cosine", () => {
    const [calm, wild] = [curvedModel(1), curvedModel(25)].map((model) => {
      const { "co/cosine": cos } = figures(model, [0, 1, 2, 3], { eps: 0.1 }, 3);
      model.dispose();
      return cos;
    }) as [number, number];
    expect(calm).toBeGreaterThan(0.95);
    expect(wild).toBeLessThan(calm - 0.1);
  });

  it("sums to the same figures however the batch is cut, an empty slice included, and looks at the first samples only", () => {
    const model = curvedModel(5);
    const config = { eps: 0.1, overfitting: { samples: 3 } };
    const whole = figures(model, [0, 1, 2, 3], config, 3);
    const parts = [[0], [1, 2], [3], []].map((positions) => figures(model, positions, config, 3));
    for (const name of ["co/cosine", "co/fgsm-accuracy", "co/pgd-accuracy"] as const) {
      expect(parts.reduce((sum, part) => sum + part[name], 0)).toBeCloseTo(whole[name], 6);
    }
    expect(parts[2]).toEqual({ "co/cosine": 0, "co/fgsm-accuracy": 0, "co/pgd-accuracy": 0 });
    model.dispose();
  });

  it("looks every n-th step, or never", () => {
    const every = (everySteps: number) =>
      [0, 1, 5, 10].filter((step) => looksForOverfitting(attackConfig({ overfitting: { everySteps } }), step));
    expect(every(0)).toEqual([]);
    expect(every(5)).toEqual([0, 5, 10]);
  });
});
