/**
 * What every way of attacking, sampling, perturbing and averaging owes to a training: the same result however the batch is cut over
 * workers, from a checkpoint on, and after a step that did not commit; and no tensor left behind.
 */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import { groupSizeOf } from "../../src/config/group-size.js";
import type { Config } from "../../src/config/schema.js";
import { createPlan } from "../../src/data/plan.js";
import { startCpu } from "../../src/engine/cpu.js";
import type { Ballot, Link, Turn } from "../../src/train/link.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink, type SoloOptions } from "../../src/train/solo-link.js";
import { cutLink, lockstep } from "../kit/lockstep.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "../kit/small-run.js";

beforeAll(() => startCpu());

const NUM_SAMPLES = 18;
const NUM_STEPS = 3;
const samples = smallSamples(NUM_SAMPLES);
const size = SHAPE.height * SHAPE.width * SHAPE.channels;
const sampler = { chains: 4, bufferSize: 8, steps: 2, stepSize: 1, noise: 0.01, clampGradient: 0.03, start: "uniform", reinit: 0.5 };
const adversarial = { objective: { "clean-ce": 0.5, "adversarial-ce": 1 } };
const jem = { objective: { "clean-ce": 1, contrast: 0.5 } };

const convnet = { kind: "convnet", stages: [{ channels: 6, stride: 2 }, { channels: 8 }] };
const ghost = (norm: Record<string, unknown>) => ({ model: { ...convnet, norm: { kind: "ghost-batch", groupSize: 2, ...norm } } });

const CASES: Record<string, Record<string, unknown>> = {
  "batch norm over groups": { ...ghost({}), sampler },
  "batch norm over groups, of groups in attacks and chains too, in micro-batches": {
    ...ghost({ attack: "group", sampling: "group", statisticsFrom: "adversarial" }),
    sampler,
    memory: { microBatch: 4 },
  },
  "batch norm over groups under adaptive SAM, frozen in the end": {
    ...ghost({ statisticsFrom: "clean", frozenFrom: 0.6 }),
    ...jem,
    sampler,
    optimizer: { lr: 0.05, perturbation: { kind: "sam", rho: 0.5 }, ema: 0.5 },
  },
  "batch norm over groups, of groups in chains": { ...ghost({ sampling: "group" }), ...jem, sampler },
  "batch norm over groups under Free": { ...ghost({}), ...adversarial, attack: { kind: "free", replays: 3, stepSize: "8/255" } },
  "batch norm over groups under YOPO": { ...ghost({}), ...adversarial, attack: { kind: "yopo", replays: 3, innerSteps: 2 } },
  "FGSM from a random start, watched for overfitting": {
    ...adversarial,
    attack: { kind: "fgsm-rs", overfitting: { everySteps: 2, samples: 4 } },
  },
  "N-FGSM": { ...adversarial, attack: { kind: "n-fgsm" } },
  "PGD in L2, up the KL divergence, the stronger of two starts": {
    ...adversarial,
    attack: { norm: "l2", eps: 0.5, stepSize: 0.2, steps: 2, target: "kl", start: "gaussian", restarts: 2 },
  },
  Free: { ...adversarial, attack: { kind: "free", replays: 3, stepSize: "8/255" } },
  "Free with averaged weights": {
    ...adversarial,
    attack: { kind: "free", replays: 2, stepSize: "8/255", start: "zero" },
    optimizer: { kind: "adam", lr: 0.01, ema: 0.5 },
  },
  YOPO: { ...adversarial, attack: { kind: "yopo", replays: 3, innerSteps: 2 } },
  "adversarial weight perturbation": { ...adversarial, attack: { steps: 1 }, optimizer: { lr: 0.05, perturbation: "awp" } },
  "adaptive SAM": { ...jem, sampler, optimizer: { lr: 0.05, perturbation: { kind: "sam", rho: 0.5 } } },
  "weights averaged late (SWA)": { optimizer: { lr: 0.05, swa: { from: 0.2, everyUpdates: 1 } }, sampler },
  "proximal class-conditional chains": { ...jem, sampler: { ...sampler, kind: "proximal", innerSteps: 3, conditional: true } },
  "chains that start at data": { ...jem, sampler: { ...sampler, start: "data" } },
  "weights that gaps drive": {
    objective: {
      "clean-ce": 1,
      "align-adversarial": { value: 1, driven: { by: "gap/adversarial-absolute", target: 1e-3, rate: 0.5, max: 4 } },
      contrast: { value: 0.5, driven: { by: "gap/generated", target: 1e-3, rate: 0.3, max: 2 } },
    },
    attack: { steps: 1 },
    sampler,
  },
  "local smoothness, in micro-batches": {
    objective: {
      "clean-ce": 1,
      vat: 0.5,
      llr: { value: 0.5, steps: 1 },
      "llr-gradient": 0.2,
      elle: 1,
      "grad-align": 0.1,
      cure: 0.1,
      "clean-logit-pairing": 0.01,
    },
    memory: { microBatch: 4 },
  },
  "DAT's negatives and curriculum": {
    ...jem,
    sampler: { ...sampler, kind: "dat", noise: 0, stepSize: 0.3, conditional: true, reinit: 1, curriculum: { auc: 0.5, window: 4 } },
  },
};

interface Run {
  readonly ballots: readonly Ballot[];
  readonly saved: ReadonlyMap<number, readonly StatePart[]>;
}

function runOver(config: Config, makeLink: (options: SoloOptions) => Link, extra: Partial<SoloOptions> = {}): Run {
  const ballots: Ballot[] = [];
  const saved = new Map<number, readonly StatePart[]>();
  const { batchSize, shuffleBlock } = config.data;
  const link = makeLink({
    plan: createPlan({ numSamples: NUM_SAMPLES, batchSize, shuffleBlock, seed: BigInt(config.seed) }),
    numSteps: NUM_STEPS,
    numChains: config.sampler.chains,
    read: (ids) => ({
      images: Uint8Array.from(Array.from(ids).flatMap((id) => Array.from(samples.images.subarray(id * size, (id + 1) * size)))),
      labels: Int32Array.from(ids, (id) => samples.labels[id] as number),
    }),
    onCommit: (_step, ballot) => ballots.push(ballot),
    checkpointAfter: () => true,
    onSave: (step, parts) =>
      saved.set(
        step,
        parts.map((part) => ({ ...part, data: part.data.slice() })),
      ),
    ...extra,
  });
  const data = { shape: SHAPE, numClasses: NUM_CLASSES, numSamples: NUM_SAMPLES };
  train({ config, data, gaussians: null, link });
  return { ballots, saved };
}

/** Parameters, optimizer and curriculum after the last step; of the buffer each worker has its rows. */
const shared = ({ saved }: Run): readonly StatePart[] => (saved.get(NUM_STEPS) ?? []).filter(({ file }) => file !== "buffer");

/** The largest difference between two tensors of a checkpoint; NaN where either has one. */
function furthest(a: StatePart, b: StatePart): number {
  let largest = 0;
  for (let i = 0; i < b.data.length; i++) {
    const distance = Math.abs((a.data[i] as number) - (b.data[i] as number));
    if (!(distance <= largest)) largest = distance;
  }
  return largest;
}

describe.each(Object.entries(CASES))("%s", (_, overrides) => {
  const config = smallConfig({ epochs: 2, ...overrides, data: { path: "unused", batchSize: 6, shuffleBlock: 16 } });
  let run: Run | undefined;
  const alone = () => {
    run ??= runOver(config, createSoloLink);
    return run;
  };

  it("trains, and leaves no tensor behind", () => {
    const before = tf.memory().numTensors;
    const { ballots } = runOver(config, createSoloLink);
    expect(tf.memory().numTensors).toBe(before);
    expect(ballots.length).toBe(NUM_STEPS);
    expect(new Set(ballots.map(({ checksum }) => checksum)).size).toBe(NUM_STEPS);
  });

  it("gives three workers, one of them idle, what it gives one", () => {
    const whole = alone();
    for (const cuts of [[0, 0.34, 0.34, 1]]) {
      const workers = cuts.slice(1).map((to, w) => (sum: (values: Float32Array) => void) => {
        const cut = { from: cuts[w] as number, to };
        return runOver(config, (options) => cutLink(options, cut, sum, groupSizeOf(config.model)));
      });
      const runs = lockstep(workers);
      for (const run of runs) {
        run.ballots.forEach(({ metrics, ok, reason }, step) => {
          expect([ok, reason]).toEqual([true, ""]);
          expect(Object.keys(metrics)).toEqual(Object.keys(whole.ballots[step]?.metrics ?? {}));
          for (const [name, value] of Object.entries(whole.ballots[step]?.metrics ?? {})) expect(metrics[name], name).toBeCloseTo(value, 4);
        });
        shared(run).forEach((part, p) => {
          const expected = shared(whole)[p] as StatePart;
          expect(part.tensor).toBe(expected.tensor);
          expect(furthest(part, expected), part.tensor).toBeLessThan(2e-4);
        });
        // Between the workers themselves: the same bits.
        expect(run.ballots.map(({ checksum }) => checksum)).toEqual(runs[0]?.ballots.map(({ checksum }) => checksum));
      }
    }
  });

  it("goes on from a checkpoint bit for bit", () => {
    const whole = alone();
    const resumed = runOver(config, createSoloLink, { resume: { step: 1, parts: whole.saved.get(1) as readonly StatePart[] } });
    expect(resumed.ballots.map(({ metrics }) => metrics)).toEqual(whole.ballots.slice(1).map(({ metrics }) => metrics));
    expect(resumed.saved.get(NUM_STEPS)).toEqual(whole.saved.get(NUM_STEPS));
  });

  it.each([
    ["", false],
    [", with the next one begun before the verdict on it", true],
  ])("leaves no trace of a step that did not commit%s", (_, beginsAhead) => {
    const refused = new Set<number>();
    const flaky = (options: SoloOptions): Link => {
      const solo = createSoloLink(options);
      const due: Turn[] = [];
      let step = -1;
      return {
        ...solo,
        next() {
          const turn = due.shift() ?? solo.next();
          if (turn.kind !== "step") return turn;
          ({ step } = turn);
          if (!beginsAhead || step + 1 >= NUM_STEPS) return turn;
          const { epoch, ids } = options.plan.batchOf(step + 1);
          const positions = { from: 0, to: ids.length };
          return { ...turn, following: { step: step + 1, epoch, batchSize: ids.length, positions, ids, ...options.read(ids) } };
        },
        vote(ballot) {
          if (refused.has(step)) {
            solo.vote(ballot);
            return;
          }
          refused.add(step);
          due.push({ kind: "verdict", commit: false, checkpoint: false, reason: "once each, for the test" });
        },
      };
    };
    const before = tf.memory().numTensors;
    const interrupted = runOver(config, flaky);
    expect(tf.memory().numTensors).toBe(before);
    expect(interrupted.saved.get(NUM_STEPS)).toEqual(alone().saved.get(NUM_STEPS));
  });
});

describe.each(["Free", "YOPO"])("%s", (name) => {
  it("moves the perturbation alike where the slice goes through the network in micro-batches", () => {
    const overrides = { epochs: 2, ...CASES[name], data: { path: "unused", batchSize: 6, shuffleBlock: 16 } };
    const trained = (microBatch: number | null) => shared(runOver(smallConfig({ ...overrides, memory: { microBatch } }), createSoloLink));
    const cut = trained(4);
    trained(null).forEach((part, p) => {
      expect(furthest(part, cut[p] as StatePart), part.tensor).toBeLessThan(2e-4);
    });
  });
});

it("vouches for the weights that a step began with, also where it moved them and then failed", () => {
  const config = smallConfig({ epochs: 2, ...CASES.Free, data: { path: "unused", batchSize: 6, shuffleBlock: 16 } });
  // A second sum fails in one worker, after its weights have moved once.
  const checksums = [false, true].map((fails) => {
    const seen: bigint[] = [];
    runOver(config, (options) => {
      const solo = createSoloLink({ ...options, numSteps: 1 });
      let sums = 0;
      return {
        ...solo,
        startSum(values) {
          if (fails && ++sums === 2) throw new Error("a peer is gone");
          solo.startSum(values);
        },
        vote(ballot) {
          seen.push(ballot.checksum);
          solo.vote(ballot);
        },
      };
    });
    return seen;
  });
  expect(checksums[1]).toEqual(checksums[0]);
});
