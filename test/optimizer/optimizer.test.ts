/** The optimizer against torch.optim, against single correctly rounded operations, and through an export. */

import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import type { z } from "zod";
import { configSchema, type OptimizerConfig } from "../../src/config/schema.js";
import type { Parameter } from "../../src/model/model.js";
import { clipFactor, globalNorm } from "../../src/optimizer/clip.js";
import { createOptimizer, type Optimized, type Optimizer } from "../../src/optimizer/optimizer.js";
import { progressOf } from "../../src/optimizer/schedule.js";
import { relativeError } from "../kit/close.js";
import { testedEngines, titleOn } from "../kit/engines.js";
import { decode, encode, hasPyTorch, pyTorchNote, runPyTorch } from "../kit/pytorch.js";
import { normalValues } from "../model/finite-differences.js";

const NUM_STEPS = 20;
const NUM_PARAMETERS = 203;

const parameter = (name: string, offset: number, size: number, decay: boolean): Parameter => ({ name, shape: [size], offset, size, decay });
const model: Optimized = {
  numParameters: NUM_PARAMETERS,
  parameters: [parameter("a.weight", 0, 150, true), parameter("a.bias", 150, 10, false), parameter("b.weight", 160, 43, true)],
};

const parse = (raw: unknown): OptimizerConfig => (configSchema.shape.optimizer as z.ZodType<OptimizerConfig>).parse(raw);

const cosine = { kind: "cosine", warmup: 0.2 };
const configs: Record<string, OptimizerConfig> = {
  "sgd, Nesterov momentum, weight decay, clipped, averaged": parse({
    kind: "sgd",
    lr: 0.1,
    momentum: 0.9,
    weightDecay: 0.05,
    clipNorm: 8,
    ema: 0.9,
    schedule: cosine,
  }),
  "sgd, late weights averaged": parse({ kind: "sgd", lr: 0.1, swa: { from: 0.3, everyUpdates: 3 } }),
  "sgd without momentum": parse({ kind: "sgd", lr: 0.1, momentum: 0 }),
  "adam without weight decay": parse({ kind: "adam", lr: 0.01, betas: [0.9, 0.99] }),
  "adam, decoupled weight decay, clipped, averaged": parse({
    kind: "adam",
    lr: 0.01,
    weightDecay: 0.1,
    clipNorm: 8,
    ema: 0.95,
    schedule: cosine,
  }),
};
const cases = Object.entries(configs).map(([title, config], index) => ({ title, config, index }));

const initial = normalValues(NUM_PARAMETERS, 1);
/** Norms about 14, falling below the clipping norm towards the end. */
const gradients = Array.from({ length: NUM_STEPS }, (_, step) => normalValues(NUM_PARAMETERS, 100 + step, 1 - step / NUM_STEPS));

function take(optimizer: Optimizer, parameters: Tensor1D, step: number): Tensor1D {
  const gradient = gradients[step] as Float32Array;
  const updated = optimizer.apply(parameters, { gradient, gradientNorm: globalNorm(gradient), progress: progressOf(step, NUM_STEPS) });
  parameters.dispose();
  return updated;
}

interface Result {
  readonly values: Float32Array;
  readonly average: Float32Array | null;
}

/** Steps 0..19 on the current engine; the optimizer is replaced by a restored one before step `restoreAt`. */
function run(config: OptimizerConfig, restoreAt = -1): Result {
  let optimizer = createOptimizer(config, model);
  let parameters = tf.tensor1d(initial.slice());
  for (let step = 0; step < NUM_STEPS; step++) {
    if (step === restoreAt) {
      const state = optimizer.exportState();
      optimizer.dispose();
      optimizer = createOptimizer(config, model);
      optimizer.importState(state);
    }
    parameters = take(optimizer, parameters, step);
  }
  const result = { values: parameters.dataSync<"float32">().slice(), average: optimizer.averaged?.dataSync<"float32">().slice() ?? null };
  parameters.dispose();
  optimizer.dispose();
  return result;
}

let answers: Record<"values" | "average", string>[] = [];

beforeAll(() => {
  if (!hasPyTorch) return;
  const script = new URL("pytorch_optimizers.py", import.meta.url).pathname;
  const questions = cases.map(({ config }) => {
    const learningRates = gradients.map((_, step) =>
      createOptimizer({ ...config, weightDecay: 0 }, model).learningRate(progressOf(step, NUM_STEPS)),
    );
    return { config, parameters: model.parameters, values: encode(initial), gradients: gradients.map(encode), learningRates };
  });
  answers = runPyTorch(script, questions) as typeof answers;
}, 120_000);

/** SGD in plain JavaScript, each operation rounded to float32: what any engine's bits must be. */
function sgdByHand({ lr, momentum, weightDecay }: { lr: number; momentum: number; weightDecay: number }): Float32Array {
  const f = Math.fround;
  const p = initial.slice();
  const m = new Float32Array(NUM_PARAMETERS);
  for (const gradient of gradients) {
    for (const { offset, size, decay } of model.parameters) {
      for (let i = offset; i < offset + size; i++) {
        const g = f((gradient[i] as number) + f((p[i] as number) * f(decay ? weightDecay : 0)));
        m[i] = f(f((m[i] as number) * f(momentum)) + g);
        const direction = f(g + f((m[i] as number) * f(momentum)));
        p[i] = f((p[i] as number) - f(direction * f(lr)));
      }
    }
  }
  return p;
}

/** AdamW likewise. */
function adamByHand({
  lr,
  weightDecay,
  betas,
  epsilon,
}: {
  lr: number;
  weightDecay: number;
  betas: [number, number];
  epsilon: number;
}): Float32Array {
  const f = Math.fround;
  const [b1, b2] = betas;
  const p = initial.slice();
  const m = new Float32Array(NUM_PARAMETERS);
  const v = new Float32Array(NUM_PARAMETERS);
  for (const [step, gradient] of gradients.entries()) {
    const t = step + 1;
    for (const { offset, size, decay } of model.parameters) {
      for (let i = offset; i < offset + size; i++) {
        const g = gradient[i] as number;
        m[i] = f(f((m[i] as number) * f(b1)) + f(g * f(1 - b1)));
        v[i] = f(f((v[i] as number) * f(b2)) + f(f(g * g) * f(1 - b2)));
        const denominator = f(f(f(Math.sqrt(v[i] as number)) * f(1 / Math.sqrt(1 - b2 ** t))) + f(epsilon));
        const move = f(f((m[i] as number) / denominator) * f(lr / (1 - b1 ** t)));
        const decayed = f((p[i] as number) - f((p[i] as number) * f(f(decay ? weightDecay : 0) * f(lr))));
        p[i] = f(decayed - move);
      }
    }
  }
  return p;
}

describe.each(await testedEngines())("$name", (engine) => {
  beforeAll(async () => {
    if (!engine.missing) await engine.use();
  });

  describe.skipIf(engine.missing !== null || !hasPyTorch)(titleOn(engine, `twenty updates equal torch.optim${pyTorchNote}`), () => {
    it.each(cases)("$title", ({ config, index }) => {
      const expected = answers[index] as (typeof answers)[number];
      const { values, average } = run(config);
      expect(relativeError(values, decode(expected.values))).toBeLessThan(2e-6);
      if (config.ema > 0) expect(relativeError(average as Float32Array, decode(expected.average))).toBeLessThan(2e-6);
    });
  });

  describe.skipIf(engine.missing)(titleOn(engine, "an optimizer"), () => {
    it("computes SGD in single correctly rounded operations: the same bits on every engine", () => {
      const options = { lr: 0.07, momentum: 0.9, weightDecay: 0.03 };
      expect(run(parse({ kind: "sgd", ...options })).values).toEqual(sgdByHand(options));
    });

    it("computes AdamW so as well", () => {
      const options = { lr: 0.013, weightDecay: 0.1, betas: [0.9, 0.99] as [number, number], epsilon: 1e-8 };
      expect(run(parse({ kind: "adam", ...options })).values).toEqual(adamByHand(options));
    });

    it.each(cases)("continues from an export bit for bit: $title", ({ config }) => {
      expect(run(config, 7)).toEqual(run(config));
      expect(run(config, 0)).toEqual(run(config));
    });

    it.each(cases)("frees all it made: $title", ({ config }) => {
      const before = tf.memory().numTensors;
      run(config, 3);
      expect(tf.memory().numTensors).toBe(before);
    });

    it("keeps nothing of the gradient's memory, which the next step writes over", () => {
      const optimizer = createOptimizer(parse({ kind: "sgd", momentum: 0.9 }), model);
      const gradient = new Float32Array(new SharedArrayBuffer(4 * NUM_PARAMETERS)).fill(1);
      const parameters = tf.zeros<tf.Rank.R1>([NUM_PARAMETERS]);
      const updated = optimizer.apply(parameters, { gradient, gradientNorm: globalNorm(gradient), progress: 0 });
      gradient.fill(7);
      expect(optimizer.exportState().find((part) => part.tensor === "sgd.momentum")?.data).toEqual(
        new Float32Array(NUM_PARAMETERS).fill(1),
      );
      expect(updated.dataSync()[0]).toBeCloseTo(-0.19, 6);
      tf.dispose([parameters, updated]);
      optimizer.dispose();
    });
  });

  describe.skipIf(engine.missing)(titleOn(engine, "importing a state"), () => {
    const adam = () => createOptimizer(parse({ kind: "adam", ema: 0.9 }), model);
    const exported = () => {
      const optimizer = adam();
      take(optimizer, tf.tensor1d(initial.slice()), 0).dispose();
      const state = optimizer.exportState();
      optimizer.dispose();
      return state;
    };

    it("has a name for every part", () => {
      expect(exported().map((part) => [part.tensor, part.dtype, part.shape])).toEqual([
        ["adam.updates", "I32", [1]],
        ["adam.first-moment", "F32", [NUM_PARAMETERS]],
        ["adam.second-moment", "F32", [NUM_PARAMETERS]],
        ["ema", "F32", [NUM_PARAMETERS]],
      ]);
    });

    it("of another optimizer is refused by name", () => {
      const sgd = createOptimizer(parse({ kind: "sgd" }), model);
      expect(() => sgd.importState(exported())).toThrow("optimizer state has no 'sgd.updates', it holds adam.updates, adam.first-moment");
    });

    it("of another model is refused with both sizes", () => {
      const other = createOptimizer(parse({ kind: "adam" }), { numParameters: 5, parameters: [] });
      expect(() => other.importState(exported())).toThrow(`'adam.first-moment' has ${NUM_PARAMETERS} values, the model has 5`);
    });

    it("that lacks a part is refused", () => {
      const partial = exported().filter((part) => part.tensor !== "adam.second-moment");
      expect(() => adam().importState(partial)).toThrow("no 'adam.second-moment' after 1 updates");
    });
  });
});

describe("clipping", () => {
  it("the global norm, by hand", () => {
    expect(globalNorm(Float32Array.of(3, 4))).toBe(5);
    expect(globalNorm(Float32Array.of(1, 2, 3, 4, 5, 6, 7))).toBeCloseTo(Math.sqrt(140), 14);
    expect(globalNorm(new Float32Array())).toBe(0);
  });

  it("the global norm tells that something isn't finite", () => {
    expect(globalNorm(Float32Array.of(1, Number.NaN, 1, 1, 1))).toBeNaN();
    expect(globalNorm(Float32Array.of(1, 1, 1, 1, Number.NEGATIVE_INFINITY))).toBe(Number.POSITIVE_INFINITY);
  });

  it("shortens to the norm asked for, and never lengthens", () => {
    expect(clipFactor(10, 5)).toBeCloseTo(0.5, 6);
    expect(clipFactor(4, 5)).toBe(1);
    expect(clipFactor(0, 5)).toBe(1);
  });
});
