/**
 * All that a training is, between two steps: parameters, optimizer, driven weights, replay buffer, the sampler's curriculum.
 * What is here is what a checkpoint holds;
 * everything else (plan, schedules, random streams) is a function of the configuration and the step.
 */

import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { StatePart } from "../checkpoint/state-part.js";
import type { Config, ModelConfig } from "../config/schema.js";
import { ops, type Precision } from "../engine/ops.js";
import type { StatisticsPolicy } from "../model/group-statistics.js";
import type { BoundModel, Model } from "../model/model.js";
import { Drives, isDrive } from "../objective/drives.js";
import { createOptimizer, type Optimizer, type OptimizerSnapshot, type Update } from "../optimizer/optimizer.js";
import { perturb } from "../optimizer/perturbation.js";
import { type Curriculum, createCurriculum, type Energies, isCurriculumPart } from "../sampler/curriculum.js";
import type { ReplayBuffer, TakenChains } from "../sampler/replay-buffer.js";
import { checksum } from "../util/checksum.js";
import { IsoergError } from "../util/error.js";
import { statisticsPolicy } from "./statistics.js";
import type { MovableWeights } from "./step-input.js";

/** The network for attacks and probes, for chains, and for the update; some of them may be one. */
export interface BoundModels {
  readonly inner: BoundModel;
  readonly sampling: BoundModel;
  readonly update: BoundModel;
}

/** What a step comes to, the same on every worker but for the chains. */
export interface StepResult {
  readonly update: Update;
  /** Over the global batch. */
  readonly metrics: Readonly<Record<string, number>>;
  /** This worker's, as they were taken and as they are now [n*H*W*C]; null for none. */
  readonly chains: { readonly taken: TakenChains; readonly advanced: Float32Array } | null;
  /** Of the whole global batch, where a curriculum looks at them. */
  readonly energies: Energies | null;
}

export class TrainingState {
  readonly model: Model;
  readonly optimizer: Optimizer;
  readonly buffer: ReplayBuffer | null;
  /** null where chains have a fixed number of steps. */
  readonly curriculum: Curriculum | null;
  /** The term weights that measured gaps drive. */
  readonly drives: Drives;
  readonly #modelConfig: ModelConfig;
  readonly #precision: Config["precision"];
  readonly #perturbation: Config["optimizer"]["perturbation"];
  /** Where a step that moved the weights goes back to, should it not commit. */
  #before: { readonly parameters: Tensor1D; readonly optimizer: OptimizerSnapshot } | undefined;
  /** What else such a step changed, to be taken back in turn. */
  #undo: (() => void)[] = [];
  #parameters: Tensor1D;
  /** Of the parameters, once it was asked for. */
  #checksum: bigint | undefined;
  #bound: { readonly statistics: StatisticsPolicy; readonly models: BoundModels } | undefined;
  readonly #host: Float32Array;

  constructor(options: { config: Config; model: Model; buffer: ReplayBuffer | null; seed: bigint }) {
    this.model = options.model;
    this.buffer = options.buffer;
    this.drives = new Drives(options.config.objective);
    this.optimizer = createOptimizer(options.config.optimizer, options.model);
    this.curriculum = options.buffer && createCurriculum(options.config.sampler);
    this.#modelConfig = options.config.model;
    this.#precision = options.config.precision;
    this.#perturbation = options.config.optimizer.perturbation;
    this.#parameters = tf.tensor1d(options.model.initial(options.seed));
    this.#host = new Float32Array(options.model.numParameters);
  }

  /** The network laid out for passes, once per update, and as few times as precisions and the norms' statistics differ. */
  bound(progress: number): BoundModels {
    const { attack, sampling } = statisticsPolicy(this.#modelConfig, progress);
    if (this.#bound?.statistics.update !== attack.update) this.#unbind();
    if (!this.#bound) {
      const bind = (precision: Precision, statistics: StatisticsPolicy) => this.model.bind(this.#parameters, precision, statistics);
      const precision = this.#precision;
      const update = bind(precision.update, attack);
      const inner = precision.inner === precision.update ? update : bind(precision.inner, attack);
      this.#bound = {
        statistics: attack,
        models: { inner, sampling: sampling.inner === attack.inner ? inner : bind(precision.inner, sampling), update },
      };
    }
    return this.#bound.models;
  }

  /**
   * Moves on to the state after a step, before it is known whether the step commits: `keep` or `goBack` follows. Until then the
   * weights and the optimizer's state are held twice.
   */
  advance({ update, metrics, chains, energies }: StepResult, { checksum }: { checksum: boolean }): void {
    this.weights.advance(update);
    if (checksum) this.checksum();
    const { drives, buffer, curriculum } = this;
    const drivesBefore = drives.observe(metrics);
    this.#undo.push(() => drives.goBack(drivesBefore));
    if (buffer && chains) {
      const overwritten = buffer.store(chains.taken, chains.advanced);
      this.#undo.push(() => buffer.goBack(overwritten));
    }
    if (curriculum && energies) {
      const curriculumBefore = curriculum.observe(energies);
      this.#undo.push(() => curriculum.goBack(curriculumBefore));
    }
  }

  /** The step is committed: what it did stays. */
  keep(): void {
    this.#before?.parameters.dispose();
    this.#before?.optimizer.dispose();
    this.#before = undefined;
    this.#undo = [];
  }

  /** The step is not committed: back to the state that it began with. */
  goBack(): void {
    for (const undo of this.#undo) undo();
    this.#undo = [];
    const before = this.#before;
    if (!before) return;
    this.#before = undefined;
    this.#replace(before.parameters);
    this.optimizer.goBack(before.optimizer);
  }

  /** For steps that take more than one gradient. */
  readonly weights: MovableWeights = {
    perturbed: (gradient, progress) => {
      if (this.#perturbation.kind === "none") return null;
      ops().readInto(this.#parameters, this.#host);
      const moved = perturb(this.#host, gradient, this.model.parameters, { perturbation: this.#perturbation, progress });
      if (!moved) return null;
      const parameters = tf.tensor1d(moved);
      const bound = this.model.bind(parameters, this.#precision.update, statisticsPolicy(this.#modelConfig, progress).attack);
      parameters.dispose();
      return bound;
    },
    advance: (update) => {
      this.#before ??= { parameters: this.#parameters.clone(), optimizer: this.optimizer.snapshot() };
      this.#replace(this.optimizer.apply(this.#parameters, update));
      return this.bound(update.progress).update;
    },
  };

  /** Of the parameters' bits. */
  checksum(): bigint {
    if (this.#checksum === undefined) {
      ops().readInto(this.#parameters, this.#host);
      this.#checksum = checksum(this.#host);
    }
    return this.#checksum;
  }

  /** The parameters by name, the averaged ones of either kind as `ema.NAME`, the optimizer's state, the driven weights and this worker's chains. */
  save(): StatePart[] {
    const parts: StatePart[] = [...this.#named(this.#parameters, ""), ...this.drives.save()];
    const { averaged } = this.optimizer;
    if (averaged) parts.push(...this.#named(averaged, "ema."));
    // The average stands in the model file, where whoever loads the model looks for it.
    for (const part of this.optimizer.exportState()) if (part.tensor !== "ema") parts.push({ ...part, file: "optimizer", row: 0 });
    return [...parts, ...(this.curriculum?.save() ?? []), ...(this.buffer?.save() ?? [])];
  }

  /** Throws IsoergError CHECKPOINT where the parts are of another model or optimizer. */
  restore(parts: readonly StatePart[]): void {
    this.keep();
    this.#replace(tf.tensor1d(this.#flat(parts, "")));
    const optimizer = parts
      .filter((part) => part.file === "optimizer" && !isCurriculumPart(part) && !isDrive(part))
      .map(({ tensor, dtype, shape, data }) => ({ tensor, dtype: dtype as "F32" | "I32", shape, data: data as Float32Array | Int32Array }));
    if (parts.some((part) => part.file === "model" && part.tensor.startsWith("ema."))) {
      optimizer.push({ tensor: "ema", dtype: "F32", shape: [this.model.numParameters], data: this.#flat(parts, "ema.") });
    }
    this.optimizer.importState(optimizer);
    this.curriculum?.restore(parts);
    this.drives.restore(parts);
    this.buffer?.restore(parts);
  }

  dispose(): void {
    this.keep();
    this.#unbind();
    this.#parameters.dispose();
    this.optimizer.dispose();
  }

  #named(values: Tensor1D, prefix: string): StatePart[] {
    const flat = new Float32Array(values.size);
    ops().readInto(values, flat);
    return this.model.parameters.map(({ name, shape, offset, size }) => ({
      file: "model",
      tensor: prefix + name,
      dtype: "F32",
      shape,
      row: 0,
      data: flat.subarray(offset, offset + size),
    }));
  }

  #flat(parts: readonly StatePart[], prefix: "" | "ema."): Float32Array {
    return flatParameters(this.model, new Map(parts.filter((part) => part.file === "model").map((part) => [part.tensor, part])), prefix);
  }

  #replace(parameters: Tensor1D): void {
    this.#unbind();
    this.#parameters.dispose();
    this.#parameters = parameters;
    this.#checksum = undefined;
  }

  #unbind(): void {
    if (!this.#bound) return;
    for (const bound of new Set(Object.values(this.#bound.models))) bound.dispose();
    this.#bound = undefined;
  }
}

/** A model's parameters as one vector, from the tensors of a checkpoint's `model` file. Throws IsoergError CHECKPOINT. */
export function flatParameters(
  model: Model,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: ArrayLike<number> }>,
  prefix: "" | "ema.",
): Float32Array {
  const flat = new Float32Array(model.numParameters);
  for (const { name, shape, offset, size } of model.parameters) {
    const found = tensors.get(prefix + name);
    if (!found || found.data.length !== size || found.shape.join() !== shape.join()) {
      throw new IsoergError(
        "CHECKPOINT",
        `the checkpoint's model file has ${found ? `'${prefix}${name}' of shape [${found.shape}]` : `no '${prefix}${name}'`}; the model needs [${shape}]`,
        { hint: "it was written with another model; use the configuration of the run that wrote it" },
      );
    }
    flat.set(found.data, offset);
  }
  return flat;
}
