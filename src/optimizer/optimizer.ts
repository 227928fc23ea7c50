/**
 * The optimizer as the training loop sees it: clip, update rule, schedule and averaged weights behind one `apply`.
 *
 * Every worker applies the same summed gradient and must end with the same bits: see `rule.ts` for how that is kept, also
 * between workers with different engines.
 */

import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { OptimizerConfig } from "../config/schema.js";
import type { Parameter } from "../model/model.js";
import { Adam } from "./adam.js";
import type { Average, AverageState } from "./average.js";
import { clipFactor } from "./clip.js";
import { Ema } from "./ema.js";
import { freeing, type UpdateRule } from "./rule.js";
import { scheduleFactor } from "./schedule.js";
import { Sgd } from "./sgd.js";
import { exportState, importState, type OptimizerTensor } from "./state.js";
import { Swa } from "./swa.js";

export interface Update {
  /** dL/dparameters, summed over all workers; only read. */
  readonly gradient: Float32Array;
  /** Of that gradient, by `globalNorm`. */
  readonly gradientNorm: number;
  /** How far the training has come, in [0,1]: see `progressOf`. */
  readonly progress: number;
  /** What is taken from running statistics, 0 elsewhere, whatever the update rule: the gradient is 0 there. */
  readonly statistics?: Float32Array | null;
}

export interface Optimizer {
  /** The parameters after one update. The old ones stay the caller's to free. */
  apply(parameters: Tensor1D, update: Update): Tensor1D;
  learningRate(progress: number): number;
  /** The averaged parameters; null where the configuration wants none, and before the first update. Stays the optimizer's. */
  readonly averaged: Tensor1D | null;
  /** The state as it is now, in handles of its own; whoever holds it gives it to `goBack` or disposes it. */
  snapshot(): OptimizerSnapshot;
  /** Returns to a snapshot, taking it over. */
  goBack(snapshot: OptimizerSnapshot): void;
  /** All that a resume needs, copied to the host. */
  exportState(): OptimizerTensor[];
  /** Continues from an export. Throws IsoergError CHECKPOINT where it is of another optimizer or model. */
  importState(state: readonly OptimizerTensor[]): void;
  dispose(): void;
}

export interface OptimizerSnapshot {
  readonly state: ReadonlyMap<string, Tensor1D>;
  readonly numUpdates: number;
  readonly average: AverageState | null;
  dispose(): void;
}

/** What an optimizer asks of a model: how many parameters, and which of them decay. */
export interface Optimized {
  readonly parameters: readonly Parameter[];
  readonly numParameters: number;
}

export function createOptimizer(config: OptimizerConfig, model: Optimized): Optimizer {
  const rule = createRule(config, config.weightDecay > 0 ? decayOf(model, config.weightDecay) : null);
  const average = createAverage(config);
  const learningRate = (progress: number): number => config.lr * scheduleFactor(config.schedule, progress);
  return {
    learningRate,
    apply(parameters, { gradient, gradientNorm, progress, statistics = null }) {
      let direction = tf.tensor1d(gradient);
      const factor = config.clipNorm === null ? 1 : clipFactor(gradientNorm, config.clipNorm);
      if (factor !== 1) direction = freeing(tf.mul(direction, factor), direction);
      let updated = rule.update(parameters, direction, learningRate(progress));
      if (statistics) {
        const moves = tf.tensor1d(statistics);
        updated = freeing(tf.sub(updated, moves), updated, moves);
      }
      average?.update({ before: parameters, after: updated, progress, numUpdates: rule.numUpdates });
      return updated;
    },
    get averaged() {
      return average?.value ?? null;
    },
    snapshot() {
      const state = new Map([...rule.state].map(([name, value]) => [name, value.clone()]));
      const kept = average && { count: average.state.count, value: average.value?.clone() ?? null };
      const dispose = (): void => {
        for (const value of state.values()) value.dispose();
        kept?.value?.dispose();
      };
      return { state, numUpdates: rule.numUpdates, average: kept, dispose };
    },
    goBack({ state, numUpdates, average: kept }) {
      rule.restore(state, numUpdates);
      if (kept) average?.restore(kept);
    },
    exportState: () => exportState(config.kind, rule, average),
    importState: (state) => importState(state, { kind: config.kind, rule, average, numParameters: model.numParameters }),
    dispose() {
      rule.dispose();
      average?.dispose();
    },
  };
}

function createAverage({ ema, swa }: OptimizerConfig): Average | null {
  if (swa) return new Swa(swa);
  return ema > 0 ? new Ema(ema) : null;
}

function createRule(config: OptimizerConfig, decay: Tensor1D | null): UpdateRule {
  switch (config.kind) {
    case "sgd":
      return new Sgd({ momentum: config.momentum, decay });
    case "adam":
      return new Adam({ betas: config.betas, epsilon: config.epsilon, decay });
    default:
      return config.kind satisfies never;
  }
}

/** The weight decay of each single parameter. */
function decayOf(model: Optimized, weightDecay: number): Tensor1D {
  const values = new Float32Array(model.numParameters);
  for (const { offset, size, decay } of model.parameters) values.fill(decay ? weightDecay : 0, offset, offset + size);
  return tf.tensor1d(values);
}
