/**
 * A thousand training steps of a small network: after the first hundred, resident memory stays where it is and the number of live
 * tensors is the same after every step. Each engine runs in this file's own process, one after the other; figures are printed.
 */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { configSchema } from "../../src/config/schema.js";
import { createPlan } from "../../src/data/plan.js";
import { startEngine } from "../../src/engine/choose.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink } from "../../src/train/solo-link.js";

const NUM_STEPS = 1000;
const WARM = 100;
/** What moves by itself: typed arrays that wait for the collector. A batch of images lost in each step would be 12 MiB. */
const SLACK_BYTES = 8 * 2 ** 20;

const config = configSchema.parse({
  name: "memory",
  seed: 1,
  data: { path: "synthetic", batchSize: 4 },
  model: { kind: "convnet", stages: [{ channels: 16, stride: 2 }, { channels: 16 }] },
  objective: { "clean-ce": 0.5, "adversarial-ce": 1, "align-adversarial": 1, contrast: 0.1, "energy-l2": 0.005 },
  attack: { norm: "linf", eps: "8/255", steps: 2, stepSize: "4/255" },
  sampler: { chains: 4, bufferSize: 16, steps: 2, stepSize: 1, clampGradient: 0.03, noise: 0.005, start: "uniform" },
  optimizer: { kind: "sgd", lr: 0.0001, momentum: 0.9, weightDecay: 5e-4, ema: 0.99 },
});

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] as number;
const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

describe("a thousand training steps", () => {
  it.each(["torch", "wasm"] as const)("hold no more than the first hundred: %s", { timeout: 900_000 }, async (name) => {
    let engine: Awaited<ReturnType<typeof startEngine>>;
    try {
      engine = await startEngine({ engine: name, device: "cpu", threads: 1 });
    } catch (error) {
      console.log(`skipped: ${(error as Error).message}`);
      return;
    }
    const resident: number[] = [];
    const live: number[] = [];
    let heap = 0;
    const numSamples = 64;
    const link = createSoloLink({
      plan: createPlan({ numSamples, batchSize: 4, shuffleBlock: numSamples, seed: 1n }),
      numSteps: NUM_STEPS,
      numChains: 4,
      read: (ids) => ({
        images: Uint8Array.from({ length: ids.length * 768 }, (_, i) => ((ids[Math.floor(i / 768)] as number) * 37 + i * 11) % 256),
        labels: Int32Array.from(ids, (id) => id % 10),
      }),
      onCommit: () => {
        // Without JavaScript's own heap, which grows and shrinks as its collector likes; its size is printed.
        const { rss, heapTotal } = process.memoryUsage();
        resident.push(rss - heapTotal);
        heap = heapTotal;
        live.push(tf.memory().numTensors);
      },
    });
    const shape = { height: 16, width: 16, channels: 3 };
    const stop = train({ config, data: { shape, numClasses: 10, numSamples }, gaussians: null, link });
    expect(stop.outcome).toBe("finished");
    expect(live).toHaveLength(NUM_STEPS);
    const [early, late] = [median(resident.slice(WARM, WARM + 200)), median(resident.slice(-200))];
    console.log(
      `${name} (${engine.version}): resident ${mebibytes(early)} MiB in steps ${WARM} to ${WARM + 200}, ${mebibytes(late)} MiB in the last 200; ` +
        `JavaScript's heap ${mebibytes(heap)} MiB besides; ${live.at(-1)} live tensors after every step`,
    );
    expect(new Set(live.slice(WARM)).size, "different numbers of live tensors").toBe(1);
    expect(late - early).toBeLessThan(SLACK_BYTES);
  });
});
