/** Every ready-made system trains: its objective, attack, sampler and optimizer, on small images with a small network. */
import { beforeAll, describe, expect, it } from "vitest";
import { experimentNames, loadConfig } from "../../src/config/load.js";
import { configSchema } from "../../src/config/schema.js";
import { createPlan, numSteps } from "../../src/data/plan.js";
import { startCpu } from "../../src/engine/cpu.js";
import { createObjective } from "../../src/objective/objective.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink } from "../../src/train/solo-link.js";
import { NUM_CLASSES, SHAPE, smallSamples } from "../kit/small-run.js";

beforeAll(() => startCpu());

const NUM_SAMPLES = 24;
const samples = smallSamples(NUM_SAMPLES);
const size = SHAPE.height * SHAPE.width * SHAPE.channels;

describe.each(experimentNames())("%s", (name) => {
  it("takes steps whose figures are those of its objective", () => {
    const { config: whole } = loadConfig({ source: name, env: {} });
    const { activation, input } = whole.model;
    // As it normalises over groups of samples, but of as many as there are chains.
    const ghost = "norm" in whole.model && whole.model.norm.kind === "ghost-batch" ? { ...whole.model.norm, groupSize: 3 } : null;
    const config = configSchema.parse({
      ...whole,
      epochs: 1,
      data: { ...whole.data, batchSize: 6, augment: { ...whole.data.augment, cutout: Math.min(4, whole.data.augment.cutout) } },
      model: { kind: "convnet", stages: [{ channels: 4, stride: 2 }], activation, input, ...(ghost && { norm: ghost }) },
      sampler: { ...whole.sampler, chains: 3, bufferSize: 9, start: "uniform" },
      attack: { ...whole.attack, overfitting: { ...whole.attack.overfitting, samples: 4 } },
      precision: {},
    });
    const sizes = { numSamples: NUM_SAMPLES, batchSize: 6 };
    const metrics: Readonly<Record<string, number>>[] = [];
    const link = createSoloLink({
      plan: createPlan({ ...sizes, shuffleBlock: config.data.shuffleBlock, seed: 1n }),
      numSteps: numSteps(sizes, 1),
      numChains: 3,
      read: (ids) => ({
        images: Uint8Array.from(Array.from(ids).flatMap((id) => Array.from(samples.images.subarray(id * size, (id + 1) * size)))),
        labels: Int32Array.from(ids, (id) => samples.labels[id] as number),
      }),
      onCommit: (_step, ballot) => metrics.push(ballot.metrics),
    });
    const { outcome, reason } = train({
      config,
      data: { shape: SHAPE, numClasses: NUM_CLASSES, numSamples: NUM_SAMPLES },
      gaussians: null,
      link,
    });
    expect(outcome, reason).toBe("finished");
    expect(metrics.length).toBe(4);
    const seen = new Set(metrics.flatMap((step) => Object.keys(step)));
    for (const view of createObjective(config.objective).views) expect(seen).toContain(`energy/${view}`);
    for (const step of metrics) for (const [figure, value] of Object.entries(step)) expect(Number.isFinite(value), figure).toBe(true);
  });
});
