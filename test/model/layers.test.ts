/** Each layer's vector-Jacobian product against finite differences, and what it leaves in memory. */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import type { Activation } from "../../src/engine/ops.js";
import { GradientSink } from "../../src/model/gradient-sink.js";
import { Kept, type PassPurpose } from "../../src/model/kept.js";
import type { BoundLayer, Layer, LayerBuilder, Shape } from "../../src/model/layer.js";
import { activation } from "../../src/model/layers/activation.js";
import { convolution } from "../../src/model/layers/convolution.js";
import { convolution1d } from "../../src/model/layers/convolution-1d.js";
import { flatten } from "../../src/model/layers/flatten.js";
import { groupNorm } from "../../src/model/layers/group-norm.js";
import { linear } from "../../src/model/layers/linear.js";
import { residual } from "../../src/model/layers/residual.js";
import { sequence } from "../../src/model/layers/sequence.js";
import { learnableSmoothRelu } from "../../src/model/layers/smooth-relu.js";
import { spatialMean } from "../../src/model/layers/spatial-mean.js";
import { testedEngines, titleOn } from "../kit/engines.js";
import { dot, normalValues, slope } from "./finite-differences.js";

const BATCH = 2;
const silu: Activation = { kind: "silu" };

const activations: readonly Activation[] = [
  { kind: "relu" },
  silu,
  { kind: "gelu" },
  { kind: "elu" },
  { kind: "leaky-relu", slope: 0.2 },
  { kind: "softplus", sharpness: 10 },
  { kind: "smooth-relu", sharpness: 400 },
];

const conv = (channels: number, size: number, stride: number, bias: boolean) => convolution({ channels, size, stride, bias, gain: 1 });

const branch = [
  ["conv1", conv(4, 3, 1, true)],
  ["activation2", activation(silu)],
  ["conv2", conv(4, 3, 1, true)],
] as const;

const layers: readonly (readonly [title: string, build: LayerBuilder, inputShape: Shape])[] = [
  ["convolution 3x3, stride 1, bias", conv(3, 3, 1, true), [5, 4, 2]],
  ["convolution 3x3, stride 2, bias, odd and even size", conv(3, 3, 2, true), [5, 4, 2]],
  ["convolution 3x3, stride 2, no bias", conv(2, 3, 2, false), [6, 6, 3]],
  ["convolution 1x1, stride 2, no bias", conv(4, 1, 2, false), [4, 5, 3]],
  ["group norm, 2 groups", groupNorm(2), [3, 3, 4]],
  ["group norm, a channel each", groupNorm(4), [3, 2, 4]],
  ["convolution 1-D, stride 1, bias", convolution1d({ channels: 3, size: 3, stride: 1, bias: true, gain: 1 }), [7, 1, 2]],
  ["convolution 1-D, size 5, stride 3", convolution1d({ channels: 2, size: 5, stride: 3, bias: false, gain: 1 }), [8, 1, 3]],
  ["convolution 1-D, size 3, stride 2, even length", convolution1d({ channels: 2, size: 3, stride: 2, bias: true, gain: 1 }), [6, 1, 1]],
  ["smooth-relu with a learned sharpness", learnableSmoothRelu({ sharpness: 9 }), [3, 3, 2]],
  ["spatial mean", spatialMean(), [3, 4, 2]],
  ["flatten", flatten(), [3, 2, 2]],
  ["linear", linear({ features: 3, gain: 1 }), [5]],
  [
    "sequence",
    sequence([
      ["a", conv(3, 3, 1, true)],
      ["b", activation(silu)],
      ["c", spatialMean()],
      ["d", linear({ features: 2, gain: 1 })],
    ]),
    [4, 4, 2],
  ],
  ["residual over its own input", residual({ entry: [["activation1", activation(silu)]], branch, shortcut: null }), [4, 4, 4]],
  [
    "residual with norms",
    residual({
      entry: [
        ["norm1", groupNorm(2)],
        ["activation1", activation(silu)],
      ],
      branch: [
        ["conv1", conv(4, 3, 1, false)],
        ["norm2", groupNorm(2)],
        ["conv2", conv(4, 3, 1, false)],
      ],
      shortcut: null,
    }),
    [3, 3, 4],
  ],
  [
    "residual with a shortcut",
    residual({
      entry: [
        ["norm1", groupNorm(2)],
        ["activation1", activation(silu)],
      ],
      branch: [
        ["conv1", conv(4, 3, 2, true)],
        ["activation2", activation(silu)],
      ],
      shortcut: conv(4, 1, 2, false),
    }),
    [4, 4, 2],
  ],
  ...activations.map((kind): readonly [string, LayerBuilder, Shape] => [`activation ${kind.kind}`, activation(kind), [3, 3, 2]]),
];

const sizeOf = (shape: Shape) => shape.reduce((product, length) => product * length, 1);

function bind(layer: Layer, values: Float32Array): BoundLayer {
  let offset = 0;
  const parameters = layer.parameters.map(({ shape }) => {
    const size = sizeOf(shape);
    const value = tf.tensor(values.slice(offset, offset + size), [...shape]);
    const bound = { value, offset, size };
    offset += size;
    return bound;
  });
  return layer.bind(parameters, "fp32");
}

interface Gradients {
  readonly input: Float32Array;
  readonly parameters: Float32Array;
}

/** Of sum(weights * layer(x)). */
function gradients(
  layer: Layer,
  { x, values, weights }: Record<"x" | "values" | "weights", Float32Array>,
  inputShape: Shape,
  purpose: PassPurpose,
): Gradients {
  const bound = bind(layer, values);
  const kept = new Kept(purpose);
  const y = bound.forward(tf.tensor(x, [BATCH, ...inputShape]), kept);
  y.dispose();
  const parameters = new Float32Array(values.length);
  const sink = purpose === "update" ? new GradientSink(parameters) : null;
  const dx = bound.backward(tf.tensor(weights, [BATCH, ...layer.outputShape]), kept, { sink, input: true }) as Tensor;
  const input = dx.dataSync<"float32">().slice();
  dx.dispose();
  expect(() => kept.take()).toThrow("more than its forward pass kept");
  bound.dispose();
  return { input, parameters };
}

describe.each(await testedEngines())("$name", (engine) => {
  beforeAll(async () => {
    if (!engine.missing) await engine.use();
  });

  describe.skipIf(engine.missing)(titleOn(engine, "layers"), () => {
    it.each(layers)("%s: both gradients agree with finite differences", (_, build, inputShape) => {
      const layer = build(inputShape);
      const numParameters = sizeOf([layer.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0)]);
      // Away from the kinks of the piecewise ones: a difference must not step over zero.
      const x = normalValues(BATCH * sizeOf(inputShape), 1).map((v) => v + 0.1 * Math.sign(v));
      // Around the constants that they begin with: a sharpness near zero would leave nothing to measure.
      const begins = layer.parameters.flatMap(({ shape, initial }) => {
        const value = initial.kind === "constant" ? initial.value : 0;
        return new Array<number>(sizeOf(shape)).fill(value);
      });
      const values = normalValues(numParameters, 2, 0.5).map((v, i) => v + (begins[i] as number));
      const weights = normalValues(BATCH * sizeOf(layer.outputShape), 3);
      const loss = (x: Float32Array, values: Float32Array): number => {
        const bound = bind(layer, values);
        const y = bound.forward(tf.tensor(x, [BATCH, ...inputShape]), new Kept("logits"));
        expect(y.shape).toEqual([BATCH, ...layer.outputShape]);
        const sum = dot(y.dataSync(), weights);
        y.dispose();
        bound.dispose();
        return sum;
      };

      const before = tf.memory().numTensors;
      const found = gradients(layer, { x, values, weights }, inputShape, "update");
      const inputOnly = gradients(layer, { x, values, weights }, inputShape, "input");
      expect(inputOnly.input).toEqual(found.input);

      // Small moves for the sharp activations, whose curvature at zero is in the hundreds.
      const h = 0.004;
      for (const seed of [4, 5, 6]) {
        const dx = normalValues(x.length, seed).map((v) => Math.max(-3, Math.min(3, v)));
        const along = slope((at) => loss(at, values), x, dx, h);
        expect(Math.abs(along - dot(found.input, dx))).toBeLessThan(2e-3 * Math.sqrt(dot(found.input, found.input)));
        if (numParameters === 0) continue;
        const dp = normalValues(numParameters, seed + 10);
        const alongParameters = slope((at) => loss(x, at), values, dp, h);
        expect(Math.abs(alongParameters - dot(found.parameters, dp))).toBeLessThan(
          2e-3 * Math.sqrt(dot(found.parameters, found.parameters)),
        );
      }
      expect(tf.memory().numTensors).toBe(before);
    });

    it("a sequence computes no input gradient below its first parameters when nobody wants one", () => {
      const layer = sequence([
        ["a", activation(silu)],
        ["b", conv(2, 3, 1, true)],
        ["c", activation(silu)],
      ])([3, 3, 2]);
      const bound = bind(layer, normalValues(38, 2));
      const kept = new Kept("update");
      const into = new Float32Array(38);
      bound.forward(tf.ones([1, 3, 3, 2]), kept).dispose();
      const dx = bound.backward(tf.ones([1, 3, 3, 2]), kept, { sink: new GradientSink(into), input: false });
      expect(dx).toBeNull();
      expect(into.every((g) => g !== 0)).toBe(true);
      kept.dispose();
      bound.dispose();
    });
  });
});
