/**
 * What a training step will hold at once, worked out before anything runs: parameters and what belongs to them, the samples of a
 * step, and the passes over them, from what the layers declare (src/model/pass-memory.ts). A pure function of configuration and model.
 */
import type { Config } from "../../config/schema.js";
import type { Engine } from "../../engine/engine.js";
import type { Model } from "../../model/model.js";
import { numValues, peakOfPass } from "../../model/pass-memory.js";
import type { ViewName } from "../../objective/view.js";
import { statisticsPolicy } from "../../train/statistics.js";

export interface MemoryEstimate {
  /** Bytes of tensors at the highest point of a step. */
  readonly peakBytes: number;
  /** Parts of it: passes and optimizer never overlap, so only the largest of the three counts. */
  readonly parts: {
    /** Parameters, their layouts for the passes, the optimizer's state and the averages. */
    readonly parametersBytes: number;
    /** Clean, attacked and generated images. */
    readonly imagesBytes: number;
    readonly updateBytes: number;
    readonly innerBytes: number;
    readonly optimizerBytes: number;
  };
  /** Held in the host's own memory: the replay buffer, and the gradient on its way to the other workers. */
  readonly hostBytes: number;
}

export interface EstimateOptions {
  readonly config: Config;
  readonly model: Pick<Model, "numParameters" | "parameters" | "inputShape" | "memory">;
  /** Whose samples go through the update. */
  readonly views: ReadonlySet<ViewName>;
  /** Of this process: clean samples and chains of a step. */
  readonly samples: number;
  readonly chains: number;
  /** Whether the engine keeps bfloat16. */
  readonly bf16: boolean;
  /** Of filters in general, and of 3 x 3 filters over multiples of 16 channels. */
  readonly layoutFactors: { readonly filter: number; readonly square3: number };
}

const FLOAT_BYTES = 4;

/**
 * Floats that an engine keeps for each weight of a filter: its layout, and on the CPU the torch engine's transforms of 3 x 3 filters
 * for both directions, four times the filter each. Other parameters are views of the flat vector.
 */
export function layoutFactors({ name, device }: Pick<Engine, "name" | "device">): EstimateOptions["layoutFactors"] {
  return { filter: 1, square3: name === "torch" && device === "cpu" ? 9 : 1 };
}

export function estimateMemory({ config, model, views, samples, chains, bf16, layoutFactors: factors }: EstimateOptions): MemoryEstimate {
  const { precision, optimizer, sampler } = config;
  const { microBatch } = config.memory;
  const bytesOf = (wanted: string): number => (wanted === "bf16" && bf16 ? 2 : FLOAT_BYTES);
  const atOnce = (count: number): number => Math.min(count, microBatch ?? count);
  const pixels = numValues(model.inputShape);
  const generated = views.has("generated") ? chains : 0;
  const rows = samples * (views.size - (generated > 0 ? 1 : 0)) + generated;

  const moments = optimizer.kind === "adam" ? 2 : optimizer.momentum > 0 ? 1 : 0;
  const averages = optimizer.ema > 0 ? 1 : 0;
  const decays = optimizer.weightDecay > 0 ? 1 : 0;
  const { attack, sampling } = statisticsPolicy(config.model, 0);
  const bindings = 1 + (precision.inner === precision.update ? 0 : 1) + (sampling.inner === attack.inner ? 0 : 1);
  const layout = model.parameters.reduce((sum, { shape, size }) => sum + size * layoutFactor(shape, factors), 0);
  const parametersBytes = FLOAT_BYTES * (model.numParameters * (1 + moments + averages + decays) + bindings * layout);
  // Between the passes: the gradient, what the rule makes of it, and parameters old and new.
  const optimizerBytes = FLOAT_BYTES * model.numParameters * 4;

  // Each view, and all of them once more side by side.
  const imagesBytes = FLOAT_BYTES * pixels * 2 * rows;
  // An input-gradient step holds its images, the ball around them or the noise, the gradient, and what it moves to.
  const innerImages = 6 * FLOAT_BYTES * pixels;
  const innerBytes = atOnce(Math.max(samples, generated)) * (bytesOf(precision.inner) * peakOfPass(model.memory, "input") + innerImages);
  const updateBytes = atOnce(rows) * (bytesOf(precision.update) * peakOfPass(model.memory, "update") + FLOAT_BYTES * pixels);
  return {
    peakBytes: parametersBytes + imagesBytes + Math.max(updateBytes, innerBytes, optimizerBytes),
    parts: { parametersBytes, imagesBytes, updateBytes, innerBytes, optimizerBytes },
    hostBytes: FLOAT_BYTES * (model.numParameters + (generated > 0 ? sampler.bufferSize * pixels * (chains / sampler.chains) : 0)),
  };
}

function layoutFactor(shape: readonly number[], { filter, square3 }: EstimateOptions["layoutFactors"]): number {
  if (shape.length !== 4) return 0;
  const [height = 0, width = 0, cin = 0, cout = 0] = shape;
  return height === 3 && width === 3 && cin % 16 === 0 && cout % 16 === 0 ? square3 : filter;
}
