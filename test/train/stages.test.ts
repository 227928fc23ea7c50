/** A training in stages: what a later one needs is not made before. */
import { beforeAll, expect, it } from "vitest";
import { createPlan } from "../../src/data/plan.js";
import { startCpu } from "../../src/engine/cpu.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink } from "../../src/train/solo-link.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "../kit/small-run.js";

beforeAll(() => startCpu());

it("chains are advanced, and a curriculum learns, from the step on in which a term reads them", () => {
  const samples = smallSamples(12);
  const config = smallConfig({
    objective: { "clean-ce": 1, "binary-contrast": { value: 1, after: 0.5 } },
    sampler: {
      kind: "dat",
      chains: 4,
      bufferSize: 4,
      steps: 9,
      stepSize: 0.3,
      noise: 0,
      reinit: 1,
      start: "uniform",
      curriculum: { auc: 0.5, window: 4 },
    },
    data: { path: "unused", batchSize: 4, shuffleBlock: 16 },
    epochs: 2,
  });
  const metrics: Readonly<Record<string, number>>[] = [];
  const link = createSoloLink({
    plan: createPlan({ numSamples: 12, batchSize: 4, shuffleBlock: 16, seed: 1n }),
    numSteps: 6,
    numChains: 4,
    read: (ids) => ({
      images: Uint8Array.from([...ids].flatMap((id) => [...samples.images.subarray(id * 192, (id + 1) * 192)])),
      labels: Int32Array.from(ids, (id) => samples.labels[id] as number),
    }),
    onCommit: (_step, ballot) => metrics.push(ballot.metrics),
  });
  train({ config, data: { shape: SHAPE, numClasses: NUM_CLASSES, numSamples: 12 }, gaussians: null, link });
  expect(metrics.map((figures) => "energy/generated" in figures)).toEqual([false, false, false, true, true, true]);
  expect(metrics.slice(0, 4).map((figures) => figures["chain-steps"])).toEqual([0, 0, 0, 0]);
});
