/** A training small enough for the reference engine: random images whose class shows in their brightness, a tiny convnet. */
import { type Config, configSchema } from "../../src/config/schema.js";
import { draws } from "../../src/engine/random/philox.js";

export const SHAPE = { height: 8, width: 8, channels: 3 } as const;
export const NUM_CLASSES = 3;

/** uint8 images [n,8,8,3] and labels; learnable: the class sets the mean of a channel. */
export function smallSamples(numSamples: number): { images: Uint8Array; labels: Int32Array } {
  const size = SHAPE.height * SHAPE.width * SHAPE.channels;
  const images = new Uint8Array(numSamples * size);
  const labels = new Int32Array(numSamples);
  for (let i = 0; i < numSamples; i++) {
    const draw = draws({ seed: 99n, purpose: 250, step: 0, position: i });
    const label = draw.below(NUM_CLASSES);
    labels[i] = label;
    for (let j = 0; j < size; j++) images[i * size + j] = Math.floor(draw.uniform() * 120) + (j % 3 === label ? 100 : 30);
  }
  return { images, labels };
}

/** The joint objective with every term on, unless overridden. */
export function smallConfig(overrides: Record<string, unknown> = {}): Config {
  return configSchema.parse({
    name: "small",
    epochs: 2,
    data: { path: "unused", batchSize: 10, shuffleBlock: 16, augment: { flip: true, shift: 1 } },
    model: { kind: "convnet", stages: [{ channels: 6, stride: 2 }, { channels: 8 }] },
    objective: {
      "clean-ce": 0.5,
      "adversarial-ce": 1,
      contrast: { value: 0.5, warmup: 0.1 },
      "energy-l2": 0.01,
      "align-adversarial": 1,
      "align-generated": 0.5,
    },
    attack: { steps: 2, stepSize: "4/255" },
    sampler: {
      chains: 6,
      bufferSize: 24,
      steps: 2,
      stepSize: 1,
      noise: 0.01,
      clampGradient: 0.03,
      start: "uniform",
      every: 2,
      reinit: 0.1,
    },
    optimizer: { kind: "adam", lr: 0.01, clipNorm: 5, ema: 0.9 },
    ...overrides,
  });
}
