/**
 * The memory that a dry run foretells against what the torch engine counts while it trains: within 30 % for networks of
 * three kinds, in both precisions and in micro-batches. Skipped, with the reason, where there is no libtorch.
 */
import { afterAll, describe, expect, it } from "vitest";
import { estimateMemory, layoutFactors } from "../../../src/cli/train/memory-estimate.js";
import { type Config, configSchema } from "../../../src/config/schema.js";
import { createPlan } from "../../../src/data/plan.js";
import { bridge } from "../../../src/engine/torch/bridge.js";
import { createModel } from "../../../src/model/create.js";
import { createObjective } from "../../../src/objective/objective.js";
import { train } from "../../../src/train/loop.js";
import { createSoloLink } from "../../../src/train/solo-link.js";
import { startTestTorch, torchMissing } from "../../engine/torch-kit.js";

const missing = await torchMissing();
/** Estimate and measurement may differ by this factor, either way. */
const FACTOR = 1.3;
const SHAPE = { height: 32, width: 32, channels: 3 };

function configOf(model: object, changes: object = {}): Config {
  return configSchema.parse({
    name: "memory",
    data: { path: "synthetic", batchSize: 32 },
    model,
    objective: { "clean-ce": 1, "adversarial-ce": 1, contrast: 0.1 },
    attack: { norm: "linf", eps: "8/255", steps: 2, stepSize: "4/255" },
    sampler: { chains: 32, bufferSize: 64, steps: 2, stepSize: 1, noise: 0.01, start: "uniform" },
    optimizer: { kind: "sgd", lr: 0.001, momentum: 0.9, weightDecay: 5e-4 },
    ...changes,
  });
}

const stages = [
  { channels: 32, stride: 2 },
  { channels: 64, stride: 2 },
  { channels: 64 },
  { channels: 128, stride: 2 },
  { channels: 128 },
];
const cases: readonly { readonly title: string; readonly config: Config }[] = [
  { title: "a convolutional network", config: configOf({ kind: "convnet", stages }) },
  { title: "a WideResNet", config: configOf({ kind: "wide-resnet", depth: 10, width: 2 }) },
  {
    title: "a WideResNet, inner loops in bf16",
    config: configOf({ kind: "wide-resnet", depth: 10, width: 2 }, { precision: { inner: "bf16" } }),
  },
  {
    title: "a WideResNet in micro-batches",
    config: configOf({ kind: "wide-resnet", depth: 10, width: 2 }, { memory: { microBatch: 16 } }),
  },
  { title: "a perceptron", config: configOf({ kind: "mlp", hidden: [512, 256] }, { optimizer: { kind: "adam", lr: 0.001, ema: 0.99 } }) },
];

describe.skipIf(missing !== null)("the estimate of a step's memory", () => {
  afterAll(() => bridge().trim());

  it.each(cases)("is within 30 % of what is measured: $title", async ({ config }) => {
    const engine = await startTestTorch();
    const estimate = estimateMemory({
      config,
      model: createModel(config.model, [32, 32, 3], 10),
      views: createObjective(config.objective).views,
      samples: config.data.batchSize,
      chains: config.sampler.chains,
      bf16: true,
      layoutFactors: layoutFactors(engine),
    });
    bridge().resetPeak(-1);
    const before = engine.memory().bytes;
    const numSamples = 64;
    const link = createSoloLink({
      plan: createPlan({ numSamples, batchSize: 32, shuffleBlock: numSamples, seed: 1n }),
      numSteps: 2,
      numChains: 32,
      read: (ids) => ({ images: new Uint8Array(ids.length * 32 * 32 * 3).fill(99), labels: Int32Array.from(ids, (id) => id % 10) }),
      onCommit: () => {},
    });
    expect(train({ config, data: { shape: SHAPE, numClasses: 10, numSamples }, gaussians: null, link }).outcome).toBe("finished");
    const measured = engine.memory().peakBytes - before;
    expect(estimate.peakBytes / measured).toBeLessThan(FACTOR);
    expect(measured / estimate.peakBytes).toBeLessThan(FACTOR);
  });

  it("follows the settings that it names", () => {
    const base = configOf({ kind: "convnet", stages });
    const of = (config: Config) =>
      estimateMemory({
        config,
        model: createModel(config.model, [32, 32, 3], 10),
        views: createObjective(config.objective).views,
        samples: config.data.batchSize,
        chains: config.sampler.chains,
        bf16: true,
        layoutFactors: { filter: 1, square3: 1 },
      });
    const whole = of(base);
    expect(of({ ...base, memory: { microBatch: 24 } }).parts.updateBytes).toBe(whole.parts.updateBytes / 4);
    expect(of({ ...base, precision: { inner: "bf16", update: "fp32" } }).parts.innerBytes).toBeLessThan(whole.parts.innerBytes);
    const buffer = { ...base.sampler, bufferSize: base.sampler.bufferSize * 2 };
    expect(of({ ...base, sampler: buffer }).hostBytes - whole.hostBytes).toBe(4 * base.sampler.bufferSize * 32 * 32 * 3);
  });
});
