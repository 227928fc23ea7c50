/** What every model promises: one answer by each way, no more kept than needed, nothing left behind, every sample on its own. */

import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { modelSchema } from "../../src/config/schema/model.js";
import { createModel } from "../../src/model/create.js";
import { crossEntropyHead, energyHead, targetsOf } from "../../src/model/heads.js";
import type { Model } from "../../src/model/model.js";
import { relativeError } from "../kit/close.js";
import { testedEngines, titleOn } from "../kit/engines.js";
import { dot, normalValues, slope } from "./finite-differences.js";

const SHAPE = [5, 4, 3] as const;
const CLASSES = 4;
const LABELS = [0, 3, 1];

const configs = {
  convnet: { kind: "convnet", stages: [{ channels: 6, stride: 2 }, { channels: 8 }] },
  "convnet with group norm": { kind: "convnet", stages: [{ channels: 4, stride: 2 }, { channels: 8 }], norm: { kind: "group", groups: 2 } },
  "wide-resnet": { kind: "wide-resnet", depth: 10, width: 1 },
  "wide-resnet with group norm": { kind: "wide-resnet", depth: 10, width: 1, norm: "group", activation: "gelu" },
  mlp: { kind: "mlp", hidden: [10, 7] },
};
const models = Object.entries(configs).map(([title, raw]): [string, Model] => [title, createModel(modelSchema.parse(raw), SHAPE, CLASSES)]);

/** Values with no zeros among them, so that every path carries a signal. */
const valuesOf = (model: Model): Float32Array => {
  const noise = normalValues(model.numParameters, 8, 0.05);
  return model.initial(1n).map((v, i) => v + (noise[i] as number));
};

const images = (numSamples: number): Float32Array => normalValues(numSamples * 60, 9).map((v) => Math.min(1, Math.max(0, 0.5 + 0.2 * v)));

/** In the same direction, of length one. */
function unit(values: Float32Array): Float32Array {
  const length = Math.sqrt(dot(values, values));
  return values.map((v) => v / length);
}

/** Sum of cross-entropies from logits, in float64. */
function crossEntropy(logits: ArrayLike<number>): number {
  let sum = 0;
  for (const [row, label] of LABELS.entries()) {
    const f = Array.from({ length: CLASSES }, (_, k) => logits[row * CLASSES + k] as number);
    const max = Math.max(...f);
    sum += max + Math.log(f.reduce((s, v) => s + Math.exp(v - max), 0)) - (f[label] as number);
  }
  return sum;
}

describe.each(await testedEngines())("$name", (engine) => {
  beforeAll(async () => {
    if (!engine.missing) await engine.use();
  });

  describe.skipIf(engine.missing).each(models)(titleOn(engine, "%s"), (_, model) => {
    const values = engine.missing ? new Float32Array() : valuesOf(model);

    it("gives the same logits by every way, gradients as finite differences say, and frees all it made", () => {
      const before = tf.memory().numTensors;
      const parameters = tf.tensor1d(values);
      const x = tf.tensor4d(images(3), [3, ...SHAPE]);
      const targets = targetsOf(LABELS, CLASSES);
      const bound = model.bind(parameters, "fp32");
      const plain = bound.logits(x);
      const towards = bound.inputGradient(x, crossEntropyHead(targets));
      const pass = bound.forward(x);
      const dLogits = tf.tidy(() => crossEntropyHead(targets)(pass.logits));
      const into = new Float32Array(new SharedArrayBuffer(4 * model.numParameters)).fill(Number.NaN);
      const ranges: [number, number][] = [];
      pass.backward(dLogits, into, (from, to) => ranges.push([from, to]));

      expect(towards.logits.dataSync()).toEqual(plain.dataSync());
      expect(pass.logits.dataSync()).toEqual(plain.dataSync());
      expect(towards.gradient.shape).toEqual([3, ...SHAPE]);

      // From the last parameter to the first, without a hole.
      expect(ranges.map(([from]) => from)).toEqual(model.parameters.map((p) => p.offset).reverse());
      expect(ranges.map(([, to]) => to)).toEqual([model.numParameters, ...ranges.slice(0, -1).map(([from]) => from)]);

      const loss = (pixels: Float32Array, weights: Float32Array): number => {
        const flat = tf.tensor1d(weights);
        const input = tf.tensor4d(pixels, [3, ...SHAPE]);
        const other = model.bind(flat, "fp32");
        const logits = other.logits(input);
        const result = crossEntropy(logits.dataSync());
        tf.dispose([flat, input, logits]);
        other.dispose();
        return result;
      };
      const gradient = towards.gradient.dataSync<"float32">();
      const alongInput = unit(gradient);
      expect(slope((at) => loss(at, values), images(3), alongInput, 0.02) / dot(gradient, alongInput)).toBeCloseTo(1, 3);
      const alongGradient = unit(into);
      expect(slope((at) => loss(images(3), at), values, alongGradient, 0.01) / dot(into, alongGradient)).toBeCloseTo(1, 3);

      tf.dispose([parameters, x, targets, plain, towards, pass.logits, dLogits]);
      bound.dispose();
      expect(tf.memory().numTensors).toBe(before);
    });

    it("treats each sample on its own: how a batch is cut changes nothing", () => {
      tf.tidy(() => {
        const bound = model.bind(tf.tensor1d(values), "fp32");
        const x = tf.tensor4d(images(4), [4, ...SHAPE]);
        const whole = bound.inputGradient(x, energyHead());
        const first = bound.inputGradient(tf.slice(x, [0], [1]) as Tensor4D, energyHead());
        const rest = bound.inputGradient(tf.slice(x, [1], [3]) as Tensor4D, energyHead());
        expect(relativeError(tf.concat([first.logits, rest.logits]).dataSync(), whole.logits.dataSync())).toBeLessThan(2e-6);
        expect(relativeError(tf.concat([first.gradient, rest.gradient]).dataSync(), whole.gradient.dataSync())).toBeLessThan(5e-6);
      });
    });

    it("frees what a pass kept when its backward isn't wanted", () => {
      const parameters = tf.tensor1d(values);
      const x = tf.tensor4d(images(2), [2, ...SHAPE]);
      const bound = model.bind(parameters, "fp32");
      const before = tf.memory().numTensors;
      const pass = bound.forward(x);
      pass.dispose();
      expect(tf.memory().numTensors).toBe(before + 1);
      expect(() => pass.backward(pass.logits, new Float32Array(model.numParameters))).toThrow("one backward");
      tf.dispose([pass.logits, parameters, x]);
      bound.dispose();
    });
  });

  it.skipIf(engine.missing)(titleOn(engine, "an input-gradient pass keeps one tensor a stage, an update two"), () => {
    const [, model] = models[0] as [string, Model];
    const bound = model.bind(tf.tensor1d(valuesOf(model)), "fp32");
    const x = tf.tensor4d(images(2), [2, ...SHAPE]);
    const before = tf.memory().numTensors;
    let keptForInput = 0;
    const { logits, gradient } = bound.inputGradient(x, (logits: Tensor2D) => {
      keptForInput = tf.memory().numTensors - before - 1; // but for the logits
      return tf.zerosLike(logits);
    });
    expect(keptForInput).toBe(2);
    tf.dispose([logits, gradient]);
    const pass = bound.forward(x);
    expect(tf.memory().numTensors - before - 1).toBe(2 * 2 + 1); // and the features that enter the head
    pass.dispose();
    pass.logits.dispose();
    bound.dispose();
  });
});
