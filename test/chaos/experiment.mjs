/** The small experiments that faults are done to, their data, and the undisturbed run that each is compared with. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { configSchema } from "../../dist/src/config/schema.js";
import { prepareDataset } from "../../dist/src/data/prepare.js";
import { draws } from "../../dist/src/engine/random/philox.js";
import { Cluster, readMetrics } from "./cluster.mjs";

const SHAPE = { height: 6, width: 6, channels: 3 };
const NUM_TRAIN = 240;
const SIZE = SHAPE.height * SHAPE.width * SHAPE.channels;
export const BATCH = 20;
export const STEPS_PER_EPOCH = NUM_TRAIN / BATCH;

/** Images whose class shows in the brightness of a channel. */
function sampleImages(numSamples) {
  const images = new Uint8Array(numSamples * SIZE);
  const labels = new Int32Array(numSamples);
  for (let i = 0; i < numSamples; i++) {
    const draw = draws({ seed: 99n, purpose: 250, step: 0, position: i });
    labels[i] = draw.below(3);
    for (let j = 0; j < SIZE; j++) images[i * SIZE + j] = Math.floor(draw.uniform() * 120) + (j % 3 === labels[i] ? 100 : 30);
  }
  return { images, labels };
}

const OBJECTIVES = {
  /** Clean and adversarial: every state is on every worker, so nothing of a killed one is lost. */
  robust: {
    objective: { "clean-ce": 0.5, "adversarial-ce": 1, "align-adversarial": 1 },
    attack: { steps: 2, stepSize: "4/255" },
  },
  /** All three kinds of sample. Chains live on one worker each: those of a killed one are lost, those of one that leaves are not. */
  joint: {
    objective: { "clean-ce": 0.5, "adversarial-ce": 1, contrast: { value: 0.5, warmup: 0.1 }, "energy-l2": 0.01, "align-generated": 0.5 },
    attack: { steps: 1, stepSize: "4/255" },
    sampler: {
      chains: 6,
      bufferSize: 24,
      steps: 2,
      stepSize: 1,
      noise: 0.01,
      clampGradient: 0.03,
      start: "uniform",
      every: 1,
      reinit: 0.1,
    },
  },
  /** A step of a few milliseconds. */
  plain: { objective: { "clean-ce": 1 } },
};

/** @returns the experiment's file, its steps, and its plan. */
export async function prepareExperiment(folder, kind, epochs, everySteps = 10) {
  const data = join(folder, `data-${kind}`);
  const all = sampleImages(NUM_TRAIN + 12);
  const part = (from, to) => ({ images: all.images.slice(from * SIZE, to * SIZE), labels: all.labels.slice(from, to) });
  const origin = {
    id: "memory",
    obtain: async () => "",
    async *read() {
      yield { split: "train", samples: part(0, NUM_TRAIN) };
      yield { split: "test", samples: part(NUM_TRAIN, NUM_TRAIN + 12) };
    },
  };
  const classes = ["red", "green", "blue"];
  const numSamples = { train: NUM_TRAIN, test: 12 };
  const source = {
    name: "brightness",
    summary: "classes by the brightness of a channel",
    shape: SHAPE,
    classes,
    numSamples,
    origins: [origin],
  };
  await prepareDataset(source, { out: data, cacheFolder: join(folder, "cache") });
  const config = configSchema.parse({
    name: kind,
    epochs,
    data: { path: data, batchSize: BATCH, shuffleBlock: 16, augment: { flip: true, shift: 1 } },
    model: { kind: "mlp", hidden: [24] },
    optimizer: { kind: "adam", lr: 0.003, ema: 0.9 },
    checkpoint: { everySteps, keepLast: 2 },
    ...OBJECTIVES[kind],
  });
  const experiment = join(folder, `${kind}-${epochs}.yaml`);
  await writeFile(experiment, stringify(config));
  const planOptions = { numSamples: NUM_TRAIN, shuffleBlock: 16, batchSize: BATCH, seed: BigInt(config.seed) };
  return { experiment, numSteps: epochs * STEPS_PER_EPOCH, planOptions };
}

/** Trains it with one worker that nothing happens to. @returns its metrics */
export async function undisturbed(folder, { experiment }, engine, name) {
  const cluster = new Cluster({ experiment, run: join(folder, `reference-${name}`), engine, restarts: false });
  try {
    cluster.startLeader({ workers: 1 });
    await cluster.startWorker("w0");
    const code = await cluster.finished;
    if (code !== 0) throw new Error(`the undisturbed run ended with ${code}: ${JSON.stringify(cluster.lines().at(-1))}`);
    return readMetrics(cluster.options.run);
  } finally {
    await cluster.close();
  }
}
