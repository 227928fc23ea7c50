/**
 * Tries one recipe without the rest of the system: trains a configuration in this process on the training split less its last
 * 5,000 samples, evaluates on those, and prints one JSON line. The test split is never read, so what is chosen here is chosen
 * on validation data. Results worth keeping go to bench/LOG.md.
 *
 *   node dist/bench/recipe.js quickstart epochs=2 sampler.steps=10        ISOERG_THREADS=1 for one thread
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadConfig } from "../src/config/load.js";
import { decodeClassGaussians } from "../src/data/class-gaussians.js";
import { openDataset } from "../src/data/dataset.js";
import { createPlan, numSteps } from "../src/data/plan.js";
import { createMemorySamples, pixelsOf } from "../src/data/samples.js";
import { startEngine } from "../src/engine/choose.js";
import { evaluateModel } from "../src/evaluate/evaluate-model.js";
import { createModel } from "../src/model/create.js";
import { createStart } from "../src/sampler/start.js";
import type { StatePart } from "../src/train/link.js";
import { train } from "../src/train/loop.js";
import { createSoloLink } from "../src/train/solo-link.js";
import { flatParameters } from "../src/train/state.js";

const NUM_VALIDATION = 5000;
const NUM_ATTACKED = 1000;

const [source = "quickstart", ...overrides] = process.argv.slice(2);
const { config } = await loadConfig({ source, overrides, env: {} });
const engine = await startEngine({ engine: "auto", device: "cpu", threads: Number(process.env.ISOERG_THREADS ?? 2) });

const { path } = config.data;
const dataset = await openDataset(path, "train");
const { manifest, shape, numClasses } = dataset;
const numSamples = Math.min(config.data.subset ?? Infinity, dataset.numSamples - NUM_VALIDATION);
const all = await dataset.read(Uint32Array.from({ length: dataset.numSamples }, (_, i) => i));
const size = pixelsOf(shape);
const gaussians = decodeClassGaussians(await readFile(join(path, manifest.classGaussians.file)), {
  shape,
  numClasses,
  ...manifest.classGaussians,
});

const sizes = { numSamples, batchSize: config.data.batchSize };
const total = numSteps(sizes, config.epochs);
const phases: Record<string, number> = {};
let images = 0;
let saved: readonly StatePart[] = [];
const link = createSoloLink({
  plan: createPlan({ ...sizes, shuffleBlock: config.data.shuffleBlock, seed: BigInt(config.seed) }),
  numSteps: total,
  numChains: config.sampler.chains,
  read(ids) {
    images += ids.length;
    const batch = new Uint8Array(ids.length * size);
    for (const [i, id] of ids.entries()) batch.set(all.images.subarray(id * size, (id + 1) * size), i * size);
    return { images: batch, labels: Int32Array.from(ids, (id) => all.labels[id] as number) };
  },
  onCommit(step, { metrics, phasesMs }) {
    for (const [phase, ms] of Object.entries(phasesMs)) phases[phase] = (phases[phase] ?? 0) + ms;
    if (step % 50 === 0)
      process.stderr.write(`\r${step}/${total} loss ${metrics.loss?.toFixed(3)} acc ${metrics["accuracy/clean"]?.toFixed(2)}   `);
  },
  checkpointAfter: (step) => step === total - 1,
  onSave: (_step, parts) => {
    saved = parts.map((part) => ({ ...part, data: part.data.slice() }));
  },
});

const started = performance.now();
const stop = train({ config, data: { shape, numClasses, numSamples }, gaussians, link });
const seconds = (performance.now() - started) / 1000;
if (stop.outcome !== "finished") throw new Error(stop.reason);

const inputShape = [shape.height, shape.width, shape.channels] as const;
const model = createModel(config.model, inputShape, numClasses);
const tensors = new Map(saved.filter((part) => part.file === "model").map((part) => [part.tensor, part]));
const averaged = config.optimizer.ema > 0;
const validation = {
  images: all.images.slice(-NUM_VALIDATION * size),
  labels: all.labels.slice(-NUM_VALIDATION),
};
const { evaluation } = await evaluateModel(
  {
    model,
    weights: { kind: averaged ? "averaged" : "last", flat: flatParameters(model, tensors, averaged ? "ema." : "") },
    test: createMemorySamples({ shape, numClasses, samples: validation }),
    seed: 1n,
    numSamples: NUM_ATTACKED,
    attacks: [
      { ...config.evaluate.attack, steps: 20 },
      { ...config.evaluate.attack, steps: 20, target: "margin" },
    ],
    chains: {
      count: Number(process.env.ISOERG_GENERATED ?? 100),
      steps: config.evaluate.freshSteps,
      sampler: config.sampler,
      start: createStart({ kind: config.sampler.start, shape, numClasses, stats: gaussians }),
      precision: config.precision.inner,
    },
    buffer: null,
  },
  { batchSize: 250 },
);

const percent = (share: number | undefined): string => (100 * (share ?? Number.NaN)).toFixed(1);
const gapOf = (gap: (typeof evaluation.gaps)["adversarial"]): string =>
  gap ? `${gap.signedMean.toFixed(3)} W1 ${gap.wasserstein.toFixed(3)} W1/std ${(gap.wassersteinOverStd ?? Number.NaN).toFixed(2)}` : "-";
const allPhases = Object.values(phases).reduce((sum, ms) => sum + ms, 0);
process.stderr.write("\r");
console.log(
  JSON.stringify({
    overrides: overrides.join(" "),
    engine: `${engine.name} x${engine.threads}`,
    seconds: Math.round(seconds),
    imagesPerSecond: Math.round(images / seconds),
    clean: percent(evaluation.clean.accuracy),
    pgd20: percent(evaluation.attacks[0]?.accuracy.accuracy),
    worst: percent(evaluation.worstCase?.accuracy),
    adversarialGap: gapOf(evaluation.gaps.adversarial),
    generatedGap: gapOf(evaluation.gaps.generated),
    phases: Object.fromEntries(Object.entries(phases).map(([name, ms]) => [name, (ms / allPhases).toFixed(2)])),
  }),
);
await dataset.close();
