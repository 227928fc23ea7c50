/** Attacks, samplers' moves and gradients by the input of an update, on every engine against the reference engine. */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { createAttack } from "../../src/attack/attack.js";
import { overfittingFigures } from "../../src/attack/overfitting.js";
import { configSchema } from "../../src/config/schema.js";
import { createModel } from "../../src/model/create.js";
import { moveOf } from "../../src/sampler/moves.js";
import { relativeDistance } from "../kit/close.js";
import { testedEngines, titleOn } from "../kit/engines.js";
import { attackConfig, keyAt } from "./kit.js";

const SHAPE = [8, 8, 3] as const;
const N = 5;
const LABELS = Int32Array.of(0, 1, 2, 3, 0);
const pixels = Float32Array.from({ length: N * 192 }, (_, i) => Math.abs((Math.sin(i * 12.9898) * 43758.5453) % 1));
const model = createModel(
  configSchema.shape.model.parse({
    kind: "convnet",
    stages: [{ channels: 6, stride: 2 }, { channels: 8 }],
    norm: { kind: "group", groups: 2 },
  }),
  SHAPE,
  4,
);

const ATTACKS = {
  // In L2: so near the clean sample the gradient is small, and in Linf the sign of a pixel's may be rounding error.
  "pgd, kl, gaussian start": { target: "kl", start: "gaussian", startNoise: 0.05, norm: "l2", eps: 0.5, stepSize: 0.2, steps: 2 },
  "pgd, L2, restarts": { norm: "l2", eps: 0.5, stepSize: 0.2, steps: 3, restarts: 2, target: "margin" },
  "pgd, not projected": { project: false, target: "eb-jdat", steps: 2 },
  "fgsm-rs": { kind: "fgsm-rs" },
  "n-fgsm": { kind: "n-fgsm", target: "cross-entropy-energy" },
};

/** All results on the current engine, by name. */
function compute(): Record<string, Float32Array> {
  const results: Record<string, Float32Array> = {};
  const keep = (name: string, tensor: tf.Tensor): void => {
    results[name] = Float32Array.from(tensor.dataSync());
    tensor.dispose();
  };
  const parameters = tf.tensor1d(model.initial(3n));
  const bound = model.bind(parameters, "fp32");
  const x = tf.tensor4d(pixels.slice(), [N, ...SHAPE]);
  for (const [name, overrides] of Object.entries(ATTACKS)) {
    const config = attackConfig(overrides);
    const attack = createAttack(config);
    if (attack.kind === "craft")
      keep(name, attack.craft({ model: bound, x, labels: LABELS, numClasses: 4, config, key: keyAt([0, 1, 2, 3, 4]) }));
  }
  for (const kind of ["free", "yopo"]) {
    const attack = createAttack(attackConfig({ kind, norm: kind === "yopo" ? "l2" : "linf", eps: 0.3 }));
    if (attack.kind !== "replay") throw new Error(kind);
    const begun = attack.replay.begin(x, keyAt([0, 1, 2, 3, 4]));
    const pass = bound.forward(begun);
    const dLogits = tf.tidy(() => tf.sub(tf.softmax(pass.logits), 0.25)) as tf.Tensor2D;
    const gradient = new Float32Array(model.numParameters);
    const dx = pass.backwardToInput(dLogits, gradient);
    keep(`${kind}, moved`, attack.replay.advance(x, begun, dx));
    // The same as the pass that gives the input gradient alone.
    const alone = bound.inputGradient(begun, () => dLogits.clone());
    expect(relativeDistance(dx.dataSync(), alone.gradient.dataSync())).toBeLessThan(1e-5);
    results[`${kind}, gradient`] = gradient;
    tf.dispose([begun, pass.logits, dLogits, dx, alone.logits, alone.gradient]);
  }
  const { gradient, logits } = bound.inputGradient(x, (f) => tf.neg(tf.softmax(f)));
  for (const kind of ["sgld", "proximal", "dat"] as const) {
    keep(
      kind,
      tf.tidy(() => moveOf(gradient as Tensor4D, { kind, innerSteps: 3, stepSize: 0.5, clampGradient: 0.01 })),
    );
  }
  const positions = Int32Array.of(0, 1, 2, 3, 4);
  const figures = overfittingFigures({
    model: bound,
    x,
    labels: LABELS,
    positions,
    total: N,
    numClasses: 4,
    config: attackConfig(),
    seed: 1n,
    step: 0,
  });
  results.overfitting = Float32Array.from(Object.values(figures));
  tf.dispose([parameters, x, gradient, logits]);
  bound.dispose();
  return results;
}

const engines = await testedEngines();
let expected: Record<string, Float32Array> = {};

beforeAll(async () => {
  await engines.find(({ name }) => name === "cpu")?.use();
  expected = compute();
});

describe.each(engines)("$name", (engine) => {
  it.skipIf(engine.missing !== null)(titleOn(engine, "gives what the reference engine gives, and frees the rest"), async () => {
    await engine.use();
    const before = tf.memory().numTensors;
    const results = compute();
    expect(tf.memory().numTensors).toBe(before);
    for (const [name, values] of Object.entries(expected))
      expect(relativeDistance(results[name] as Float32Array, values), name).toBeLessThan(1e-4);
  });
});
