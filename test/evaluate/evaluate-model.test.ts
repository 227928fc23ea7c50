/**
 * An evaluation against closed forms. The classifier is linear with weights by hand: logits are +-s for s = sum of the left
 * half's pixels minus the right half's, so robust accuracy, energies and gaps under Linf attacks can be written down.
 */

import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { attackSchema } from "../../src/config/schema/attack.js";
import { modelSchema } from "../../src/config/schema/model.js";
import type { AttackConfig } from "../../src/config/schema.js";
import { createMemorySamples } from "../../src/data/samples.js";
import { startCpu } from "../../src/engine/cpu.js";
import { fillUniform } from "../../src/engine/random/philox.js";
import { confusionOf, type Decisions } from "../../src/evaluate/decision/decisions.js";
import { type EvaluateModelInput, evaluateModel } from "../../src/evaluate/evaluate-model.js";
import { createModel } from "../../src/model/create.js";

beforeAll(() => startCpu());

const SIDE = 4;
const LEVELS = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 20, 30, 40]; // how far from grey, in 1/255
const EPS = 8 / 255;
const GAIN = 0.25; // logit 0 = GAIN * sum, logit 1 = minus that

const model = createModel(modelSchema.parse({ kind: "mlp", hidden: [], input: { mean: [0], std: [1] } }), [SIDE, SIDE, 1], 2);
const weights = new Float32Array(model.numParameters);
for (let pixel = 0; pixel < SIDE * SIDE; pixel++) {
  const sign = pixel % SIDE < SIDE / 2 ? 1 : -1;
  weights[pixel * 2] = GAIN * sign;
  weights[pixel * 2 + 1] = -GAIN * sign;
}

/** Label 0 is brighter on the left, 1 on the right. */
const images = new Uint8Array(2 * LEVELS.length * SIDE * SIDE);
const labels = new Int32Array(2 * LEVELS.length);
for (let i = 0; i < labels.length; i++) {
  labels[i] = i % 2;
  const level = (LEVELS[i >> 1] as number) * (i % 2 === 0 ? 1 : -1);
  for (let pixel = 0; pixel < SIDE * SIDE; pixel++) images[i * SIDE * SIDE + pixel] = 120 + (pixel % SIDE < SIDE / 2 ? level : -level);
}
const test = createMemorySamples({ shape: { height: SIDE, width: SIDE, channels: 1 }, numClasses: 2, samples: { images, labels } });

const attack = (overrides: Record<string, unknown> = {}): AttackConfig =>
  attackSchema.parse({ steps: 10, stepSize: "2/255", eps: "8/255", ...overrides });

function input(overrides: Partial<EvaluateModelInput> = {}): EvaluateModelInput {
  return {
    model,
    weights: { kind: "last", flat: weights },
    test,
    seed: 5n,
    numSamples: labels.length,
    attacks: [attack()],
    chains: {
      count: 9,
      steps: 4,
      sampler: { stepSize: 0.1, noise: 0.01, clampGradient: null },
      start: fillUniform,
      precision: "fp32",
    },
    buffer: null,
    ...overrides,
  };
}

const energyAt = (sum: number): number => -Math.log(Math.exp(GAIN * sum) + Math.exp(-GAIN * sum));
const sumOf = (level: number): number => (SIDE * SIDE * level) / 255;

describe("evaluateModel", () => {
  it("measures what can be written down: robust accuracy, energies and gaps of a linear classifier", async () => {
    const { evaluation } = await evaluateModel(input(), { batchSize: 8 });
    expect(evaluation.clean).toMatchObject({ correct: labels.length, total: labels.length });
    // An attack moves every pixel by eps against the label: samples further than eps from grey survive.
    const numRobust = 2 * LEVELS.filter((level) => level / 255 > EPS).length;
    expect(evaluation.attacks[0]?.accuracy).toMatchObject({ correct: numRobust, total: labels.length });
    expect(evaluation.worstCase).toBeNull();
    // What was decided is kept, and is what the accuracies count.
    expect(confusionOf(evaluation.decisions as Decisions)).toEqual([
      [LEVELS.length, 0],
      [0, LEVELS.length],
    ]);
    const half = numRobust / 2;
    expect(confusionOf(evaluation.attacks[0]?.decisions as Decisions)).toEqual([
      [half, LEVELS.length - half],
      [LEVELS.length - half, half],
    ]);

    const clean = Array.from(labels, (_, i) => energyAt(sumOf(LEVELS[i >> 1] as number)));
    const adversarial = Array.from(labels, (_, i) => energyAt(sumOf((LEVELS[i >> 1] as number) - 8)));
    for (const [i, energy] of evaluation.energies.clean.entries()) expect(energy).toBeCloseTo(clean[i] as number, 5);
    for (const [i, energy] of evaluation.energies.adversarial.entries()) expect(energy).toBeCloseTo(adversarial[i] as number, 5);
    const meanDifference = adversarial.reduce((sum, energy, i) => sum + energy - (clean[i] as number), 0) / labels.length;
    expect(evaluation.gaps.adversarial?.signedMean).toBeCloseTo(meanDifference, 5);
    expect(evaluation.gaps.buffer).toBeNull();
  });

  it.each([
    ["linf", EPS],
    ["l2", 0.3],
  ] as const)("keeps every attacked sample within eps in %s, and uses the budget", async (norm, eps) => {
    const { evaluation } = await evaluateModel(input({ attacks: [attack({ norm, eps, stepSize: eps / 3 })] }), { batchSize: 64 });
    const { largestDistance } = evaluation.attacks[0] as { largestDistance: number };
    expect(largestDistance).toBeLessThanOrEqual(eps + 1e-6);
    expect(largestDistance).toBeGreaterThan(0.95 * eps);
  });

  it("gives the same whatever the size of a batch", async () => {
    const attacks = [attack({ steps: 1, stepSize: "1/255" }), attack({ target: "margin", steps: 1, stepSize: "1/255" })];
    const whole = await evaluateModel(input({ attacks }), { batchSize: 1000 });
    for (const batchSize of [1, 5]) {
      const cut = await evaluateModel(input({ attacks }), { batchSize });
      for (const kind of ["clean", "adversarial", "generated"] as const) {
        const expected = whole.evaluation.energies[kind];
        expect(cut.evaluation.energies[kind]).toHaveLength(expected.length);
        for (const [i, energy] of cut.evaluation.energies[kind].entries()) expect(energy).toBeCloseTo(expected[i] as number, 5);
      }
      expect(cut.evaluation.attacks.map((one) => one.accuracy)).toEqual(whole.evaluation.attacks.map((one) => one.accuracy));
      expect([...cut.generatedClasses]).toEqual([...whole.generatedClasses]);
    }
  });

  it("counts a sample as robust only when it survives every attack", async () => {
    const weak = attack({ steps: 0, start: "zero" });
    const { evaluation } = await evaluateModel(input({ attacks: [weak, attack()] }), { batchSize: 64 });
    expect(evaluation.attacks[0]?.accuracy.correct).toBe(labels.length);
    expect(evaluation.worstCase?.correct).toBe(evaluation.attacks[1]?.accuracy.correct);
  });

  it("draws chains that descend the energy and stay in [0,1]", async () => {
    const chains = { ...input().chains, count: 16, steps: 30, sampler: { stepSize: 0.1, noise: 0, clampGradient: null } };
    const { evaluation, generated } = await evaluateModel(input({ chains }), { batchSize: 7 });
    const still = await evaluateModel(input({ chains: { ...chains, steps: 0 } }), { batchSize: 7 });
    for (const [i, energy] of evaluation.energies.generated.entries())
      expect(energy).toBeLessThan(still.evaluation.energies.generated[i] as number);
    expect(Math.min(...generated.data)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...generated.data)).toBeLessThanOrEqual(1);
  });

  it("stops where energies are no numbers, ends on an abort, and leaves no tensor behind", async () => {
    const before = tf.memory().numTensors;
    await evaluateModel(input(), { batchSize: 8 });
    await expect(
      evaluateModel(input({ weights: { kind: "last", flat: weights.map(() => Number.NaN) } }), { batchSize: 8 }),
    ).rejects.toMatchObject({ code: "DIVERGED" });
    const abort = new AbortController();
    const seen: string[] = [];
    const onProgress = ({ what }: { what: string }): void => {
      seen.push(what);
      if (what.startsWith("attack")) abort.abort(new Error("enough"));
    };
    await expect(evaluateModel(input(), { batchSize: 8, signal: abort.signal, onProgress })).rejects.toThrow("enough");
    expect(seen.at(-1)).toBe("attack PGD-10, cross-entropy");
    expect(tf.memory().numTensors).toBe(before);
  });
});
