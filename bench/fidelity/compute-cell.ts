/**
 * One cell: trains in this process, guarded as `isoerg train` would be, and evaluates on test images. A training that fails is a
 * result as well, with its reason.
 */
import * as tf from "@tensorflow/tfjs-core";
import { apgd } from "../../src/attack/apgd.js";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import type { Config } from "../../src/config/schema.js";
import { openDataset } from "../../src/data/dataset.js";
import { createMemorySamples } from "../../src/data/samples.js";
import type { Engine } from "../../src/engine/engine.js";
import { PURPOSE } from "../../src/engine/random/purpose.js";
import { evaluateModel } from "../../src/evaluate/evaluate-model.js";
import { energyGap } from "../../src/evaluate/figures/energy-gap.js";
import { type Images, logitsOf } from "../../src/evaluate/passes.js";
import { frechetOfMoments } from "../../src/evaluate/quality/frechet.js";
import { energies } from "../../src/model/energy.js";
import type { BoundModel } from "../../src/model/model.js";
import { createStart } from "../../src/sampler/start.js";
import { IsoergError } from "../../src/util/error.js";
import { readTrialData, runTrial, type TrialData, type TrialResult } from "../kit/trial.js";
import { type Cell, configOf, fingerprint, REFERENCE } from "./cells.js";
import { momentsIn, openReference, writeReference } from "./reference.js";
import { type CellFigures, type CellResult, gapFigures, writeResult } from "./results.js";

/** Test images that are attacked, the first of the split. */
const NUM_ATTACKED = 1000;
const NUM_FRESH = 600;
const APGD_STEPS = 50;
const BATCH = { batchSize: 250 };

export async function computeCell(folder: string, cell: Cell, engine: Pick<Engine, "name" | "version" | "threads">): Promise<void> {
  const config = configOf(cell);
  const data = await readTrialData(config.data.path, { numValidation: 0 });
  const describe = `${engine.name} ${engine.version}, ${engine.threads} thread`;
  let trained: TrialResult;
  const since = performance.now();
  const nothing = { trainSeconds: 0, evaluateSeconds: 0, imagesPerSecond: 0, numImages: 0, alarms: [], figures: null };
  const head = { ...cell, fingerprint: fingerprint(cell), engine: describe };
  try {
    trained = runTrial(config, data);
  } catch (error) {
    if (cell.method === REFERENCE) throw error;
    const trainSeconds = (performance.now() - since) / 1000;
    await writeResult(folder, cell, { ...head, ...nothing, trainSeconds, failure: `training: ${(error as Error).message}` });
    return;
  }
  const { seconds: trainSeconds, imagesPerSecond, alarms } = trained;
  const common = {
    ...head,
    trainSeconds,
    imagesPerSecond,
    numImages: Math.round(imagesPerSecond * trainSeconds),
    alarms: alarms.map(({ reason }) => reason),
  };
  if (cell.method === REFERENCE) {
    await writeReference(folder, cell.dataset, trained.weights.flat);
    await writeResult(folder, cell, { ...common, evaluateSeconds: 0, failure: null, figures: null });
    return;
  }
  const evaluating = performance.now();
  const result: Pick<CellResult, "failure" | "figures"> = await evaluateCell(folder, cell, config, data, trained).then(
    (figures) => ({ failure: null, figures }),
    (error: unknown) => {
      if (error instanceof IsoergError && error.code === "DIVERGED") return { failure: `evaluation: ${error.message}`, figures: null };
      throw error;
    },
  );
  await writeResult(folder, cell, { ...common, ...result, evaluateSeconds: (performance.now() - evaluating) / 1000 });
}

async function evaluateCell(folder: string, cell: Cell, config: Config, data: TrialData, trained: TrialResult): Promise<CellFigures> {
  const { shape, numClasses, gaussians } = data;
  const inputShape = [shape.height, shape.width, shape.channels] as const;
  const dataset = await openDataset(config.data.path, "test");
  const samples = await dataset.read(Uint32Array.from({ length: dataset.numSamples }, (_, i) => i));
  await dataset.close();
  const { evaluation, generated } = await evaluateModel(
    {
      model: trained.model,
      weights: trained.weights,
      test: createMemorySamples({ shape, numClasses, samples }),
      seed: BigInt(cell.seed),
      numSamples: NUM_ATTACKED,
      attacks: [{ ...config.evaluate.attack, steps: 20 }],
      chains: {
        count: NUM_FRESH,
        steps: config.evaluate.freshSteps,
        sampler: config.sampler,
        start: createStart({ kind: config.sampler.start, shape, numClasses, stats: gaussians }),
        precision: config.precision.inner,
      },
      buffer: bufferImages(trained.state, inputShape),
    },
    BATCH,
  );
  const test: Images = { shape: inputShape, numImages: samples.labels.length, data: samples.images };
  const buffer = bufferImages(trained.state, inputShape);
  const judge = await openReference(folder, cell.dataset, configOf({ ...cell, method: REFERENCE }), { shape: inputShape, numClasses });
  const parameters = tf.tensor1d(trained.weights.flat.slice());
  const bound = trained.model.bind(parameters, "fp32");
  try {
    const real = await momentsIn(judge, test);
    const { adversarial, generated: fresh } = evaluation.gaps;
    if (!adversarial || !fresh) throw new Error("bug in the bench: an evaluation without gaps");
    const clean = evaluation.energies.clean;
    const bufferEnergies = buffer && energies(await logitsOf(bound, buffer, numClasses, BATCH), numClasses);
    return {
      clean: evaluation.clean.accuracy,
      pgd20: evaluation.attacks[0]?.accuracy.accuracy ?? Number.NaN,
      apgd: apgdAccuracy(bound, test, samples.labels, { config, numClasses, seed: BigInt(cell.seed) }),
      adversarial: gapFigures(adversarial),
      generated: gapFigures(fresh),
      buffer: bufferEnergies && gapFigures(energyGap(clean, bufferEnergies, { paired: false })),
      frechetFresh: frechetOfMoments(real, await momentsIn(judge, generated)),
      frechetBuffer: buffer && frechetOfMoments(real, await momentsIn(judge, buffer)),
    };
  } finally {
    judge.dispose();
    bound.dispose();
    parameters.dispose();
  }
}

/** Share of the attacked samples that neither APGD on cross-entropy nor APGD on the DLR loss fools, one start each. */
function apgdAccuracy(
  model: BoundModel,
  test: Images,
  labels: Int32Array,
  { config, numClasses, seed }: { config: Config; numClasses: number; seed: bigint },
): number {
  const { norm, eps } = config.evaluate.attack;
  const size = test.shape[0] * test.shape[1] * test.shape[2];
  let robust = 0;
  for (let from = 0; from < NUM_ATTACKED; from += BATCH.batchSize) {
    const n = Math.min(BATCH.batchSize, NUM_ATTACKED - from);
    let left = Array.from({ length: n }, (_, i) => from + i);
    for (const [inner, loss] of (["cross-entropy", "dlr"] as const).entries()) {
      const values = new Float32Array(left.length * size);
      left.forEach((id, row) => {
        for (let j = 0; j < size; j++) values[row * size + j] = (test.data[id * size + j] as number) / 255;
      });
      const x = tf.tensor4d(values, [left.length, ...test.shape]);
      const { adversarial, fooled } = apgd({
        model,
        x,
        labels: Int32Array.from(left, (id) => labels[id] as number),
        numClasses,
        norm,
        eps,
        steps: APGD_STEPS,
        loss,
        key: { seed, purpose: PURPOSE.evaluateAttack, step: 1, positions: Int32Array.from(left), inner },
        until: "fooled",
      });
      tf.dispose([x, adversarial]);
      left = left.filter((_, row) => !fooled[row]);
    }
    robust += left.length;
  }
  return robust / NUM_ATTACKED;
}

/** The chains of a checkpoint's buffer that were ever advanced; null where there is none. */
function bufferImages(state: readonly StatePart[], shape: Images["shape"]): Images | null {
  const chains = state.find(({ file, tensor }) => file === "buffer" && tensor === "chains");
  const ages = state.find(({ file, tensor }) => file === "buffer" && tensor === "ages");
  if (!chains || !ages) return null;
  const size = shape[0] * shape[1] * shape[2];
  const used = Array.from(ages.data.keys()).filter((slot) => (ages.data[slot] as number) > 0);
  if (used.length < 2) return null;
  const data = new Float32Array(used.length * size);
  for (const [i, slot] of used.entries()) data.set(chains.data.subarray(slot * size, (slot + 1) * size), i * size);
  return { shape, numImages: used.length, data };
}
