/**
 * One training in this process, without the rest of the system: the loop, the plan, the guard and the recipe are those of
 * `isoerg train`, the coordinator is not there. For benches that compare recipes.
 *
 * The last samples of the training split are kept back for validation, so that what is chosen here is chosen on validation data
 * and no test image is read.
 */
import type { Config } from "../../src/config/schema.js";
import { createPlan, numSteps } from "../../src/data/plan.js";
import { pixelsOf } from "../../src/data/samples.js";
import { createModel } from "../../src/model/create.js";
import type { Model } from "../../src/model/model.js";
import { samplesOf, type TrialData } from "../../src/sweep/trial/trial-data.js";
import { type SoloAlarm, trainGuarded } from "../../src/train/guard/solo.js";
import type { Ballot, StatePart } from "../../src/train/link.js";
import { flatParameters } from "../../src/train/state.js";

export { readTrialData, type TrialData } from "../../src/sweep/trial/trial-data.js";

export interface TrialResult {
  readonly model: Model;
  /** The averaged weights where the recipe averages, else the last. */
  readonly weights: { readonly kind: "averaged" | "last"; readonly flat: Float32Array };
  readonly seconds: number;
  readonly imagesPerSecond: number;
  /** Share of the time by phase. */
  readonly phases: Readonly<Record<string, number>>;
  /** All that a checkpoint would hold. */
  readonly state: readonly StatePart[];
  /** Of the stability guard: how often the training was taken back. */
  readonly alarms: readonly SoloAlarm[];
}

/** Trains to the end. Throws where the training stops for another reason, a diverged one above all. */
export function runTrial(
  config: Config,
  data: TrialData,
  onStep?: (step: number, total: number, metrics: Readonly<Record<string, number>>) => void,
): TrialResult {
  const { shape, numClasses, training } = data;
  const numSamples = Math.min(config.data.subset ?? Infinity, training.labels.length);
  const sizes = { numSamples, batchSize: config.data.batchSize };
  const total = numSteps(sizes, config.epochs);
  const size = pixelsOf(shape);
  const phasesMs: Record<string, number> = {};
  let images = 0;
  let state: readonly StatePart[] = [];
  const solo = {
    plan: createPlan({ ...sizes, shuffleBlock: config.data.shuffleBlock, seed: BigInt(config.seed) }),
    numSteps: total,
    numChains: config.sampler.chains,
    read(ids: Uint32Array) {
      images += ids.length;
      return samplesOf(training, ids, size);
    },
    onCommit(step: number, committed: Ballot) {
      for (const [phase, ms] of Object.entries(committed.phasesMs)) phasesMs[phase] = (phasesMs[phase] ?? 0) + ms;
      onStep?.(step, total, committed.metrics);
    },
    onSave: (step: number, parts: readonly StatePart[]) => {
      if (step === total) state = parts.map((part) => ({ ...part, data: part.data.slice() }));
    },
  };
  const started = performance.now();
  const { stop, alarms } = trainGuarded({ config, data: { shape, numClasses, numSamples }, gaussians: data.gaussians, solo });
  const seconds = (performance.now() - started) / 1000;
  if (stop.outcome !== "finished") throw new Error(stop.reason);

  const model = createModel(config.model, [shape.height, shape.width, shape.channels], numClasses);
  const tensors = new Map(state.filter((part) => part.file === "model").map((part) => [part.tensor, part]));
  const averaged = config.optimizer.ema > 0;
  const allMs = Object.values(phasesMs).reduce((sum, ms) => sum + ms, 0);
  return {
    model,
    weights: { kind: averaged ? "averaged" : "last", flat: flatParameters(model, tensors, averaged ? "ema." : "") },
    seconds,
    imagesPerSecond: images / seconds,
    phases: Object.fromEntries(Object.entries(phasesMs).map(([name, ms]) => [name, ms / allMs])),
    state,
    alarms,
  };
}
