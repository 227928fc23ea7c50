/**
 * Tries one recipe without the rest of the system: trains a configuration in this process on the training split less its last
 * 5,000 samples, evaluates on those, and prints one JSON line. The test split is never read, so what is chosen here is chosen
 * on validation data. Results worth keeping go to bench/LOG.md.
 *
 *   node dist/bench/recipe.js quickstart epochs=2 sampler.steps=10        ISOERG_THREADS=1 for one thread
 */
import { loadConfig } from "../src/config/load.js";
import { createMemorySamples } from "../src/data/samples.js";
import { startEngine } from "../src/engine/choose.js";
import { evaluateModel } from "../src/evaluate/evaluate-model.js";
import { createStart } from "../src/sampler/start.js";
import { readTrialData, runTrial } from "./kit/trial.js";

const NUM_VALIDATION = 5000;
const NUM_ATTACKED = 1000;

const [source = "quickstart", ...overrides] = process.argv.slice(2);
const { config } = loadConfig({ source, overrides, env: {} });
const engine = await startEngine({ engine: "auto", device: "cpu", threads: Number(process.env.ISOERG_THREADS ?? 2) });
const data = await readTrialData(config.data.path, { numValidation: NUM_VALIDATION });

const trained = runTrial(config, data, (step, total, metrics) => {
  if (step % 50 === 0)
    process.stderr.write(`\r${step}/${total} loss ${metrics.loss?.toFixed(3)} acc ${metrics["accuracy/clean"]?.toFixed(2)}   `);
});

const { shape, numClasses } = data;
const { evaluation } = await evaluateModel(
  {
    model: trained.model,
    weights: trained.weights,
    test: createMemorySamples({ shape, numClasses, samples: data.validation }),
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
      start: createStart({ kind: config.sampler.start, shape, numClasses, stats: data.gaussians }),
      precision: config.precision.inner,
    },
    buffer: null,
  },
  { batchSize: 250 },
);

const percent = (share: number | undefined): string => (100 * (share ?? Number.NaN)).toFixed(1);
const gapOf = (gap: (typeof evaluation.gaps)["adversarial"]): string =>
  gap ? `${gap.signedMean.toFixed(3)} W1 ${gap.wasserstein.toFixed(3)} W1/std ${(gap.wassersteinOverStd ?? Number.NaN).toFixed(2)}` : "-";
process.stderr.write("\r");
console.log(
  JSON.stringify({
    overrides: overrides.join(" "),
    engine: `${engine.name} x${engine.threads}`,
    seconds: Math.round(trained.seconds),
    imagesPerSecond: Math.round(trained.imagesPerSecond),
    clean: percent(evaluation.clean.accuracy),
    pgd20: percent(evaluation.attacks[0]?.accuracy.accuracy),
    worst: percent(evaluation.worstCase?.accuracy),
    adversarialGap: gapOf(evaluation.gaps.adversarial),
    generatedGap: gapOf(evaluation.gaps.generated),
    phases: Object.fromEntries(Object.entries(trained.phases).map(([name, share]) => [name, share.toFixed(2)])),
  }),
);
