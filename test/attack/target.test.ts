/** Each target's head against finite differences of its loss, the loss against its formula, and the direction an attack moves it in. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { pgd } from "../../src/attack/pgd.js";
import { createTarget, type TargetKind } from "../../src/attack/target.js";
import { startCpu } from "../../src/engine/cpu.js";
import { attackConfig, curvedModel, images, keyAt, ROWS } from "./kit.js";

beforeAll(() => startCpu());

const LABELS = Int32Array.of(0, 2, 1, 0);
const KINDS: readonly TargetKind[] = ["cross-entropy", "margin", "kl", "energy", "joint-energy", "cross-entropy-energy", "eb-jdat"];
const LAMBDA = -0.7;

/** The targets' definitions, in float64, from logits of the attacked and of the clean sample. */
const FORMULAS: Record<TargetKind, (f: number[], y: number, clean: number[]) => number> = {
  "cross-entropy": (f, y) => lse(f) - at(f, y),
  margin: (f, y) => Math.max(...f.filter((_, k) => k !== y)) - at(f, y),
  kl: (f, _y, clean) => clean.reduce((sum, c, k) => sum + Math.exp(c - lse(clean)) * (c - lse(clean) - (at(f, k) - lse(f))), 0),
  energy: (f) => -lse(f),
  "joint-energy": (f, y) => -at(f, y),
  "cross-entropy-energy": (f, y) => lse(f) - at(f, y) - LAMBDA * lse(f),
  "eb-jdat": (f, y, clean) =>
    at(f, y) + clean.reduce((sum, c, k) => sum + (c / Math.hypot(...clean) - at(f, k) / Math.hypot(...f)) ** 2, 0),
};
const at = (values: readonly number[], k: number): number => values[k] as number;
const lse = (f: readonly number[]): number => Math.log(f.reduce((sum, v) => sum + Math.exp(v), 0));
const rows = (values: ArrayLike<number>): number[][] => [0, 1, 2, 3].map((i) => [0, 1, 2].map((k) => values[i * 3 + k] as number));

describe.each(KINDS)("the target %s", (kind) => {
  const target = () => {
    const model = curvedModel();
    const x = images(ROWS);
    const config = { target: kind, energyWeight: LAMBDA };
    const made = createTarget({ model, x, labels: LABELS, numClasses: 3, config });
    const clean = rows(model.logits(x).dataSync());
    x.dispose();
    model.dispose();
    return { made, clean };
  };
  const logits = Float32Array.of(0.3, -1, 0.8, 1.2, 0.1, -0.4, -0.5, 0.6, 0.9, 1, -2, 0.2);

  it("has the gradient of its loss: finite differences in float64", () => {
    const { made, clean } = target();
    const gradient = rows(tf.tidy(() => made.ascend(tf.tensor2d(logits, [4, 3])).dataSync()));
    const h = 1e-5;
    rows(logits).forEach((row, i) => {
      row.forEach((_, k) => {
        const value = (d: number) =>
          FORMULAS[kind](
            row.map((v, j) => v + (j === k ? d : 0)),
            LABELS[i] as number,
            clean[i] as number[],
          );
        expect(gradient[i]?.[k]).toBeCloseTo((value(h) - value(-h)) / (2 * h), 4);
      });
    });
    made.dispose();
  });

  it("is as strong as its loss, above all losses where the sample is misclassified", () => {
    const { made, clean } = target();
    const strengths = made.strength(logits);
    rows(logits).forEach((row, i) => {
      const y = LABELS[i] as number;
      const wrong = row.some((v, k) => k !== y && v > (row[y] as number));
      expect((strengths[i] as number) - (wrong ? 1e6 : 0)).toBeCloseTo(FORMULAS[kind](row, y, clean[i] as number[]), 4);
    });
    made.dispose();
  });

  it.each(["ascend", "descend"] as const)("%s moves it that way, sample by sample", (direction) => {
    const model = curvedModel();
    const x = images(ROWS);
    const before = tf.memory().numTensors;
    const config = attackConfig({
      target: kind,
      direction,
      energyWeight: LAMBDA,
      eps: 0.05,
      stepSize: 0.005,
      steps: 20,
      start: "gaussian",
    });
    const adversarial = pgd({ model, x, labels: LABELS, numClasses: 3, config, key: keyAt([0, 1, 2, 3]) });
    expect(tf.memory().numTensors).toBe(before + 1);
    const [clean, moved] = [rows(model.logits(x).dataSync()), rows(model.logits(adversarial).dataSync())];
    const sign = direction === "ascend" ? 1 : -1;
    clean.forEach((row, i) => {
      const value = (f: number[]) => FORMULAS[kind](f, LABELS[i] as number, row);
      // KL to the clean prediction is smallest at the clean sample itself: descending stays there.
      const least = kind === "kl" && direction === "descend" ? -1e-4 : 1e-3;
      expect(sign * (value(moved[i] as number[]) - value(row))).toBeGreaterThan(least);
    });
    tf.dispose([x, adversarial]);
    model.dispose();
  });
});

it("KL has no gradient at the clean sample, so TRADES starts beside it", () => {
  const model = curvedModel();
  const x = images(ROWS);
  const run = (start: string) => {
    const config = attackConfig({ target: "kl", start, steps: 5 });
    const out = pgd({ model, x, labels: LABELS, numClasses: 3, config, key: keyAt([0, 1, 2, 3]) });
    const furthest = tf.max(tf.abs(tf.sub(out, x))).dataSync()[0] as number;
    out.dispose();
    return furthest;
  };
  expect(run("zero")).toBeLessThan(1e-6);
  expect(run("gaussian")).toBeGreaterThan(0.02);
  x.dispose();
  model.dispose();
});
