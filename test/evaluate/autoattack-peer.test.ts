/** Our AutoAttack against an independent one in PyTorch (bench/peers/autoattack.py), on a small network that was trained a little. */
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { fab } from "../../src/attack/fab.js";
import { ranked } from "../../src/attack/logit-loss.js";
import { modelSchema } from "../../src/config/schema/model.js";
import { startCpu } from "../../src/engine/cpu.js";
import { draws } from "../../src/engine/random/philox.js";
import {
  type AttackName,
  attacks,
  logitsOfSlice,
  type Slice,
  selectRows,
  standardAttacks,
  standardEffort,
} from "../../src/evaluate/robustness/attacks.js";
import { createModel } from "../../src/model/create.js";
import { crossEntropyHead, targetsOf } from "../../src/model/heads.js";
import { packageRoot } from "../../src/util/package.js";
import { encode, hasPyTorch, pyTorchNote, runPyTorch } from "../kit/pytorch.js";

const SHAPE = [8, 8, 3] as const;
const SIZE = 192;
const CLASSES = 5;
const NUM = 32;
const EFFORT = { ...standardEffort, steps: 20, queries: 120, targets: 4 };
const BALLS = [
  { norm: "linf", eps: 0.035 },
  { norm: "l2", eps: 0.35 },
] as const;

const config = modelSchema.parse({
  kind: "convnet",
  stages: [{ channels: 8, stride: 2 }, { channels: 12 }],
  input: { mean: [0.5], std: [0.25] },
});
const model = createModel(config, SHAPE, CLASSES);

/** Noise whose class shows in the brightness of one half of one channel. */
function sample(index: number): { image: number[]; label: number } {
  const draw = draws({ seed: 77n, purpose: 203, step: 0, position: index });
  const label = draw.below(CLASSES);
  const image = Array.from({ length: SIZE }, (_, j) => {
    const lit = j % 3 === label % 3 && label < 3 === (Math.floor(j / 96) === 0);
    return 0.3 + 0.4 * draw.uniform() + (lit ? 0.12 : 0);
  });
  return { image, label };
}

/** A few steps of gradient descent from the model's own initial values. */
function trained(): Float32Array {
  const values = model.initial(3n);
  const all = Array.from({ length: 100 }, (_, i) => sample(5000 + i));
  const x = tf.tensor4d(
    all.flatMap(({ image }) => image),
    [all.length, ...SHAPE],
  );
  const targets = targetsOf(
    all.map(({ label }) => label),
    CLASSES,
  );
  const gradient = new Float32Array(values.length);
  for (let step = 0; step < 50; step++) {
    const parameters = tf.tensor1d(values.slice());
    const bound = model.bind(parameters, "fp32");
    const pass = bound.forward(x);
    const slope = crossEntropyHead(targets)(pass.logits);
    pass.backward(slope, gradient);
    for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) - (0.7 / all.length) * (gradient[i] as number);
    tf.dispose([pass.logits, slope, parameters]);
    bound.dispose();
  }
  tf.dispose([x, targets]);
  return values;
}

describe.skipIf(!hasPyTorch)(`AutoAttack beside PyTorch${pyTorchNote}`, () => {
  interface Answer {
    readonly after: Readonly<Record<string, string>>;
    readonly fab: readonly number[];
    /** Standing after Square on all samples. */
    readonly square: string;
  }
  let slice: Slice;
  let peer: Answer[] = [];

  beforeAll(async () => {
    await startCpu();
    const values = trained();
    const all = Array.from({ length: NUM }, (_, i) => sample(i));
    slice = {
      model: model.bind(tf.tensor1d(values.slice()), "fp32"),
      shape: SHAPE,
      numClasses: CLASSES,
      x: Float32Array.from(all.flatMap(({ image }) => image)),
      labels: Int32Array.from(all, ({ label }) => label),
      ids: Int32Array.from(all.keys()),
      seed: 1n,
    };
    peer = runPyTorch(
      join(packageRoot, "bench", "peers", "autoattack.py"),
      {
        config,
        tensors: model.parameters.map(({ name, shape, offset, size }) => ({
          name,
          shape,
          data: encode(values.subarray(offset, offset + size)),
        })),
        images: encode(slice.x),
        shape: [NUM, ...SHAPE],
        labels: [...slice.labels],
        balls: BALLS.map((ball) => ({ ...ball, steps: EFFORT.steps, queries: EFFORT.queries, targets: EFFORT.targets })),
      },
      ["--stdin"],
    ) as Answer[];
  }, 240_000); // PyTorch starts slowly on a busy machine

  /** Digits of what stands after each attack of ours. */
  function ours(budget: (typeof BALLS)[number]): Record<string, string> {
    const logits = logitsOfSlice(slice);
    const standing = Array.from(slice.labels, (label, i) => ranked(logits.subarray(i * CLASSES, (i + 1) * CLASSES))[0] === label);
    const digits = (): string => standing.map((stands) => (stands ? "1" : "0")).join("");
    const after: Record<string, string> = { clean: digits() };
    for (const name of standardAttacks(CLASSES)) {
      const rows = [...standing.keys()].filter((row) => standing[row]);
      attacks[name].run(selectRows(slice, rows), budget, EFFORT).forEach((fooled, i) => {
        if (fooled) standing[rows[i] as number] = false;
      });
      after[name] = digits();
    }
    return after;
  }

  const differing = (a: string, b: string): number => [...a].filter((digit, i) => digit !== b[i]).length;
  const count = (digits: string): number => [...digits].filter((digit) => digit === "1").length;

  it.each(BALLS.map((ball, index) => ({ ...ball, index })))("leaves the same samples standing in $norm, attack by attack", ({ index }) => {
    const found = ours(BALLS[index] as (typeof BALLS)[number]);
    const theirs = (peer[index] as Answer).after;
    // A budget at which the answer is not trivial.
    expect(count(found.clean as string)).toBeGreaterThan(18);
    expect(count(found.square as string)).toBeGreaterThan(3);
    expect(count(found.square as string)).toBeLessThan(count(found.clean as string) - 3);
    expect(found.clean).toBe(theirs.clean);
    // Starts are drawn apart, so a sample at the very edge may fall to one and not to the other.
    for (const name of standardAttacks(CLASSES)) {
      expect(differing(found[name] as string, theirs[name] as string), name).toBeLessThanOrEqual(1);
    }
  });

  it.each(BALLS.map((ball, index) => ({ ...ball, index })))(
    "finds the same nearest points by FAB in $norm, which draws nothing",
    ({ norm, index }) => {
      const logits = logitsOfSlice(slice);
      const order = Array.from(slice.labels, (_, i) => ranked(logits.subarray(i * CLASSES, (i + 1) * CLASSES)));
      const right = [...slice.labels.keys()].filter((i) => order[i]?.[0] === slice.labels[i]);
      const rest = selectRows(slice, right);
      const { distance } = fab({ ...rest, targets: Int32Array.from(right, (i) => order[i]?.[1] as number), norm, steps: EFFORT.steps });
      const theirs = (peer[index] as Answer).fab;
      expect(theirs).toHaveLength(distance.length);
      distance.forEach((own, i) => {
        expect(own / (theirs[i] as number), `sample ${right[i]}`).toBeCloseTo(1, 2);
      });
    },
  );

  it.each(BALLS.map((ball, index) => ({ ...ball, index })))("fools about as many by Square alone in $norm", ({ index }) => {
    const fooled = attacks.square.run(slice, BALLS[index] as (typeof BALLS)[number], EFFORT);
    const standing = Array.from(fooled, (one) => (one ? "0" : "1")).join("");
    const theirs = (peer[index] as Answer).square;
    // Random search from other draws, cut short: samples at the edge differ, the strength does not.
    expect(Math.abs(count(standing) - count(theirs))).toBeLessThanOrEqual(3);
    expect(differing(standing, theirs)).toBeLessThanOrEqual(5);
    expect(count(standing)).toBeLessThan(NUM - 3);
  });

  it("names every attack that AutoAttack has", () => {
    expect(Object.keys(peer[0]?.after ?? {})).toEqual(["clean", ...standardAttacks(CLASSES)] satisfies (AttackName | "clean")[]);
  });
});
