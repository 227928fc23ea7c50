/** What a trained trial is worth: the sweep's metric on the samples that were kept back, in float32. */
import type { CheckpointContent } from "../../checkpoint/store.js";
import type { Config } from "../../config/schema.js";
import { createMemorySamples } from "../../data/samples.js";
import { evaluateModel } from "../../evaluate/evaluate-model.js";
import { createModel } from "../../model/create.js";
import { createStart } from "../../sampler/start.js";
import { flatParameters } from "../../train/state.js";
import type { SweepSpec } from "../spec.js";
import type { TrialData } from "./trial-data.js";

export type MetricName = SweepSpec["metric"]["name"];
export type TrialMetrics = Readonly<Record<MetricName, number>>;

const BATCH = { batchSize: 250 };

/**
 * clean: accuracy. robust: under PGD-20 on cross-entropy with the experiment's evaluation budget. worst: under that and PGD-20 on the
 * margin. gap: W1 distance of adversarial and clean energies, over the standard deviation of the clean ones.
 */
export async function judgeTrial(
  config: Config,
  data: TrialData,
  files: CheckpointContent["files"],
  options: { attacked: number },
): Promise<TrialMetrics> {
  const { shape, numClasses, validation, gaussians } = data;
  const model = createModel(config.model, [shape.height, shape.width, shape.channels], numClasses);
  const averaged = [...files.model.keys()].some((name) => name.startsWith("ema."));
  const tensors = new Map(
    [...files.model].map(([name, { shape: dims, data: values }]) => [name, { shape: dims, data: values as Float32Array }]),
  );
  const { evaluation } = await evaluateModel(
    {
      model,
      weights: { kind: averaged ? "averaged" : "last", flat: flatParameters(model, tensors, averaged ? "ema." : "") },
      test: createMemorySamples({ shape, numClasses, samples: validation }),
      seed: 1n,
      numSamples: options.attacked,
      attacks: [
        { ...config.evaluate.attack, steps: 20 },
        { ...config.evaluate.attack, steps: 20, target: "margin" },
      ],
      chains: {
        count: 0,
        steps: 1,
        sampler: config.sampler,
        start: createStart({ kind: config.sampler.start, shape, numClasses, stats: gaussians }),
        precision: "fp32",
      },
      buffer: null,
    },
    BATCH,
  );
  const robust = evaluation.attacks[0]?.accuracy.accuracy ?? Number.NaN;
  return {
    clean: evaluation.clean.accuracy,
    robust,
    worst: evaluation.worstCase?.accuracy ?? robust,
    gap: evaluation.gaps.adversarial?.wassersteinOverStd ?? Number.NaN,
  };
}
