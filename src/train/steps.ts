/**
 * The steps of one training on one worker, from the samples to what the step comes to over all workers. A step is begun (what needs
 * nobody else: attacks, chains) and finished (the gradient, summed); between the two it may turn out that it doesn't count.
 */
import { streamSeed } from "../config/adjustment.js";
import type { Config } from "../config/schema.js";
import { augment, toPixels } from "../data/augment.js";
import type { ClassGaussians } from "../data/class-gaussians.js";
import { numSteps } from "../data/plan.js";
import type { SampleShape } from "../data/samples.js";
import { createModel } from "../model/create.js";
import { createObjective, type Objective } from "../objective/objective.js";
import { globalNorm } from "../optimizer/clip.js";
import { progressOf } from "../optimizer/schedule.js";
import { DataStarts } from "../sampler/data-start.js";
import { ReplayBuffer } from "../sampler/replay-buffer.js";
import { createStart } from "../sampler/start.js";
import { createPhaseClock } from "./clock.js";
import { looksAtSpread } from "./energy-spread.js";
import { Gradient } from "./gradient.js";
import type { Link, StepSlice } from "./link.js";
import { type StepResult, TrainingState } from "./state.js";
import { checkStatistics, statisticRanges } from "./statistics.js";
import { type BegunStep, beginStep, finishStep } from "./step.js";
import { mergeFigures } from "./step-gradient.js";

export interface StepsOptions {
  readonly config: Config;
  readonly data: { readonly shape: SampleShape; readonly numClasses: number; readonly numSamples: number };
  /** For chains that start from Gaussians. */
  readonly gaussians: ClassGaussians | null;
  readonly link: Link;
  /** Counts how often the stability guard had the random streams drawn anew. Default 0. */
  readonly salt?: number;
}

/** A step whose views are made. */
export interface StepUnderWay extends BegunStep {
  /** Of the weights that it began with: it may move them before another worker fails. */
  readonly checksum: bigint;
}

export class Steps {
  readonly state: TrainingState;
  readonly #config: Config;
  readonly #data: StepsOptions["data"];
  readonly #link: Link;
  readonly #seed: bigint;
  readonly #numSteps: number;
  readonly #objective: Objective;
  readonly #gradient: Gradient;
  readonly #dataStarts: DataStarts | null;
  /** Memory for sums of a few numbers. */
  #figures: Float32Array;

  constructor({ config, data, gaussians, link, salt = 0 }: StepsOptions) {
    const { sampler } = config;
    const { numClasses, numSamples } = data;
    this.#config = config;
    this.#data = data;
    this.#link = link;
    this.#seed = streamSeed(BigInt(config.seed), { salt });
    this.#numSteps = numSteps({ numSamples, batchSize: config.data.batchSize }, config.epochs);
    this.#objective = createObjective(config.objective);
    checkStatistics(config, this.#objective.views);
    const seed = this.#seed;
    const shape = this.#shape;
    const generative = this.#objective.views.has("generated") && sampler.chains > 0;
    const sampleSize = shape[0] * shape[1] * shape[2];
    const sumOverWorkers = (values: Float32Array): void => this.#sumOverWorkers(values);
    this.#dataStarts =
      generative && sampler.start === "data" ? new DataStarts({ seed, numChains: sampler.chains, sampleSize, sumOverWorkers }) : null;
    const start =
      generative &&
      (this.#dataStarts?.start ??
        createStart({ kind: sampler.start, shape: data.shape, numClasses, ...(gaussians && { stats: gaussians }) }));
    const buffer = start ? new ReplayBuffer({ seed, config: sampler, start, shape, numClasses }) : null;
    this.state = new TrainingState({ config, model: createModel(config.model, shape, numClasses), buffer, seed: BigInt(config.seed) });
    this.#gradient = new Gradient(this.state.model.numParameters, link, {
      figuresApart: config.communication.wire === "bf16",
      statistics: statisticRanges(this.state.model),
    });
    this.#figures = link.allocate(64);
  }

  /** Whether a step can be begun without the other workers: not where chains start at samples of theirs. */
  get beginAlone(): boolean {
    return this.#dataStarts === null;
  }

  /** The first part of a step, from the state as it is now. */
  begin(slice: StepSlice): StepUnderWay {
    const { step, positions: range, batchSize: total, labels } = slice;
    const { sampler, checkpoint, data } = this.#config;
    const { state } = this;
    const clock = createPhaseClock(this.#link.phase);
    clock.begin("data");
    const images = augment(slice.images, this.#data.shape, data.augment, { seed: this.#seed, step, from: range.from });
    const progress = progressOf(step, this.#numSteps);
    const checksum = step % checkpoint.checksumEvery === 0 ? state.checksum() : 0n;
    const generates = state.buffer !== null && step % sampler.every === 0 && this.#objective.reads("generated", progress);
    if (generates) this.#dataStarts?.gather(step, { images, from: range.from, total });
    const chainSteps = state.curriculum?.steps;
    const begun = beginStep({
      step,
      progress,
      config: this.#config,
      seed: this.#seed,
      shape: this.#shape,
      numClasses: this.#data.numClasses,
      clean: {
        images,
        natural: () => toPixels(slice.images),
        labels,
        positions: Int32Array.from({ length: labels.length }, (_, i) => range.from + i),
        total,
      },
      chains: generates ? (state.buffer?.take(step) ?? null) : null,
      ...(chainSteps !== undefined && { chainSteps }),
      looksAtSpread: looksAtSpread(step, { totalSteps: this.#numSteps, every: sampler.every }),
      ...state.bound(progress),
      weights: state.weights,
      objective: this.#objective,
      drives: state.drives,
      gradient: this.#gradient,
      clock,
      sumOverWorkers: (values) => clock.within("reduce", () => this.#sumOverWorkers(values)),
    });
    clock.pause();
    return { ...begun, checksum };
  }

  /** The second part: what the step comes to, over all workers. Disposes what was begun. */
  finish(begun: StepUnderWay): StepResult {
    const { clock, progress, chains, chainSteps } = begun.input;
    const { state } = this;
    const output = finishStep(begun);
    clock.begin("reduce");
    const figures = mergeFigures(this.#gradient.finish(), output.settled);
    const gradient = this.#gradient.values;
    const gradientNorm = globalNorm(gradient);
    const statistics = output.statistics ?? this.#gradient.statistics;
    if (chainSteps !== undefined) figures["chain-steps"] = chainSteps;
    if (statistics) figures["statistics-move"] = globalNorm(statistics);
    const weights = this.#objective.movingWeights(progress, state.drives.factor);
    return {
      update: { gradient, gradientNorm, progress, statistics },
      metrics: { ...figures, ...weights, "gradient-norm": gradientNorm, "learning-rate": state.optimizer.learningRate(progress) },
      chains: chains && output.chains && { taken: chains, advanced: output.chains },
      energies: output.energies,
    };
  }

  /** Sums a few numbers over all workers, in place, and waits for them. */
  #sumOverWorkers(values: Float32Array): void {
    if (values.length > this.#figures.length) this.#figures = this.#link.allocate(values.length);
    const memory = this.#figures.subarray(0, values.length);
    memory.set(values);
    this.#link.startSum(memory);
    this.#link.finishSums();
    values.set(memory);
  }

  get #shape(): readonly [number, number, number] {
    const { height, width, channels } = this.#data.shape;
    return [height, width, channels];
  }
}
