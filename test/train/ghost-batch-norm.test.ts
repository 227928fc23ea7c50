/**
 * Batch normalisation over groups of samples in a training: what the running statistics become, which samples and passes move them,
 * and that neither the cut over workers nor chunks nor a resume shows, also where a batch ends in a smaller group.
 */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import { groupSizeOf } from "../../src/config/group-size.js";
import { loadConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/schema.js";
import { createPlan, numSteps, slice } from "../../src/data/plan.js";
import { startCpu } from "../../src/engine/cpu.js";
import { createObjective } from "../../src/objective/objective.js";
import type { Ballot, Link } from "../../src/train/link.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink, type SoloOptions } from "../../src/train/solo-link.js";
import { checkStatistics } from "../../src/train/statistics.js";
import { cutLink, lockstep } from "../kit/lockstep.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "../kit/small-run.js";

beforeAll(() => startCpu());

const BATCH = 8;
/** Batches of 8, 8 and 7: the last ends in a group of three. */
const NUM_SAMPLES = 23;
const STEPS = 3;
const samples = smallSamples(NUM_SAMPLES);
const size = SHAPE.height * SHAPE.width * SHAPE.channels;

function configOf(norm: Record<string, unknown> = {}, overrides: Record<string, unknown> = {}): Config {
  return smallConfig({
    epochs: 1,
    data: { path: "unused", batchSize: BATCH, shuffleBlock: 16 },
    model: { kind: "convnet", stages: [{ channels: 4, stride: 2 }, { channels: 6 }], norm: { kind: "ghost-batch", groupSize: 4, ...norm } },
    sampler: { chains: 8, bufferSize: 16, steps: 1, stepSize: 1, noise: 0.01, start: "uniform" },
    attack: { steps: 1 },
    ...overrides,
  });
}

interface Run {
  readonly ballots: readonly Ballot[];
  /** By name, after each step. */
  readonly saved: ReadonlyMap<number, readonly StatePart[]>;
}

const planOf = ({ seed, data: { shuffleBlock } }: Config) =>
  createPlan({ numSamples: NUM_SAMPLES, batchSize: BATCH, shuffleBlock, seed: BigInt(seed) });

const imagesOf = (ids: Uint32Array) =>
  Uint8Array.from(Array.from(ids).flatMap((id) => Array.from(samples.images.subarray(id * size, (id + 1) * size))));

function runOver(config: Config, makeLink: (options: SoloOptions) => Link = createSoloLink, extra: Partial<SoloOptions> = {}): Run {
  const ballots: Ballot[] = [];
  const saved = new Map<number, readonly StatePart[]>();
  const link = makeLink({
    plan: planOf(config),
    numSteps: numSteps({ numSamples: NUM_SAMPLES, batchSize: BATCH }, config.epochs),
    numChains: config.sampler.chains,
    read: (ids) => ({ images: imagesOf(ids), labels: Int32Array.from(ids, (id) => samples.labels[id] as number) }),
    onCommit: (_step, ballot) => ballots.push(ballot),
    checkpointAfter: () => true,
    onSave: (step, parts) =>
      saved.set(
        step,
        parts.map((part) => ({ ...part, data: part.data.slice() })),
      ),
    ...extra,
  });
  const { outcome, reason } = train({
    config,
    data: { shape: SHAPE, numClasses: NUM_CLASSES, numSamples: NUM_SAMPLES },
    gaussians: null,
    link,
  });
  expect(outcome, reason).toBe("finished");
  return { ballots, saved };
}

function valuesOf({ saved }: Run, step: number, tensor: string): readonly number[] {
  const part = saved.get(step)?.find((part) => part.file === "model" && part.tensor === tensor);
  if (!part) throw new Error(`no ${tensor} after step ${step}`);
  return Array.from(part.data, Number);
}

describe("running statistics", () => {
  it("follow the groups' of the samples that are named, as torch.nn.BatchNorm2d's do with momentum 0.1", () => {
    // Of the clean samples before the first norm nothing but the initial filter matters, and no step has moved it.
    const config = configOf({ statisticsFrom: "clean" });
    const run = runOver(config);
    const initial = new Map<string, readonly number[]>();
    runOver(config, (options) => {
      const solo = createSoloLink({ ...options, numSteps: 1 });
      let asked = false;
      return {
        ...solo,
        next() {
          const turn = solo.next();
          if (turn.kind !== "step" || asked) return turn;
          asked = true;
          return { kind: "offer", what: "everything" };
        },
        offer: (parts) => {
          for (const { tensor, data } of parts) initial.set(tensor, Array.from(data, Number));
        },
      };
    });
    const expected = tf.tidy(() => {
      const images = tf.tensor4d(Float32Array.from(imagesOf(planOf(config).batchOf(0).ids)), [BATCH, 8, 8, 3]);
      const filter = tf.tensor4d(initial.get("conv1.weight") as number[], [3, 3, 3, 4]);
      const around: [number, number] = [1, 1];
      const outputs = tf.conv2d(tf.div(tf.sub(tf.div(images, 255), 0.5), 0.25) as tf.Tensor4D, filter, 2, [[0, 0], around, around, [0, 0]]);
      const groups = tf.split(outputs, BATCH / 4).map((group) => tf.moments(group, [0, 1, 2]));
      const count = 4 * 4 * 4;
      const mean = tf.mean(tf.stack(groups.map(({ mean }) => mean)), 0);
      const variance = tf.mul(tf.mean(tf.stack(groups.map(({ variance }) => variance)), 0), count / (count - 1));
      return { mean: tf.mul(mean, 0.1).arraySync() as number[], variance: tf.add(tf.mul(variance, 0.1), 0.9).arraySync() as number[] };
    });
    valuesOf(run, 1, "norm1.running_mean").forEach((value, c) => {
      expect(value).toBeCloseTo(expected.mean[c] as number, 5);
    });
    valuesOf(run, 1, "norm1.running_var").forEach((value, c) => {
      expect(value).toBeCloseTo(expected.variance[c] as number, 5);
    });
    // The averaged weights have averaged statistics.
    valuesOf(run, 1, "ema.norm1.running_mean").forEach((value, c) => {
      expect(value).toBeCloseTo(0.1 * (expected.mean[c] as number), 5);
    });
  });

  it("follow other samples where others are named", () => {
    const means = ["clean", "adversarial", "all"].map((statisticsFrom) =>
      valuesOf(runOver(configOf({ statisticsFrom })), 1, "norm1.running_mean"),
    );
    expect(new Set(means.map(String)).size).toBe(3);
  });

  it("are left as they are once frozen, and by the passes at perturbed weights", () => {
    const frozen = runOver(configOf({ frozenFrom: 1 / 3 }));
    expect(valuesOf(frozen, 1, "norm2.running_var")).not.toEqual(new Array(6).fill(1));
    expect(valuesOf(frozen, 3, "norm2.running_var")).toEqual(valuesOf(frozen, 1, "norm2.running_var"));
    expect(valuesOf(frozen, 3, "norm2.weight")).not.toEqual(valuesOf(frozen, 1, "norm2.weight"));
    expect(frozen.ballots.map(({ metrics }) => (metrics["statistics-move"] as number) > 0)).toEqual([true, false, false]);
    const always = runOver(configOf({ frozenFrom: 0 }));
    expect(valuesOf(always, 3, "norm1.running_mean")).toEqual(new Array(4).fill(0));

    const plain = valuesOf(runOver(configOf()), 1, "norm2.running_mean");
    const perturbed = valuesOf(runOver(configOf({}, { optimizer: { perturbation: { kind: "sam", rho: 0.5 } } })), 1, "norm2.running_mean");
    expect(perturbed).toEqual(plain);
  });

  it("are neither clipped, decayed nor counted into the gradient's norm", () => {
    const statisticsAfter = (optimizer: Record<string, unknown>) => valuesOf(runOver(configOf({}, { optimizer })), 1, "norm1.running_mean");
    const plain = statisticsAfter({ kind: "sgd", lr: 0.1, clipNorm: null });
    expect(statisticsAfter({ kind: "sgd", lr: 1e-6, clipNorm: 1e-3, weightDecay: 0.5 })).toEqual(plain);
    expect(statisticsAfter({ kind: "adam", lr: 0.1, clipNorm: null })).toEqual(plain);
    const norms = [0.1, 0.9].map((momentum) => runOver(configOf({ momentum })).ballots[0]?.metrics["gradient-norm"]);
    expect(norms[0]).toBe(norms[1]);
  });
});

describe.each<[string, Record<string, unknown>]>([
  ["running", {}],
  ["group", { attack: "group", sampling: "group" }],
])("with %s statistics in attacks and chains, a training", (_, norm) => {
  const config = configOf(norm);

  it.each([1, 2, 3, 4])("is the same with %d workers, each with whole groups", (count) => {
    const whole = runOver(config);
    const weights = new Array<number>(count).fill(1);
    const workers = weights.map((_, rank) => (sum: (values: Float32Array) => void) => {
      const cut = { from: rank / count, to: (rank + 1) / count };
      return runOver(config, (options) => cutLink(options, cut, sum, groupSizeOf(config.model)));
    });
    const runs = lockstep(workers);
    for (const run of runs) {
      // Parameters and running statistics have the same bits on all workers, and up to the order of sums those of one.
      expect(run.ballots.map(({ checksum }) => checksum)).toEqual(runs[0]?.ballots.map(({ checksum }) => checksum));
      for (const { tensor, file, data } of whole.saved.get(STEPS) ?? []) {
        if (file !== "model") continue;
        valuesOf(run, STEPS, tensor).forEach((value, i) => {
          expect(value, `${tensor} ${i}`).toBeCloseTo(Number(data[i]), 4);
        });
      }
    }
  });

  it("is the same in micro-batches", () => {
    const whole = runOver(config);
    const chunked = runOver({ ...config, memory: { microBatch: 4 } });
    for (const { tensor, file, data } of whole.saved.get(STEPS) ?? []) {
      if (file !== "model") continue;
      valuesOf(chunked, STEPS, tensor).forEach((value, i) => {
        expect(value, `${tensor} ${i}`).toBeCloseTo(Number(data[i]), 4);
      });
    }
  });

  it("goes on from a checkpoint bit for bit", () => {
    const whole = runOver(config);
    const resumed = runOver(config, createSoloLink, { resume: { step: 1, parts: whole.saved.get(1) as readonly StatePart[] } });
    expect(resumed.saved.get(STEPS)).toEqual(whole.saved.get(STEPS));
  });
});

describe("groups that don't come out even", () => {
  it("are an error of the configuration that names the number and one that fits", () => {
    const load =
      (...overrides: string[]) =>
      () =>
        loadConfig({ source: "standard", overrides: ["model.norm=ghost-batch", ...overrides], env: {} });
    expect(load()).not.toThrow();
    expect(load("data.batchSize=100")).toThrow(/data.batchSize: 100: no multiple of the norm's groups of 32 samples; take 96/);
    expect(load("memory.microBatch=40")).toThrow(/memory.microBatch: 40: no multiple/);
  });

  it("are one for chains too, where the objective has any; and so are statistics of samples that it doesn't read", () => {
    const check = (config: Config) => () => checkStatistics(config, createObjective(config.objective).views);
    const chains = { sampler: { chains: 6, bufferSize: 24 } };
    expect(check(configOf({}, chains))).toThrow(/sampler.chains is 6, which is no multiple of the norm's groups of 4 samples/);
    expect(check(configOf({}, { ...chains, objective: { "clean-ce": 1 } }))).not.toThrow();
    expect(check(configOf({ statisticsFrom: "adversarial" }, { objective: { "clean-ce": 1 } }))).toThrow(
      /no term of the objective reads adversarial/,
    );
  });

  it("don't come from slices: their cuts fall between groups whatever the weights", () => {
    expect([0, 1, 2].map((rank) => slice(23, rank, [1, 1, 1], 4))).toEqual([
      { from: 0, to: 8 },
      { from: 8, to: 16 },
      { from: 16, to: 23 },
    ]);
    expect([0, 1, 2].map((rank) => slice(4, rank, [1, 1, 1], 4))).toEqual([
      { from: 0, to: 0 },
      { from: 0, to: 4 },
      { from: 4, to: 4 },
    ]);
  });
});
