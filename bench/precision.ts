/**
 * What bfloat16 in the inner loops does to the strength of the attack, to the chains and to the trained model.
 *
 * Two parts, one JSON line each:
 * - on the SAME trained weights: the cross-entropy that PGD reaches, the accuracy it leaves, and the energies of chains after K
 *   steps, with inner passes in float32 and in bfloat16, same starts and same noise; what comes out is always judged in float32;
 * - over several seeds: the recipe trained with either precision (inner loops alone, and update too), evaluated in float32 on
 *   validation images.
 *
 *   node dist/bench/precision.js quickstart --seeds 3 --out FILE [key=value ...]       ISOERG_THREADS=1 for one thread
 *
 * Each training's line is appended to FILE when it is done; what stands there already is not trained again.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import { pgd } from "../src/attack/pgd.js";
import { loadConfig } from "../src/config/load.js";
import type { AttackConfig, Config } from "../src/config/schema.js";
import { createMemorySamples } from "../src/data/samples.js";
import { startEngine } from "../src/engine/choose.js";
import type { Precision } from "../src/engine/ops.js";
import { PURPOSE } from "../src/engine/random/purpose.js";
import { evaluateModel } from "../src/evaluate/evaluate-model.js";
import { drawChains, type Images, logitsOf } from "../src/evaluate/passes.js";
import { energies } from "../src/model/energy.js";
import type { BoundModel } from "../src/model/model.js";
import { createStart } from "../src/sampler/start.js";
import { readTrialData, runTrial, type TrialData, type TrialResult } from "./kit/trial.js";

const NUM_VALIDATION = 5000;
const NUM_ATTACKED = 1000;
const NUM_CHAINS = 500;
const BATCH = { batchSize: 250 };

/** Precision of the inner loops and of the update. */
const ARMS: readonly { readonly inner: Precision; readonly update: Precision }[] = [
  { inner: "fp32", update: "fp32" },
  { inner: "bf16", update: "fp32" },
  { inner: "bf16", update: "bf16" },
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seeds: { type: "string", default: "3" }, out: { type: "string" } },
});
const [source = "quickstart", ...overrides] = positionals;
const done =
  values.out && existsSync(values.out)
    ? readFileSync(values.out, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
    : [];
const { config: base } = loadConfig({ source, overrides, env: {} });
await startEngine({ engine: "auto", device: "cpu", threads: Number(process.env.ISOERG_THREADS ?? 2) });
const data = await readTrialData(base.data.path, { numValidation: NUM_VALIDATION });

let sameWeights = done.some((line) => line.part === "same weights");
for (let seed = 1; seed <= Number(values.seeds); seed++) {
  for (const precision of ARMS) {
    const name = `inner ${precision.inner}, update ${precision.update}`;
    if (done.some((line) => line.part === "training" && line.name === name && line.seed === seed)) continue;
    const config: Config = { ...base, seed, precision };
    const trained = runTrial(config, data, (step, total) => {
      if (step % 50 === 0) process.stderr.write(`\rseed ${seed}, ${name}: ${step}/${total}   `);
    });
    report({ part: "training", name, seed, ...(await judge(config, trained, data)) });
    if (!sameWeights && precision.inner === "fp32") {
      for (const line of await compareOnSameWeights(config, trained, data)) report(line);
      sameWeights = true;
    }
  }
}

function report(line: object): void {
  process.stderr.write("\r");
  console.log(JSON.stringify(line));
  if (values.out) appendFileSync(values.out, `${JSON.stringify(line)}\n`);
}

async function judge(config: Config, { model, weights, seconds }: TrialResult, { shape, numClasses, validation, gaussians }: TrialData) {
  const { evaluation } = await evaluateModel(
    {
      model,
      weights,
      test: createMemorySamples({ shape, numClasses, samples: validation }),
      seed: 1n,
      numSamples: NUM_ATTACKED,
      attacks: [
        { ...config.evaluate.attack, steps: 20 },
        { ...config.evaluate.attack, steps: 20, target: "margin" },
      ],
      chains: {
        count: NUM_CHAINS,
        steps: config.evaluate.freshSteps,
        sampler: config.sampler,
        start: createStart({ kind: config.sampler.start, shape, numClasses, stats: gaussians }),
        precision: "fp32",
      },
      buffer: null,
    },
    BATCH,
  );
  const { clean, attacks, worstCase, gaps } = evaluation;
  return {
    seconds,
    clean: clean.accuracy,
    pgd20: attacks[0]?.accuracy.accuracy,
    worst: worstCase?.accuracy,
    adversarialGap: gaps.adversarial?.signedMean,
    adversarialOverStd: gaps.adversarial?.wassersteinOverStd,
    generatedGap: gaps.generated?.signedMean,
  };
}

/** Attacks and chains on one set of weights, in either precision of the passes. */
async function compareOnSameWeights(config: Config, { model, weights }: TrialResult, trialData: TrialData): Promise<object[]> {
  const { shape, numClasses, validation, gaussians } = trialData;
  const inputShape = [shape.height, shape.width, shape.channels] as const;
  const size = shape.height * shape.width * shape.channels;
  const images: Images = { shape: inputShape, numImages: NUM_ATTACKED, data: validation.images.slice(0, NUM_ATTACKED * size) };
  const labels = validation.labels.slice(0, NUM_ATTACKED);
  const start = createStart({ kind: config.sampler.start, shape, numClasses, stats: gaussians });
  const parameters = tf.tensor1d(weights.flat.slice());
  const judgeModel = model.bind(parameters, "fp32");
  const lines: object[] = [];
  for (const precision of ["fp32", "bf16"] as const) {
    const inner = model.bind(parameters, precision);
    for (const steps of [config.attack.steps, 10, 20]) {
      const stepSize = steps === config.attack.steps ? config.attack.stepSize : config.evaluate.attack.stepSize;
      const { norm, eps } = config.attack;
      const attack = { ...config.evaluate.attack, norm, eps, steps, stepSize };
      // The attack's own passes are in `precision`; its result is judged by the float32 network.
      const logits = attackedLogits({ attacker: inner, judge: judgeModel, images, labels, numClasses, attack });
      lines.push({ part: "same weights", precision, attack: `PGD-${steps}`, ...lossAndAccuracy(logits, labels, numClasses) });
    }
    for (const steps of [config.sampler.steps, config.evaluate.freshSteps]) {
      const drawn = await drawChains(
        inner,
        inputShape,
        NUM_CHAINS,
        { config: config.sampler, steps, start, seed: 1n, purpose: PURPOSE.evaluateChain, labels: null, numClasses },
        BATCH,
      );
      const energy = energies(await logitsOf(judgeModel, drawn, numClasses, BATCH), numClasses);
      const mean = energy.reduce((sum, e) => sum + e, 0) / energy.length;
      const std = Math.sqrt(energy.reduce((sum, e) => sum + (e - mean) ** 2, 0) / energy.length);
      lines.push({ part: "same weights", precision, chains: `${steps} steps`, meanEnergy: mean, stdEnergy: std });
    }
    inner.dispose();
  }
  judgeModel.dispose();
  parameters.dispose();
  return lines;
}

/** Logits [n*K] that `judge` gives the samples which PGD made with the passes of `attacker`. */
function attackedLogits(input: {
  readonly attacker: BoundModel;
  readonly judge: BoundModel;
  readonly images: Images;
  readonly labels: Int32Array;
  readonly numClasses: number;
  readonly attack: AttackConfig;
}): Float32Array {
  const { attacker, judge: judgeModel, images, labels, numClasses, attack } = input;
  const [height, width, channels] = images.shape;
  const size = height * width * channels;
  const logits = new Float32Array(images.numImages * numClasses);
  for (let from = 0; from < images.numImages; from += BATCH.batchSize) {
    const to = Math.min(images.numImages, from + BATCH.batchSize);
    const positions = Int32Array.from({ length: to - from }, (_, i) => from + i);
    const key = { seed: 1n, purpose: PURPOSE.evaluateAttack, step: 0, positions };
    const x = tf.tensor4d(
      Float32Array.from(images.data.subarray(from * size, to * size), (v) => v / 255),
      [to - from, height, width, channels],
    );
    const adversarial = pgd({ model: attacker, x, labels: labels.slice(from, to), numClasses, config: attack, key });
    const judged = judgeModel.logits(adversarial);
    logits.set(judged.dataSync<"float32">(), from * numClasses);
    tf.dispose([x, adversarial, judged]);
  }
  return logits;
}

function lossAndAccuracy(logits: Float32Array, labels: Int32Array, numClasses: number): { crossEntropy: number; accuracy: number } {
  const energy = energies(logits, numClasses);
  let loss = 0;
  let correct = 0;
  for (const [i, label] of labels.entries()) {
    const row = logits.subarray(i * numClasses, (i + 1) * numClasses);
    const own = row[label] as number;
    loss += -(energy[i] as number) - own;
    if (own === Math.max(...row)) correct++;
  }
  return { crossEntropy: loss / labels.length, accuracy: correct / labels.length };
}
