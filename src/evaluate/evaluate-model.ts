/**
 * All figures of one set of weights: accuracy on clean samples, accuracy under attack, and the energies of clean, adversarial
 * and generated samples with their gaps. Knows nothing of files; what it needs of data and starts is handed in.
 *
 * Clean accuracy is over the whole test split; attacks and clean energies are over its first n samples, as pairs.
 */
import * as tf from "@tensorflow/tfjs-core";
import type { AttackConfig } from "../config/schema.js";
import type { SampleSource } from "../data/samples.js";
import type { Precision } from "../engine/ops.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { energies } from "../model/energy.js";
import type { Model } from "../model/model.js";
import type { ChainConfig } from "../sampler/sgld.js";
import { IsoergError } from "../util/error.js";
import { type Decisions, decisionsOf } from "./decision/decisions.js";
import type { AttackEvaluation, ModelEvaluation } from "./evaluation.js";
import { accuracyOf } from "./figures/accuracy.js";
import { type EnergyGap, energyGap } from "./figures/energy-gap.js";
import { attackAll, type ChainsInput, drawChains, type Images, logitsOf, type PassOptions } from "./passes.js";

export interface EvaluateModelInput {
  readonly model: Model;
  readonly weights: { readonly kind: ModelEvaluation["weights"]; readonly flat: Float32Array };
  readonly test: SampleSource;
  readonly seed: bigint;
  /** Test samples attacked. */
  readonly numSamples: number;
  /** Energies of adversarial samples are those of the first. */
  readonly attacks: readonly AttackConfig[];
  readonly chains: {
    readonly count: number;
    readonly steps: number;
    readonly sampler: ChainConfig;
    readonly start: ChainsInput["start"];
    readonly precision: Precision;
  };
  /** Chains of a replay buffer, or null. */
  readonly buffer: Images | null;
}

export interface EvaluateModelOptions {
  readonly batchSize: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly what: string; readonly done: number; readonly total: number }) => void;
}

export interface EvaluatedModel {
  readonly evaluation: ModelEvaluation;
  /** Fresh chains, and the class that the model sees in each. */
  readonly generated: Images;
  readonly generatedClasses: Int32Array;
}

/** @throws IsoergError DIVERGED where energies are not finite numbers; whatever the signal was aborted with. */
export async function evaluateModel(input: EvaluateModelInput, options: EvaluateModelOptions): Promise<EvaluatedModel> {
  const { model, test, seed, chains } = input;
  const { numClasses } = model;
  const parameters = tf.tensor1d(input.weights.flat.slice());
  const bound = model.bind(parameters, "fp32");
  const forChains = chains.precision === "fp32" ? bound : model.bind(parameters, chains.precision);
  const passOptions = (what: string): PassOptions => ({
    batchSize: options.batchSize,
    ...(options.signal && { signal: options.signal }),
    onProgress: (done, total) => options.onProgress?.({ what, done, total }),
  });
  try {
    const all = await imagesOf(test, test.numSamples, model.inputShape);
    const cleanLogits = await logitsOf(bound, all.images, numClasses, passOptions("clean samples"));
    const cleanCorrect = correctness(cleanLogits, all.labels, numClasses);

    const numSamples = Math.min(input.numSamples, test.numSamples);
    const attacked: Images = { ...all.images, numImages: numSamples };
    const labels = all.labels.slice(0, numSamples);
    const attacks: AttackEvaluation[] = [];
    const survives = cleanCorrect.slice(0, numSamples);
    let adversarial: number[] = [];
    for (const config of input.attacks) {
      const result = await attackAll(bound, attacked, { labels, numClasses, config, seed }, passOptions(`attack ${attackName(config)}`));
      const correct = correctness(result.logits, labels, numClasses);
      for (let i = 0; i < numSamples; i++) if (!correct[i]) survives[i] = 0;
      const { norm, eps, steps, stepSize, start, target, restarts } = config;
      const { largestDistance } = result;
      attacks.push({
        name: attackName(config),
        norm,
        eps,
        steps,
        stepSize,
        start,
        target,
        restarts,
        accuracy: share(correct),
        largestDistance,
        ...whereFinite(result.logits, labels, numClasses),
      });
      if (attacks.length === 1) adversarial = finiteEnergies(result.logits, numClasses, "adversarial");
    }

    const generated = await drawChains(
      forChains,
      model.inputShape,
      chains.count,
      { config: chains.sampler, steps: chains.steps, start: chains.start, seed, purpose: PURPOSE.evaluateChain, labels: null, numClasses },
      passOptions("fresh chains"),
    );
    const generatedLogits = await logitsOf(bound, generated, numClasses, passOptions("energies of fresh chains"));
    const bufferLogits = input.buffer
      ? await logitsOf(bound, input.buffer, numClasses, passOptions("energies of the buffer"))
      : new Float32Array(0);

    const energiesByKind = {
      clean: finiteEnergies(cleanLogits.subarray(0, numSamples * numClasses), numClasses, "clean"),
      adversarial,
      generated: finiteEnergies(generatedLogits, numClasses, "generated"),
      buffer: finiteEnergies(bufferLogits, numClasses, "buffered"),
    };
    const gap = (other: readonly number[], paired: boolean): EnergyGap | null =>
      other.length > 0 ? energyGap(energiesByKind.clean, other, { paired }) : null;
    return {
      evaluation: {
        weights: input.weights.kind,
        clean: share(cleanCorrect),
        ...whereFinite(cleanLogits, all.labels, numClasses),
        attacks,
        worstCase: attacks.length > 1 ? share(survives) : null,
        energies: energiesByKind,
        gaps: {
          adversarial: gap(adversarial, true),
          generated: gap(energiesByKind.generated, false),
          buffer: gap(energiesByKind.buffer, false),
        },
      },
      generated,
      generatedClasses: Int32Array.from({ length: generated.numImages }, (_, i) => strongest(generatedLogits, i * numClasses, numClasses)),
    };
  } finally {
    bound.dispose();
    if (forChains !== bound) forChains.dispose();
    parameters.dispose();
  }
}

/** For people: `PGD-20, cross-entropy`. */
export function attackName({ steps, target, restarts }: AttackConfig): string {
  return `PGD-${steps}, ${target}${restarts > 1 ? `, ${restarts} restarts` : ""}`;
}

async function imagesOf(source: SampleSource, count: number, shape: Images["shape"]): Promise<{ images: Images; labels: Int32Array }> {
  const { images, labels } = await source.read(Uint32Array.from({ length: count }, (_, i) => i));
  return { images: { shape, numImages: count, data: images }, labels };
}

/** Nothing for logits that are no numbers: such a model decides nothing. */
function whereFinite(logits: Float32Array, labels: Int32Array, numClasses: number): { decisions?: Decisions } {
  return logits.every(Number.isFinite) ? { decisions: decisionsOf(logits, labels, numClasses) } : {};
}

/** 1 where the label's logit is the largest. Logits that are not numbers are wrong. */
function correctness(logits: Float32Array, labels: Int32Array, numClasses: number): Uint8Array {
  return Uint8Array.from(labels, (label, i) => (strongest(logits, i * numClasses, numClasses) === label ? 1 : 0));
}

function strongest(logits: Float32Array, from: number, numClasses: number): number {
  let best = -1;
  let bestValue = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < numClasses; k++) {
    const value = logits[from + k] as number;
    if (value > bestValue) [best, bestValue] = [k, value];
  }
  return best;
}

function share(correct: Uint8Array): ModelEvaluation["clean"] {
  return accuracyOf(
    correct.reduce((sum, one) => sum + one, 0),
    correct.length,
  );
}

/** Kept to 8 digits; figures are computed from what is kept, so a reader of the file gets the same. */
function finiteEnergies(logits: Float32Array, numClasses: number, kind: string): number[] {
  return Array.from(energies(logits, numClasses), (energy, i) => {
    if (!Number.isFinite(energy)) {
      throw new IsoergError("DIVERGED", `the energy of ${kind} sample ${i} is ${energy}`, {
        hint: "The weights have diverged; evaluate an earlier checkpoint.",
      });
    }
    return Number(energy.toPrecision(8));
  });
}
