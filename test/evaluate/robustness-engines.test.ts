/** Every attack of the registry on every engine: the same samples fall. */
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { modelSchema } from "../../src/config/schema/model.js";
import { draws } from "../../src/engine/random/philox.js";
import {
  type AttackName,
  answersOf,
  attackNames,
  attacks,
  logitsOfSlice,
  type Slice,
  standardEffort,
} from "../../src/evaluate/robustness/attacks.js";
import { checkSanity, lossSurface, sensitivity } from "../../src/evaluate/robustness/probes.js";
import { createModel } from "../../src/model/create.js";
import { testedEngines, titleOn } from "../kit/engines.js";

const SHAPE = [6, 6, 3] as const;
const SIZE = 108;
const CLASSES = 5;
const NUM = 6;
const EFFORT = { ...standardEffort, steps: 12, queries: 30, targets: 2, pgdSteps: 5, pgdRestarts: 2, noiseDraws: 5 };
const BALLS = [
  { norm: "linf", eps: 0.02 },
  { norm: "l2", eps: 0.2 },
] as const;

const model = createModel(modelSchema.parse({ kind: "convnet", stages: [{ channels: 6, stride: 2 }], initGain: 2 }), SHAPE, CLASSES);

/** The classes are what the model answers, so that all samples are correct; call it on the engine in use. */
function sliceNow(): Slice {
  const x = Float32Array.from({ length: NUM * SIZE }, (_, i) => i);
  for (let i = 0; i < NUM; i++) {
    const draw = draws({ seed: 31n, purpose: 204, step: 0, position: i });
    for (let j = 0; j < SIZE; j++) x[i * SIZE + j] = 0.1 + 0.8 * draw.uniform();
  }
  const values = model.initial(5n);
  const parameters = tf.tensor1d(values.map((value, i) => value + 0.05 * Math.sin(i)));
  const slice: Slice = {
    model: model.bind(parameters, "fp32"),
    shape: SHAPE,
    numClasses: CLASSES,
    x,
    labels: new Int32Array(NUM),
    ids: Int32Array.from({ length: NUM }, (_, i) => i),
    seed: 1n,
  };
  parameters.dispose();
  return { ...slice, labels: answersOf(logitsOfSlice(slice), CLASSES) };
}

const expected = new Map<string, number[]>();

// cpu comes first: it is the reference that the others are held to.
describe.each(await testedEngines())("$name", (engine) => {
  let slice: Slice;
  let before = 0;
  beforeAll(async () => {
    if (engine.missing) return;
    await engine.use();
    slice = sliceNow();
  });
  beforeEach(() => {
    before = tf.memory().numTensors;
  });
  afterEach(() => {
    expect(tf.memory().numTensors, "tensors left behind").toBe(before);
  });

  describe.skipIf(engine.missing !== null)(titleOn(engine, "attacks"), () => {
    it.each(BALLS.flatMap((ball) => attackNames.map((name): [AttackName, (typeof BALLS)[number]] => [name, ball])))(
      "%s in %o",
      (name, ball) => {
        const fooled = [...attacks[name].run(slice, ball, EFFORT)];
        const key = `${name} ${ball.norm}`;
        const reference = expected.get(key) ?? fooled;
        expected.set(key, reference);
        // Engines round differently: a sample at the very edge may fall on one alone.
        expect(fooled.filter((one, i) => one !== reference[i]).length).toBeLessThanOrEqual(1);
      },
    );

    it("look at a model the same way", () => {
      expect(checkSanity(slice).stands).toEqual(Array.from({ length: NUM }, () => true));
      const ball = BALLS[0];
      const figures = [...lossSurface(slice, ball).values.flat(), ...sensitivity(slice, ball, 8).values.flat()] as number[];
      const reference = expected.get("figures") ?? figures;
      expected.set("figures", reference);
      figures.forEach((value, i) => {
        expect(Math.abs(value - (reference[i] as number))).toBeLessThan(0.02 * Math.abs(reference[i] as number) + 1e-4);
      });
    });
  });
});

describe("the reference", () => {
  it("is not trivial: some attack fools some samples, none fools all with every method", () => {
    const counts = [...expected].filter(([key]) => key !== "figures").map(([, fooled]) => fooled.reduce((a, b) => a + b, 0));
    expect(Math.max(...counts)).toBeGreaterThan(0);
    expect(Math.min(...counts)).toBeLessThan(NUM);
  });
});
