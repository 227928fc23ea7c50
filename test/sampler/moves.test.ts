/** The samplers' moves by hand, and JEM++'s inner loop against one written out over the first layer's adjoint. */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { configSchema } from "../../src/config/schema.js";
import { startCpu } from "../../src/engine/cpu.js";
import { createModel } from "../../src/model/create.js";
import { energyHead, jointEnergyHead, targetsOf } from "../../src/model/heads.js";
import { moveOf } from "../../src/sampler/moves.js";
import { advanceChains } from "../../src/sampler/sgld.js";
import { gaussianModel, linearModel } from "../kit/analytic-model.js";
import { hasPyTorch, pyTorchNote, runPyTorch } from "../kit/pytorch.js";

beforeAll(() => startCpu());

const key = (n: number) => ({ seed: 11n, purpose: 5, step: 2, positions: Int32Array.from({ length: n }, (_, i) => i) });
const move = (gradient: readonly number[], config: Parameters<typeof moveOf>[1]): number[] =>
  tf.tidy(() => Array.from(moveOf(tf.tensor4d([...gradient], [1, 2, 2, 1]), config).dataSync()));
const expectClose = (values: readonly number[], expected: readonly number[]): void =>
  expected.forEach((v, i) => {
    expect(values[i]).toBeCloseTo(v, 6);
  });

describe("one move, worked by hand", () => {
  const gradient = [2, -0.1, 0, -4];

  it("sgld descends the energy by a step of its gradient", () => {
    expectClose(move(gradient, { stepSize: 0.5, clampGradient: null }), [-1, 0.05, 0, 2]);
  });

  it("clamped, no pixel moves further than the bound", () => {
    expectClose(move(gradient, { kind: "sgld", stepSize: 0.5, clampGradient: 0.2 }), [-0.2, 0.05, 0, 0.2]);
  });

  it("proximal makes its inner steps along the same clamped gradient", () => {
    expectClose(move(gradient, { kind: "proximal", innerSteps: 5, stepSize: 0.5, clampGradient: 0.02 }), [-0.1, 0.1, 0, 0.1]);
  });

  it("dat makes a step of one L2 length, however small the gradient", () => {
    const length = Math.hypot(...gradient);
    const expected = gradient.map((g) => (-0.1 * g) / length);
    expectClose(move(gradient, { kind: "dat", stepSize: 0.1, clampGradient: null }), expected);
    expectClose(
      move(
        gradient.map((g) => g * 1e-25),
        { kind: "dat", stepSize: 0.1, clampGradient: null },
      ),
      expected,
    );
    expectClose(move([0, 0, 0, 0], { kind: "dat", stepSize: 0.1, clampGradient: null }), [0, 0, 0, 0]);
  });
});

describe("chains", () => {
  it("of DAT walk eta at a time towards the mode and then about it", () => {
    const model = gaussianModel({ mean: 0.5, variance: 0.01 });
    const start = tf.fill([1, 2, 2, 1], 0.9) as Tensor4D; // 0.8 from the mode in L2
    const config = { kind: "dat", stepSize: 0.1, noise: 0, clampGradient: null } as const;
    const chains = advanceChains(start, { model, config, steps: 5, key: key(1) });
    for (const value of chains.dataSync()) expect(value).toBeCloseTo(0.9 - 5 * 0.05, 5);
    chains.dispose();
  });

  it("of a class descend that class's energy and no other", () => {
    const model = linearModel([
      [1, 0, 0, 0],
      [0, 0, 2, 0],
    ]);
    const targets = targetsOf([1], 2);
    const start = tf.fill([1, 2, 2, 1], 0.5) as Tensor4D;
    const config = { stepSize: 0.1, noise: 0, clampGradient: null };
    const chains = advanceChains(start, { model, config, steps: 1, key: key(1), energy: jointEnergyHead(targets) });
    expectClose(Array.from(chains.dataSync()), [0.5, 0.5, 0.7, 0.5]);
    tf.dispose([targets, chains]);
    model.dispose();
  });
});

const scripts = new URL("pytorch_pyld.py", import.meta.url).pathname;

describe.skipIf(!hasPyTorch)(`the proximal sampler against JEM++'s inner loop in PyTorch${pyTorchNote}`, () => {
  it("moves as N steps along <conv1(x), p> with p held fixed do, clamped to [0,1] each time", () => {
    const config = configSchema.shape.model.parse({ kind: "convnet", stages: [{ channels: 5, stride: 2 }, { channels: 6 }] });
    const model = createModel(config, [6, 6, 3], 4);
    const values = model.initial(3n);
    const parameters = tf.tensor1d(values);
    const bound = model.bind(parameters, "fp32");
    const startValues = Float32Array.from({ length: 2 * 108 }, (_, i) => (Math.sin(i * 12.9898) * 43758.5453) % 1).map((v) => Math.abs(v));
    const sampler = { kind: "proximal", innerSteps: 5, stepSize: 0.4, clampGradient: 0.02, noise: 0 } as const;
    const chains = advanceChains(tf.tensor4d(startValues.slice(), [2, 6, 6, 3]), {
      model: bound,
      config: sampler,
      steps: 4,
      key: key(2),
      energy: energyHead(),
    });
    const moved = Array.from(chains.dataSync());
    const tensors = Object.fromEntries(
      model.parameters.map(({ name, shape, offset, size }) => [
        name,
        { shape, values: Array.from(values.subarray(offset, offset + size)) },
      ]),
    );
    const expected = runPyTorch(scripts, { tensors, start: Array.from(startValues), outer: 4, ...sampler }) as number[];
    let furthest = 0;
    moved.forEach((v, i) => {
      expect(Math.abs(v - (expected[i] as number))).toBeLessThan(2e-5);
      furthest = Math.max(furthest, Math.abs(v - (startValues[i] as number)));
    });
    expect(furthest).toBeGreaterThan(0.01);
    tf.dispose([parameters, chains]);
    bound.dispose();
  });
});
