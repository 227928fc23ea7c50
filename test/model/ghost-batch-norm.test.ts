/**
 * Batch normalisation over groups of samples against PyTorch's, group by group: whole networks in float64, with the statistics of
 * the groups and with the running ones, their gradients, and what an update takes from the running ones; and finite differences.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { modelSchema } from "../../src/config/schema/model.js";
import type { ModelConfig } from "../../src/config/schema.js";
import type { Precision } from "../../src/engine/ops.js";
import { createModel } from "../../src/model/create.js";
import { GradientSink } from "../../src/model/gradient-sink.js";
import { type BatchPart, groupRuns, type PassStatistics, type StatisticsPolicy } from "../../src/model/group-statistics.js";
import { crossEntropyHead, targetsOf } from "../../src/model/heads.js";
import { Kept } from "../../src/model/kept.js";
import { ghostBatchNorm } from "../../src/model/layers/ghost-batch-norm.js";
import type { Model } from "../../src/model/model.js";
import { relativeDistance, relativeError } from "../kit/close.js";
import { testedEngines, titleOn } from "../kit/engines.js";
import { decode, encode, hasPyTorch, pyTorchNote, runPyTorch } from "../kit/pytorch.js";
import { dot, normalValues, slope } from "./finite-differences.js";

const CLASSES = 5;
const LABELS = [4, 0, 2, 2, 1, 3, 0];
const GROUP_SIZE = 2;
const MOMENTUM = 0.1;
/** Two views: the first feeds the running statistics, and ends in a group of one sample; the second does not. */
const PARTS: readonly BatchPart[] = [
  { rows: 5, share: MOMENTUM / 5 },
  { rows: 2, share: 0 },
];
/** As [size, weight in the running statistics]. */
const GROUPS = [
  [2, 2 / 5],
  [2, 2 / 5],
  [1, 1 / 5],
  [2, 0],
];

const norm = { kind: "ghost-batch", groupSize: GROUP_SIZE };
const stages = [{ channels: 6, stride: 2 }, { channels: 8 }];
const networks: readonly (readonly [title: string, config: unknown, shape: readonly [number, number, number]])[] = [
  ["convnet", { kind: "convnet", stages, norm }, [9, 8, 3]],
  ["wide-resnet 10-1", { kind: "wide-resnet", depth: 10, width: 1, norm, activation: "relu" }, [7, 6, 3]],
  ["resnet-18 of width 4", { kind: "resnet-18", width: 4, norm }, [16, 16, 3]],
  ["conv1d", { kind: "conv1d", stages: [{ channels: 4, size: 5, stride: 2 }, { channels: 6 }], norm }, [11, 1, 2]],
];

interface Case {
  readonly title: string;
  readonly config: ModelConfig;
  readonly model: Model;
  readonly statistics: "group" | "running";
  readonly shape: readonly [number, number, number];
  readonly values: Float32Array;
  readonly x: Float32Array;
}

const cases = networks.flatMap(([title, raw, shape]): Case[] => {
  const config = modelSchema.parse(raw);
  const model = createModel(config, shape, CLASSES);
  const noise = normalValues(model.numParameters, 3, 0.1);
  const values = model.initial(2n).map((v, i) => v + (noise[i] as number));
  const x = normalValues(LABELS.length * shape[0] * shape[1] * shape[2], 4).map((v) => Math.min(1, Math.max(0, 0.5 + 0.2 * v)));
  const given = { config, model, shape, values, x };
  return [
    { ...given, title: `${title}, statistics of groups`, statistics: "group" },
    { ...given, title: `${title}, running statistics`, statistics: "running" },
  ];
});

const indexed = cases.map((c, index) => ({ ...c, index }));

const quantities = ["logits", "inputGradient", "parameterGradient"] as const;
type Values = Record<(typeof quantities)[number], string>;
let answers: { exact: Values; bf16: Values }[] = [];

beforeAll(() => {
  if (!hasPyTorch) return;
  const questions = cases.map(({ config, model, shape, statistics, values, x }) => ({
    config,
    parameters: model.parameters,
    groups: statistics === "group" ? GROUPS : null,
    values: encode(values),
    x: encode(x),
    xShape: [LABELS.length, ...shape],
    labels: LABELS,
  }));
  answers = runPyTorch(new URL("pytorch_models.py", import.meta.url).pathname, questions) as typeof answers;
}, 120_000);

function compute({ model, statistics, shape, values, x }: Case, precision: Precision) {
  return tf.tidy(() => {
    const policy: StatisticsPolicy = { inner: "running", update: statistics };
    const bound = model.bind(tf.tensor1d(values), precision, policy);
    const images = tf.tensor4d(x, [LABELS.length, ...shape]);
    const head = crossEntropyHead(targetsOf(LABELS, CLASSES));
    const pass = bound.forward(images, PARTS);
    const parameterGradient = new Float32Array(model.numParameters);
    const inputGradient = pass.backwardToInput(head(pass.logits), parameterGradient);
    return { logits: pass.logits.dataSync(), inputGradient: inputGradient.dataSync(), parameterGradient };
  });
}

/** The largest error of any parameter's gradient, in that parameter's own scale; where it should be 0, that of its largest value. */
function worstParameter(model: Model, found: Float32Array, expected: Float64Array): number {
  const errors = model.parameters.map(({ offset, size }) => {
    const [part, exact] = [found.subarray(offset, offset + size), expected.subarray(offset, offset + size)];
    return exact.every((v) => v === 0) ? Math.max(...part.map(Math.abs)) : relativeError(part, exact);
  });
  return errors.includes(Number.NaN) ? Number.NaN : Math.max(...errors);
}

const CHANNELS = 3;
const INPUT = [2, 3, CHANNELS] as const;
const ROWS = LABELS.length;

function layerOf(values: Float32Array) {
  const layer = ghostBatchNorm(GROUP_SIZE)(INPUT);
  const parameters = layer.parameters.map(({ shape }, i) => {
    const offset = i * CHANNELS;
    return { value: tf.tensor(values.slice(offset, offset + CHANNELS), [...shape]), offset, size: CHANNELS };
  });
  return layer.bind(parameters, "fp32");
}

describe.each(await testedEngines())("$name", (engine) => {
  beforeAll(async () => {
    if (!engine.missing) await engine.use();
  });

  describe.skipIf(engine.missing !== null || !hasPyTorch)(
    titleOn(engine, `equal to PyTorch's batch_norm of each group${pyTorchNote}`),
    () => {
      it.each(indexed)("$title, fp32: within 1e-4", ({ index, ...c }) => {
        const exact = answers[index]?.exact as Values;
        const found = compute(c, "fp32");
        expect(relativeError(found.logits, decode(exact.logits))).toBeLessThan(1e-4);
        expect(relativeError(found.inputGradient, decode(exact.inputGradient))).toBeLessThan(1e-4);
        expect(worstParameter(c.model, found.parameterGradient, decode(exact.parameterGradient))).toBeLessThan(1e-4);
      });

      // Other engines store float32 whatever they are asked for.
      it.skipIf(engine.name !== "torch").each(indexed)("$title, bf16: not much further off than PyTorch is in bf16", ({ index, ...c }) => {
        const { exact, bf16 } = answers[index] as { exact: Values; bf16: Values };
        const found = compute(c, "bf16");
        for (const quantity of quantities) {
          const expected = decode(exact[quantity]);
          const natural = relativeDistance(decode(bf16[quantity]), expected);
          expect(relativeDistance(found[quantity], expected), quantity).toBeLessThan(2 * natural + 1e-5);
        }
      });
    },
  );

  describe.skipIf(engine.missing)(titleOn(engine, "a norm over groups of samples"), () => {
    const values = normalValues(4 * CHANNELS, 2, 0.2).map((v, i) => v + (i < CHANNELS || i >= 3 * CHANNELS ? 1 : 0));
    const x = normalValues(ROWS * 6 * CHANNELS, 1);
    const weights = normalValues(ROWS * 6 * CHANNELS, 3);

    it.each<[string, PassStatistics]>([
      ["of the groups", { parts: PARTS }],
      ["that run", "running"],
    ])("agrees with finite differences where the statistics are those %s", (_, statistics) => {
      const loss = (x: Float32Array, values: Float32Array): number => {
        const bound = layerOf(values);
        const y = bound.forward(tf.tensor(x, [ROWS, ...INPUT]), new Kept("logits", statistics));
        const sum = dot(y.dataSync(), weights);
        y.dispose();
        bound.dispose();
        return sum;
      };
      const gradients = (purpose: "update" | "input") => {
        const bound = layerOf(values);
        const kept = new Kept(purpose, statistics);
        bound.forward(tf.tensor(x, [ROWS, ...INPUT]), kept).dispose();
        const parameters = new Float32Array(values.length);
        const sink = purpose === "update" ? new GradientSink(parameters) : null;
        const dx = bound.backward(tf.tensor(weights, [ROWS, ...INPUT]), kept, { sink, input: true }) as Tensor;
        const input = dx.dataSync<"float32">().slice();
        dx.dispose();
        expect(() => kept.take()).toThrow("more than its forward pass kept");
        bound.dispose();
        return { input, parameters };
      };
      const before = tf.memory().numTensors;
      const found = gradients("update");
      expect(gradients("input").input).toEqual(found.input);
      const learned = found.parameters.slice(0, 2 * CHANNELS);
      for (const seed of [4, 5, 6]) {
        const dx = normalValues(x.length, seed);
        const along = slope((at) => loss(at, values), x, dx, 0.004);
        expect(Math.abs(along - dot(found.input, dx))).toBeLessThan(2e-3 * Math.sqrt(dot(found.input, found.input)));
        const dp = normalValues(values.length, seed + 10).map((v, i) => (i < 2 * CHANNELS ? v : 0));
        const alongParameters = slope((at) => loss(x, at), values, dp, 0.004);
        expect(Math.abs(alongParameters - dot(learned, dp.subarray(0, 2 * CHANNELS)))).toBeLessThan(
          2e-3 * Math.sqrt(dot(learned, learned)),
        );
      }
      expect(tf.memory().numTensors).toBe(before);
    });

    it("gives a group the same bits whatever stands beside it", () => {
      const of = (from: number, to: number): Float32Array => {
        const bound = layerOf(values);
        const part = tf.tensor(x.slice(from * 6 * CHANNELS, to * 6 * CHANNELS), [to - from, ...INPUT]);
        const y = bound.forward(part, new Kept("logits", { parts: null }));
        const result = y.dataSync<"float32">().slice();
        y.dispose();
        bound.dispose();
        return result;
      };
      const whole = of(0, 7);
      const cut = [of(0, 2), of(2, 6), of(6, 7)].flatMap((part) => Array.from(part));
      expect(cut).toEqual(Array.from(whole));
    });
  });
});

describe("the groups of a batch", () => {
  it("are one run where every part is made of whole groups", () => {
    const parts = [
      { rows: 4, share: 0.5 },
      { rows: 2, share: 0 },
    ];
    expect(groupRuns(6, parts, 2)).toEqual([{ from: 0, rows: 6, size: 2, pulls: [1, 1, 0] }]);
    expect(groupRuns(6, null, 4)).toEqual([
      { from: 0, rows: 4, size: 4, pulls: [0] },
      { from: 4, rows: 2, size: 2, pulls: [0] },
    ]);
  });

  it("never mix parts: what remains of one is a group of its own", () => {
    const parts = [
      { rows: 3, share: 0.1 },
      { rows: 0, share: 1 },
      { rows: 3, share: 0 },
    ];
    expect(groupRuns(6, parts, 2)).toEqual([
      { from: 0, rows: 2, size: 2, pulls: [0.2] },
      { from: 2, rows: 1, size: 1, pulls: [0.1] },
      { from: 3, rows: 2, size: 2, pulls: [0] },
      { from: 5, rows: 1, size: 1, pulls: [0] },
    ]);
  });
});
