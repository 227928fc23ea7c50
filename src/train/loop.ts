/**
 * The training loop, from the first step to the last: the program's centre.
 *
 * It runs alone on its thread, in one of N workers, and sees the others only through `link`: what to do next, the sum over all
 * workers, the vote. A step that does not commit leaves no trace; it comes again, on the same samples, with the same noise.
 */
import { streamSeed } from "../config/adjustment.js";
import type { Config } from "../config/schema.js";
import { augment, toPixels } from "../data/augment.js";
import type { ClassGaussians } from "../data/class-gaussians.js";
import { numSteps } from "../data/plan.js";
import type { SampleShape } from "../data/samples.js";
import { createModel } from "../model/create.js";
import { createObjective } from "../objective/objective.js";
import { globalNorm } from "../optimizer/clip.js";
import { progressOf } from "../optimizer/schedule.js";
import { DataStarts } from "../sampler/data-start.js";
import { ReplayBuffer, type TakenChains } from "../sampler/replay-buffer.js";
import { createStart } from "../sampler/start.js";
import { createPhaseClock } from "./clock.js";
import { looksAtSpread } from "./energy-spread.js";
import { Gradient } from "./gradient.js";
import { type Ballot, CollectiveInterrupted, type Link, type Turn } from "./link.js";
import { TrainingState } from "./state.js";
import { checkStatistics, statisticRanges } from "./statistics.js";
import { computeStep, type StepOutput } from "./step.js";
import { mergeFigures } from "./step-gradient.js";

export interface TrainOptions {
  readonly config: Config;
  readonly data: { readonly shape: SampleShape; readonly numClasses: number; readonly numSamples: number };
  /** For chains that start from Gaussians. */
  readonly gaussians: ClassGaussians | null;
  readonly link: Link;
  /** Counts how often the stability guard had the random streams drawn anew. Default 0. */
  readonly salt?: number;
}

/** Trains until the link says stop, and returns why. The engine must have been started. */
export function train({ config, data, gaussians, link, salt = 0 }: TrainOptions): Extract<Turn, { kind: "stop" }> {
  const seed = streamSeed(BigInt(config.seed), { salt });
  const shape = [data.shape.height, data.shape.width, data.shape.channels] as const;
  const { numClasses } = data;
  const totalSteps = numSteps({ numSamples: data.numSamples, batchSize: config.data.batchSize }, config.epochs);
  const objective = createObjective(config.objective);
  checkStatistics(config, objective.views);
  const generative = objective.views.has("generated") && config.sampler.chains > 0;
  const sampleSize = shape[0] * shape[1] * shape[2];
  const dataStarts =
    generative && config.sampler.start === "data"
      ? new DataStarts({ seed, numChains: config.sampler.chains, sampleSize, sumOverWorkers: (values) => sumOverWorkers(values) })
      : null;
  const start =
    generative &&
    (dataStarts?.start ??
      createStart({ kind: config.sampler.start, shape: data.shape, numClasses, ...(gaussians && { stats: gaussians }) }));
  const buffer = start ? new ReplayBuffer({ seed, config: config.sampler, start, shape, numClasses }) : null;
  const state = new TrainingState({ config, model: createModel(config.model, shape, numClasses), buffer, seed: BigInt(config.seed) });
  const gradient = new Gradient(state.model.numParameters, link, {
    figuresApart: config.communication.wire === "bf16",
    statistics: statisticRanges(state.model),
  });
  let statistics = link.allocate(64);

  /** Sums a few numbers over all workers and waits for them. */
  const sumOverWorkers = (values: Float32Array): void => {
    if (values.length > statistics.length) statistics = link.allocate(values.length);
    const memory = statistics.subarray(0, values.length);
    memory.set(values);
    link.startSum(memory);
    link.finishSums();
    values.set(memory);
  };

  /** Milliseconds of the vote and of the update after it, told with the next ballot. */
  let afterBallot: Record<string, number> = {};
  for (;;) {
    const turn = link.next();
    if (turn.kind === "stop") {
      state.dispose();
      return turn;
    }
    if (turn.kind === "offer") {
      link.offer(turn.what === "everything" ? state.save() : (buffer?.save() ?? []));
      continue;
    }
    if (turn.kind === "save") {
      link.save(state.save());
      continue;
    }
    if (turn.kind === "generation") {
      if (turn.state !== "keep") buffer?.clear(); // what it holds is of another step
      buffer?.assign(turn.assignment.chains);
      if (typeof turn.state === "object") state.restore(turn.state);
      buffer?.restore(turn.chains);
      link.ready(turn.assignment);
      continue;
    }

    // A single training step.
    const { step, batchSize } = turn;
    const clock = createPhaseClock(link.phase);
    clock.begin("data");
    const positions = Int32Array.from({ length: turn.labels.length }, (_, i) => turn.positions.from + i);
    const images = augment(turn.images, data.shape, config.data.augment, { seed, step, from: turn.positions.from });
    const progress = progressOf(step, totalSteps);
    // Of the weights that the step begins with: it may move them before another worker fails.
    const checksum = step % config.checkpoint.checksumEvery === 0 ? state.checksum() : 0n;
    const generates = buffer !== null && step % config.sampler.every === 0 && objective.reads("generated", progress);
    let chains: TakenChains | null = null;
    let output: StepOutput | undefined;
    let gradientNorm = 0;
    let ballot: Pick<Ballot, "ok" | "fault" | "reason" | "metrics">;
    try {
      if (generates) dataStarts?.gather(step, { images, from: turn.positions.from, total: batchSize });
      chains = generates ? buffer.take(step) : null;
      const chainSteps = state.curriculum?.steps;
      const clean = { images, natural: () => toPixels(turn.images), labels: turn.labels, positions, total: batchSize };
      const input = {
        step,
        progress,
        config,
        seed,
        shape,
        numClasses,
        clean,
        chains,
        ...(chainSteps !== undefined && { chainSteps }),
        looksAtSpread: looksAtSpread(step, { totalSteps, every: config.sampler.every }),
        ...state.bound(progress),
        weights: state.weights,
        objective,
        drives: state.drives,
        gradient,
        clock,
        sumOverWorkers: (values: Float32Array) => clock.within("reduce", () => sumOverWorkers(values)),
      };
      output = computeStep(input);
      clock.begin("reduce");
      const figures = mergeFigures(gradient.finish(), output.settled);
      if (chainSteps !== undefined) figures["chain-steps"] = chainSteps;
      gradientNorm = globalNorm(gradient.values);
      const measured = output.statistics ?? gradient.statistics;
      if (measured) figures["statistics-move"] = globalNorm(measured);
      const weights = objective.movingWeights(progress, state.drives.factor);
      ballot = judge({ ...figures, ...weights, "gradient-norm": gradientNorm, "learning-rate": state.optimizer.learningRate(progress) });
    } catch (error) {
      ballot = faultOf(error);
    }

    // All workers apply the update, or none does.
    const phasesMs = { wait: turn.dataWaitMs, ...clock.finish(), ...afterBallot };
    const after = createPhaseClock(link.phase);
    after.begin("vote");
    const update = { gradient: gradient.values, gradientNorm, progress, statistics: output?.statistics ?? gradient.statistics };
    // While the votes are under way the update is computed, and what the next step needs of it. It counts when they agree.
    const verdict = link.vote({ ...ballot, checksum, phasesMs }, () => {
      if (!ballot.ok) return;
      after.begin("update");
      state.prepare(update, { checksum: (step + 1) % config.checkpoint.checksumEvery === 0 });
      after.begin("vote");
    });
    after.begin("update");
    if (verdict.commit) {
      state.apply(update);
      state.drives.observe(ballot.metrics);
      if (chains && output?.chains) buffer?.store(chains, output.chains);
      if (output?.energies) state.curriculum?.observe(output.energies);
      if (verdict.checkpoint) {
        after.begin("save");
        link.save(state.save());
      }
    } else {
      state.goBack();
    }
    afterBallot = after.finish();
  }
}

/** A step counts when its loss and its gradient are numbers. The sums are the same on every worker, and so is this. */
function judge(metrics: Record<string, number>): Pick<Ballot, "ok" | "fault" | "reason" | "metrics"> {
  const bad = Object.entries(metrics).filter(([, value]) => !Number.isFinite(value));
  if (bad.length === 0) return { ok: true, fault: "none", reason: "", metrics };
  const names = bad.map(([name, value]) => `${name} = ${value}`).join(", ");
  return { ok: false, fault: "non-finite", reason: `the step's figures are not finite: ${names}`, metrics };
}

function faultOf(error: unknown): Pick<Ballot, "ok" | "fault" | "reason" | "metrics"> {
  const reason = error instanceof Error ? error.message : String(error);
  return { ok: false, fault: error instanceof CollectiveInterrupted ? "collective" : "engine", reason, metrics: {} };
}
