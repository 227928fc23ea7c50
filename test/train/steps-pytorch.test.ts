/** Whole trainings of a few steps against the published algorithms written in PyTorch (float64): the weights they end with. */
import { beforeAll, describe, expect, it } from "vitest";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import type { Config } from "../../src/config/schema.js";
import { createPlan } from "../../src/data/plan.js";
import { startCpu } from "../../src/engine/cpu.js";
import { createModel } from "../../src/model/create.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink } from "../../src/train/solo-link.js";
import { relativeError } from "../kit/close.js";
import { hasPyTorch, pyTorchNote, runPyTorch } from "../kit/pytorch.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "../kit/small-run.js";

const NUM_SAMPLES = 18;
const NUM_STEPS = 3;
const size = SHAPE.height * SHAPE.width * SHAPE.channels;
const samples = smallSamples(NUM_SAMPLES);
const optimizer = { kind: "sgd", lr: 0.05, momentum: 0.9 };
const zero = { start: "zero", eps: 8 / 255, stepSize: 3 / 255 };

const CASES: Record<string, { step: string; overrides: Record<string, unknown>; averageFrom?: number }> = {
  "SGD, and the mean of the last two weights (SWA)": {
    step: "standard",
    overrides: { objective: { "clean-ce": 1 }, optimizer: { ...optimizer, swa: { from: 0.4, everyUpdates: 1 } } },
    averageFrom: 1,
  },
  "PGD up the cross-entropy": { step: "pgd", overrides: { attack: { ...zero, steps: 3 } } },
  "PGD down the energy": { step: "pgd", overrides: { attack: { ...zero, steps: 3, target: "energy", direction: "descend" } } },
  "PGD in L2 up the margin": {
    step: "pgd",
    overrides: { attack: { ...zero, steps: 4, norm: "l2", eps: 0.5, stepSize: 0.2, target: "margin" } },
  },
  "PGD up CE + lambda E": { step: "pgd", overrides: { attack: { ...zero, steps: 3, target: "cross-entropy-energy", energyWeight: -0.5 } } },
  Free: { step: "free", overrides: { attack: { ...zero, kind: "free", replays: 4, stepSize: 8 / 255 } } },
  "YOPO-3-2": { step: "yopo", overrides: { attack: { ...zero, kind: "yopo", replays: 3, innerSteps: 2 } } },
  AWP: {
    step: "awp",
    overrides: { objective: { "clean-ce": 1 }, optimizer: { ...optimizer, perturbation: { kind: "awp", gamma: 0.05 } } },
  },
  "adaptive SAM": {
    step: "sam",
    overrides: { objective: { "clean-ce": 1 }, optimizer: { ...optimizer, perturbation: { kind: "sam", rho: 2 } } },
  },
  SAM: {
    step: "sam",
    overrides: { objective: { "clean-ce": 1 }, optimizer: { ...optimizer, perturbation: { kind: "sam", rho: 0.3, adaptive: false } } },
  },
};

interface Batch {
  readonly images: number[];
  readonly labels: number[];
}

function trained(config: Config): { weights: Map<string, ArrayLike<number>>; batches: Batch[] } {
  const batches: Batch[] = [];
  let parts: readonly StatePart[] = [];
  const { batchSize, shuffleBlock } = config.data;
  const link = createSoloLink({
    plan: createPlan({ numSamples: NUM_SAMPLES, batchSize, shuffleBlock, seed: BigInt(config.seed) }),
    numSteps: NUM_STEPS,
    numChains: 0,
    read: (ids) => {
      const images = Uint8Array.from(Array.from(ids).flatMap((id) => Array.from(samples.images.subarray(id * size, (id + 1) * size))));
      const labels = Int32Array.from(ids, (id) => samples.labels[id] as number);
      batches.push({ images: [...images], labels: [...labels] });
      return { images, labels };
    },
    checkpointAfter: (step) => step === NUM_STEPS - 1,
    onSave: (_step, saved) => {
      parts = saved.map((part) => ({ ...part, data: part.data.slice() }));
    },
  });
  train({ config, data: { shape: SHAPE, numClasses: NUM_CLASSES, numSamples: NUM_SAMPLES }, gaussians: null, link });
  return { weights: new Map(parts.filter(({ file }) => file === "model").map(({ tensor, data }) => [tensor, data])), batches };
}

const configOf = (overrides: Record<string, unknown>): Config =>
  smallConfig({
    epochs: 1,
    objective: { "adversarial-ce": 1 },
    sampler: { chains: 0 },
    optimizer,
    model: { kind: "mlp", hidden: [7] },
    ...overrides,
    data: { path: "unused", batchSize: 6, shuffleBlock: 16 },
  });

interface Answer {
  readonly last: Record<string, number[]>;
  readonly mean: Record<string, number[]>;
}

describe.skipIf(!hasPyTorch)(`three steps end where PyTorch's do${pyTorchNote}`, () => {
  let results: ReturnType<typeof trained>[] = [];
  let answers: Answer[] = [];

  beforeAll(async () => {
    await startCpu();
    const entries = Object.values(CASES);
    results = entries.map(({ overrides }) => trained(configOf(overrides)));
    const questions = entries.map(({ step, overrides, averageFrom }, i) => {
      const config = configOf(overrides);
      const model = createModel(config.model, [SHAPE.height, SHAPE.width, SHAPE.channels], NUM_CLASSES);
      const values = model.initial(BigInt(config.seed));
      const weights = Object.fromEntries(
        model.parameters.map(({ name, shape, offset, size: length }) => [
          name,
          { shape, values: [...values.subarray(offset, offset + length)] },
        ]),
      );
      const swa = averageFrom === undefined ? null : { first: averageFrom };
      return { step, weights, batches: results[i]?.batches, attack: config.attack, optimizer: { ...config.optimizer, swa } };
    });
    answers = runPyTorch(new URL("pytorch_steps.py", import.meta.url).pathname, questions) as Answer[];
  }, 120_000);

  it.each(Object.keys(CASES).map((title, index) => ({ title, index })))("$title", ({ index }) => {
    const { weights } = results[index] as ReturnType<typeof trained>;
    const { last, mean } = answers[index] as Answer;
    for (const [name, expected] of Object.entries(last))
      expect(relativeError(weights.get(name) as ArrayLike<number>, expected), name).toBeLessThan(1e-5);
    for (const [name, expected] of Object.entries(mean)) {
      expect(relativeError(weights.get(`ema.${name}`) as ArrayLike<number>, expected), name).toBeLessThan(1e-5);
    }
  });

  it("and each of them ends elsewhere", () => {
    const ends = results.map(({ weights }) => Array.from(weights.get("head.weight") as ArrayLike<number>));
    for (const [i, a] of ends.entries()) for (const b of ends.slice(i + 1)) expect(relativeError(a, b)).toBeGreaterThan(1e-4);
  });
});
