/** Models against the same networks written in PyTorch, in float64 and by its autograd: logits, input gradients, parameter gradients. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { modelSchema } from "../../src/config/schema/model.js";
import type { ModelConfig } from "../../src/config/schema.js";
import type { Precision } from "../../src/engine/ops.js";
import { createModel } from "../../src/model/create.js";
import { crossEntropyHead, targetsOf } from "../../src/model/heads.js";
import type { Model } from "../../src/model/model.js";
import { relativeDistance, relativeError } from "../kit/close.js";
import { testedEngines, titleOn } from "../kit/engines.js";
import { decode, encode, hasPyTorch, pyTorchNote, runPyTorch } from "../kit/pytorch.js";
import { normalValues } from "./finite-differences.js";

type Shape = readonly [number, number, number];
const SHAPE: Shape = [9, 8, 3];
const CLASSES = 5;
const LABELS = [4, 0];

const stages = [{ channels: 6, stride: 2 }, { channels: 8 }, { channels: 8, stride: 2 }];
const convnets = ["relu", "silu", "gelu", "elu", "leaky-relu", "softplus", "smooth-relu"].map((kind): [string, unknown] => [
  `convnet, ${kind}`,
  { kind: "convnet", stages, activation: { kind } },
]);
const signalStages = [
  { channels: 4, size: 5, stride: 2 },
  { channels: 6, size: 3 },
];
const raw: readonly (readonly [string, unknown, Shape?])[] = [
  ...convnets,
  ["convnet, group norm", { kind: "convnet", stages, norm: { kind: "group", groups: 2 }, input: { mean: [0.4, 0.5, 0.6], std: [0.2] } }],
  ["wide-resnet 10-2", { kind: "wide-resnet", depth: 10, width: 2 }],
  ["wide-resnet 16-1, group norm", { kind: "wide-resnet", depth: 16, width: 1, norm: "group", activation: "relu" }],
  [
    "convnet, smooth-relu of a learned sharpness",
    { kind: "convnet", stages, activation: { kind: "smooth-relu", sharpness: 9, learnable: true } },
  ],
  ["resnet-18 of width 4", { kind: "resnet-18", width: 4 }],
  ["resnet-18 of width 4, group norm", { kind: "resnet-18", width: 4, norm: { kind: "group", groups: 2 }, activation: "relu" }],
  ["conv1d", { kind: "conv1d", stages: signalStages }, [11, 1, 2]],
  ["conv1d, group norm", { kind: "conv1d", stages: signalStages, norm: { kind: "group", groups: 2 }, activation: "gelu" }, [12, 1, 2]],
  ["mlp on vectors", { kind: "mlp", hidden: [9], input: { mean: [0.4], std: [0.3] } }, [7, 1, 1]],
  ["mlp", { kind: "mlp", hidden: [11, 7], input: { mean: [0.5], std: [0.2, 0.25, 0.3] } }],
];

interface Case {
  readonly title: string;
  readonly config: ModelConfig;
  readonly shape: Shape;
  readonly model: Model;
  readonly values: Float32Array;
  readonly x: Float32Array;
}

const cases = raw.map(([title, text, shape = SHAPE]): Case => {
  const config = modelSchema.parse(text);
  const model = createModel(config, shape, CLASSES);
  // Noise on top, so that biases and last convolutions aren't zero.
  const noise = normalValues(model.numParameters, 3, 0.1);
  const values = model.initial(2n).map((v, i) => v + (noise[i] as number));
  const x = normalValues(LABELS.length * shape[0] * shape[1] * shape[2], 4).map((v) => Math.min(1, Math.max(0, 0.5 + 0.2 * v)));
  return { title, config, shape, model, values, x };
});

const quantities = ["logits", "inputGradient", "parameterGradient"] as const;

type Values = Record<(typeof quantities)[number], string>;

interface Answer {
  /** In float64. */
  readonly exact: Values;
  /** PyTorch's own, with its convolutions in bfloat16. */
  readonly bf16: Values;
}

let answers: Answer[] = [];

beforeAll(() => {
  if (!hasPyTorch) return;
  const script = new URL("pytorch_models.py", import.meta.url).pathname;
  const questions = cases.map(({ config, shape, model, values, x }) => ({
    config,
    parameters: model.parameters,
    values: encode(values),
    x: encode(x),
    xShape: [LABELS.length, ...shape],
    labels: LABELS,
  }));
  answers = runPyTorch(script, questions) as Answer[];
}, 120_000);

/** The largest error of any parameter's gradient, in that parameter's own scale. */
function worstParameter(model: Model, found: Float32Array, expected: Float64Array): number {
  const errors = model.parameters.map(({ offset, size }) =>
    relativeError(found.subarray(offset, offset + size), expected.subarray(offset, offset + size)),
  );
  return errors.includes(Number.NaN) ? Number.NaN : Math.max(...errors);
}

function compute({ model, shape, values, x }: Case, precision: Precision) {
  return tf.tidy(() => {
    const bound = model.bind(tf.tensor1d(values), precision);
    const images = tf.tensor4d(x, [LABELS.length, ...shape]);
    const head = crossEntropyHead(targetsOf(LABELS, CLASSES));
    const { logits, gradient } = bound.inputGradient(images, head);
    const pass = bound.forward(images);
    const parameterGradient = new Float32Array(model.numParameters);
    pass.backward(head(pass.logits), parameterGradient);
    return { logits: logits.dataSync(), inputGradient: gradient.dataSync(), parameterGradient };
  });
}

describe.each(await testedEngines())("$name", (engine) => {
  beforeAll(async () => {
    if (!engine.missing) await engine.use();
  });

  describe.skipIf(engine.missing !== null || !hasPyTorch)(titleOn(engine, `equal to PyTorch${pyTorchNote}`), () => {
    it.each(cases.map((c, index) => ({ ...c, index })))("$title, fp32: within 1e-5", ({ index, ...c }) => {
      const { exact } = answers[index] as Answer;
      const found = compute(c, "fp32");
      expect(relativeError(found.logits, decode(exact.logits))).toBeLessThan(1e-5);
      expect(relativeError(found.inputGradient, decode(exact.inputGradient))).toBeLessThan(1e-5);
      expect(worstParameter(c.model, found.parameterGradient, decode(exact.parameterGradient))).toBeLessThan(1e-5);
    });

    it.each(cases.map((c, index) => ({ ...c, index })))("$title, bf16: not much further off than PyTorch is in bf16", ({ index, ...c }) => {
      const { exact, bf16 } = answers[index] as Answer;
      const found = compute(c, "bf16");
      for (const quantity of quantities) {
        const expected = decode(exact[quantity]);
        const natural = relativeDistance(decode(bf16[quantity]), expected);
        expect(relativeDistance(found[quantity], expected), quantity).toBeLessThan(1.5 * natural + 1e-5);
      }
    });
  });
});
