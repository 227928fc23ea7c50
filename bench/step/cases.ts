/**
 * The training steps that `isoerg bench step` times, as configurations: the whole objective over clean, attacked and generated
 * samples, with five attack steps and ten Langevin steps, as many chains as clean samples.
 */
import { type Config, configSchema, type ModelConfig } from "../../src/config/schema.js";

export interface StepCase {
  readonly name: string;
  readonly summary: string;
  readonly config: Config;
  /** Short steps are repeated so many times more, so that the just-in-time compilers have settled. */
  readonly repeat: number;
}

const quickstartStages = [
  { channels: 32, stride: 2 },
  { channels: 64, stride: 2 },
  { channels: 64 },
  { channels: 128, stride: 2 },
  { channels: 128 },
];

export const stepCases: readonly StepCase[] = [
  stepCase("wrn-16-2", "WideResNet 16-2, batch 64", 64, { kind: "wide-resnet", depth: 16, width: 2 }),
  stepCase("wrn-28-2", "WideResNet 28-2, batch 32", 32, { kind: "wide-resnet", depth: 28, width: 2 }),
  stepCase("quickstart", "the quickstart's network, batch 128", 128, { kind: "convnet", stages: quickstartStages }),
  stepCase("tiny", "two convolutions of 8 channels, batch 4: what an operation costs", 4, {
    kind: "convnet",
    stages: [
      { channels: 8, stride: 2 },
      { channels: 8, stride: 2 },
    ],
  }),
];

/** A step of the whole method for a model: pixels in [0,1], images of 32 x 32 x 3. */
export function stepCase(name: string, summary: string, batchSize: number, model: object): StepCase {
  const config = configSchema.parse({
    name,
    data: { path: "synthetic", batchSize },
    model: model as ModelConfig,
    objective: {
      "clean-ce": 0.5,
      "adversarial-ce": 1,
      "align-adversarial": 1,
      contrast: 0.1,
      "align-generated": 0.1,
      "energy-l2": 0.005,
    },
    attack: { norm: "linf", eps: "8/255", steps: 5, stepSize: "2/255" },
    sampler: {
      chains: batchSize,
      bufferSize: 4 * batchSize,
      steps: 10,
      stepSize: 1,
      clampGradient: 0.03,
      noise: 0.005,
      start: "uniform",
    },
    optimizer: { kind: "sgd", lr: 0.001, momentum: 0.9, weightDecay: 5e-4 },
  });
  return { name, summary, config, repeat: batchSize < 16 ? 20 : 1 };
}
