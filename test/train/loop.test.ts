import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import type { Config } from "../../src/config/schema.js";
import { createPlan, numSteps } from "../../src/data/plan.js";
import { startCpu } from "../../src/engine/cpu.js";
import type { Ballot } from "../../src/train/link.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink, type SoloOptions } from "../../src/train/solo-link.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "../kit/small-run.js";

beforeAll(() => startCpu());

const NUM_SAMPLES = 64;
const samples = smallSamples(NUM_SAMPLES);
const size = SHAPE.height * SHAPE.width * SHAPE.channels;

function run(config: Config, extra: Partial<SoloOptions> = {}): { ballots: Ballot[]; ids: number[]; outcome: string; reason: string } {
  const ballots: Ballot[] = [];
  const ids: number[] = [];
  const { batchSize, shuffleBlock } = config.data;
  const sizes = { numSamples: NUM_SAMPLES, batchSize };
  const link = createSoloLink({
    plan: createPlan({ ...sizes, shuffleBlock, seed: BigInt(config.seed) }),
    numSteps: numSteps(sizes, config.epochs),
    numChains: config.sampler.chains,
    read: (wanted) => {
      ids.push(...wanted);
      return {
        images: Uint8Array.from(Array.from(wanted).flatMap((id) => Array.from(samples.images.subarray(id * size, (id + 1) * size)))),
        labels: Int32Array.from(wanted, (id) => samples.labels[id] as number),
      };
    },
    onCommit: (_step, ballot) => ballots.push(ballot),
    ...extra,
  });
  const { outcome, reason } = train({
    config,
    data: { shape: SHAPE, numClasses: NUM_CLASSES, numSamples: NUM_SAMPLES },
    gaussians: null,
    link,
  });
  return { ballots, ids, outcome, reason };
}

const copy = (parts: readonly StatePart[]): StatePart[] => parts.map((part) => ({ ...part, data: part.data.slice() }));

describe("the training loop", () => {
  it("learns, on every sample once an epoch, and leaves no tensor behind", () => {
    const before = tf.memory().numTensors;
    const { ballots, ids, outcome } = run(smallConfig({ epochs: 8 }));
    expect(outcome).toBe("finished");
    expect(tf.memory().numTensors).toBe(before);
    for (let epoch = 0; epoch < 8; epoch++) {
      const seen = ids.slice(epoch * NUM_SAMPLES, (epoch + 1) * NUM_SAMPLES);
      expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: NUM_SAMPLES }, (_, i) => i));
    }
    const accuracy = (from: number, to: number): number =>
      ballots.slice(from, to).reduce((sum, ballot) => sum + (ballot.metrics["accuracy/clean"] as number), 0) / (to - from);
    expect(accuracy(ballots.length - 10, ballots.length)).toBeGreaterThan(accuracy(0, 5) + 0.2);
  });

  it("resumed from a checkpoint goes on bit for bit as if never interrupted", () => {
    const config = smallConfig();
    const whole = run(config);
    for (const stopAfter of [2, 6, 7]) {
      let saved: { step: number; parts: StatePart[] } | undefined;
      run(config, {
        numSteps: stopAfter + 1,
        checkpointAfter: (step) => step === stopAfter,
        onSave: (step, parts) => {
          saved = { step, parts: copy(parts) };
        },
      });
      // The schedules follow the configuration, so the run that was cut by its link above is the whole run's beginning.
      const resumed = run(config, { resume: saved as { step: number; parts: StatePart[] } });
      const rest = whole.ballots.slice(stopAfter + 1);
      expect(resumed.ballots.map((b) => b.checksum)).toEqual(rest.map((b) => b.checksum));
      expect(resumed.ballots.map((b) => b.metrics)).toEqual(rest.map((b) => b.metrics));
    }
  });

  it("drives a weight by a measured gap, tells it, and goes on from a checkpoint with the weight that it had", () => {
    const driven = { by: "gap/adversarial-absolute", target: 1e-3, rate: 0.2, max: 6 };
    const config = smallConfig({ objective: { "clean-ce": 1, "align-adversarial": { value: 2, driven } } });
    const whole = run(config).ballots.map((ballot) => ballot.metrics);
    const weights = whole.map((metrics) => metrics["weight/align-adversarial"] as number);
    expect(weights[0]).toBe(2);
    expect(weights[1]).toBeCloseTo(2 * Math.exp(0.2), 5);
    expect(Math.max(...weights)).toBeCloseTo(6, 5);
    let saved: { step: number; parts: StatePart[] } | undefined;
    run(config, {
      numSteps: 4,
      checkpointAfter: (step) => step === 3,
      onSave: (step, parts) => {
        saved = { step, parts: copy(parts) };
      },
    });
    const resumed = run(config, { resume: saved as { step: number; parts: StatePart[] } });
    expect(resumed.ballots.map((b) => b.metrics)).toEqual(whole.slice(4));
  });

  it.each(["standard", "at", "jem"] as const)("is %s training by weights alone", (kind) => {
    const objective = {
      standard: { "clean-ce": 1 },
      at: { "adversarial-ce": 1 },
      jem: { "clean-ce": 1, contrast: 1 },
    }[kind];
    const { ballots, outcome } = run(smallConfig({ objective, epochs: 1 }));
    expect(outcome).toBe("finished");
    const views = Object.keys(ballots[0]?.metrics ?? {}).filter((name) => name.startsWith("energy/"));
    expect(views).toEqual(
      { standard: ["energy/clean"], at: ["energy/clean", "energy/adversarial"], jem: ["energy/clean", "energy/generated"] }[kind],
    );
  });

  it("stops before the optimizer when a figure is not finite, and says which", () => {
    const { outcome, reason, ballots } = run(smallConfig({ optimizer: { kind: "sgd", lr: 1e30 } }));
    expect(outcome).toBe("failed");
    expect(reason).toMatch(/not finite: .*loss = /);
    expect(ballots.length).toBeLessThan(13);
  });
});
