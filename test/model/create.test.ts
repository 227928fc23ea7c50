/** Sizes, names, costs and initial values of the models, by hand and by published counts. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { modelSchema } from "../../src/config/schema/model.js";
import { startCpu } from "../../src/engine/cpu.js";
import { createModel } from "../../src/model/create.js";
import type { Model } from "../../src/model/model.js";
import { normalValues } from "./finite-differences.js";

beforeAll(startCpu);

const create = (raw: unknown, shape: readonly [number, number, number] = [32, 32, 3]) => createModel(modelSchema.parse(raw), shape, 10);

const quickstart = {
  kind: "convnet",
  stages: [{ channels: 32, stride: 2 }, { channels: 64, stride: 2 }, { channels: 64 }, { channels: 128, stride: 2 }, { channels: 128 }],
};

function valuesOf(model: Model, name: string, seed = 1n): Float32Array {
  const parameter = model.parameters.find((p) => p.name === name);
  if (!parameter) throw new Error(`no ${name}`);
  return model.initial(seed).subarray(parameter.offset, parameter.offset + parameter.size);
}

const deviation = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);

describe("sizes", () => {
  it("the quickstart's convnet has 279,050 parameters and 7.3 million multiply-accumulates", () => {
    const model = create(quickstart);
    expect(model.numParameters).toBe(279_050);
    // 16x16 x 9x3x32, 8x8 x 9x32x64, 8x8 x 9x64x64, 4x4 x 9x64x128, 4x4 x 9x128x128, 128x10
    expect(model.macsPerSample).toBe(221_184 + 1_179_648 + 2_359_296 + 1_179_648 + 2_359_296 + 1_280);
  });

  it("WideResNets with norms have the published number of parameters", () => {
    // Zagoruyko & Komodakis 2016, table 4: 2.7, 8.9 and 36.5 million, batch norm's two vectors a layer included
    expect(create({ kind: "wide-resnet", depth: 16, width: 4, norm: "group" }).numParameters).toBe(2_748_890);
    expect(create({ kind: "wide-resnet", depth: 40, width: 4, norm: "group" }).numParameters).toBe(8_949_210);
    expect(create({ kind: "wide-resnet", depth: 28, width: 10, norm: "group" }).numParameters).toBe(36_479_194);
  });

  it("parameters follow one another without a gap, in the order of the forward pass", () => {
    const model = create({ kind: "wide-resnet", depth: 10, width: 2 });
    let next = 0;
    for (const p of model.parameters) {
      expect(p.offset).toBe(next);
      expect(p.size).toBe(p.shape.reduce((product, length) => product * length, 1));
      next += p.size;
    }
    expect(next).toBe(model.numParameters);
    expect(model.parameters.map((p) => p.name).slice(0, 8)).toEqual([
      "stem.weight",
      "stem.bias",
      "stage1.0.conv1.weight",
      "stage1.0.conv1.bias",
      "stage1.0.conv2.weight",
      "stage1.0.conv2.bias",
      "stage1.0.shortcut.weight",
      "stage2.0.conv1.weight",
    ]);
    expect(model.parameters.filter((p) => p.decay).every((p) => p.name.endsWith(".weight"))).toBe(true);
  });

  it("weight decay spares norms and biases", () => {
    const model = create({ ...quickstart, norm: "group" });
    expect(model.parameters.filter((p) => p.decay).map((p) => p.name)).toEqual(
      [1, 2, 3, 4, 5].map((i) => `conv${i}.weight`).concat("head.weight"),
    );
  });
});

describe("initial values", () => {
  it("are a function of the seed", () => {
    const model = create({ kind: "convnet", stages: [{ channels: 5 }] });
    expect(model.initial(7n)).toEqual(model.initial(7n));
    expect(model.initial(7n)).not.toEqual(model.initial(8n));
  });

  it("of the convnet have the deviation gain / sqrt(fan in), biases zero, a head that isn't", () => {
    const model = create(quickstart);
    expect(deviation(valuesOf(model, "conv3.weight"))).toBeCloseTo(1.5 / Math.sqrt(9 * 64), 3);
    expect(deviation(valuesOf(model, "head.weight"))).toBeCloseTo(1 / Math.sqrt(128), 2);
    expect(valuesOf(model, "conv3.bias").every((v) => v === 0)).toBe(true);
  });

  it("of a deep WideResNet without norms give logits of the same size as a shallow one's", () => {
    const size = (depth: number): number => {
      const model = create({ kind: "wide-resnet", depth, width: 1 }, [8, 8, 3]);
      return tf.tidy(() => {
        const bound = model.bind(tf.tensor1d(model.initial(3n)), "fp32");
        const x = tf.tensor4d(
          normalValues(8 * 192, 5).map((v) => Math.min(1, Math.max(0, 0.5 + 0.25 * v))),
          [8, 8, 8, 3],
        );
        return deviation(bound.logits(x).dataSync<"float32">());
      });
    };
    const [shallow, deep] = [size(10), size(40)];
    expect(shallow).toBeGreaterThan(0.02);
    expect(deep).toBeLessThan(5);
    expect(deep / shallow).toBeGreaterThan(0.3);
    expect(deep / shallow).toBeLessThan(3);
  });

  it("of a WideResNet's branches without norms end in zero and begin smaller with more blocks", () => {
    const first = (depth: number) => deviation(valuesOf(create({ kind: "wide-resnet", depth, width: 4 }), "stage3.0.conv1.weight"));
    expect(first(10) / first(40)).toBeCloseTo(Math.sqrt(6), 1); // 3 and 18 blocks
    expect(valuesOf(create({ kind: "wide-resnet", depth: 10, width: 1 }), "stage2.0.conv2.weight").every((v) => v === 0)).toBe(true);
  });
});

describe("a configuration that doesn't fit", () => {
  it("names groups that don't divide the channels", () => {
    expect(() => create({ ...quickstart, norm: { kind: "group", groups: 7 } })).toThrow(
      "model.norm.groups is 7, which does not divide a layer's 32 channels",
    );
  });

  it("names a normalisation of the wrong length", () => {
    expect(() => create({ ...quickstart, input: { mean: [0.5, 0.5] } })).toThrow(
      "model.input.mean has 2 values, but samples have 3 channels",
    );
  });
});
