import { describe, expect, it } from "vitest";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import { configSchema } from "../../src/config/schema.js";
import { draws } from "../../src/engine/random/philox.js";
import { ReplayBuffer } from "../../src/sampler/replay-buffer.js";

const SHAPE = [1, 2, 1] as const;
const config = configSchema.shape.sampler.parse({ chains: 6, bufferSize: 18, reinit: 0.2 });

function createBuffer(): ReplayBuffer {
  return new ReplayBuffer({
    seed: 5n,
    config,
    shape: SHAPE,
    start: (out, key) => {
      const draw = draws(key);
      for (let i = 0; i < out.length; i++) out[i] = draw.uniform();
      return { classIndex: 0 };
    },
  });
}

/** What training does to chains, in small: every value moves by a known amount. */
function trainSteps(buffers: readonly ReplayBuffer[], from: number, to: number): number[] {
  const seen: number[] = [];
  for (let step = from; step < to; step++) {
    for (const buffer of buffers) {
      const taken = buffer.take(step);
      seen.push(...taken.images);
      buffer.store(
        taken,
        taken.images.map((v) => v + 1),
      );
    }
  }
  return seen;
}

describe("replay buffer", () => {
  it("gives each chain the same history with one holder or several", () => {
    const whole = createBuffer();
    whole.assign({ from: 0, to: 6 });
    const parts = [
      { from: 0, to: 1 },
      { from: 1, to: 1 }, // a worker without chains
      { from: 1, to: 6 },
    ].map((range) => {
      const buffer = createBuffer();
      buffer.assign(range);
      return buffer;
    });
    expect(trainSteps(parts, 0, 25)).toEqual(trainSteps([whole], 0, 25));
  });

  it("goes on from its saved rows exactly as if never interrupted, with another cut", () => {
    const whole = createBuffer();
    whole.assign({ from: 0, to: 6 });
    trainSteps([whole], 0, 10);
    const saved: StatePart[] = whole.save().map((part) => ({ ...part, data: part.data.slice() }));
    const resumed = [
      { from: 0, to: 4 },
      { from: 4, to: 6 },
    ].map((range) => {
      const buffer = createBuffer();
      buffer.assign(range);
      buffer.restore(saved);
      return buffer;
    });
    expect(trainSteps(resumed, 10, 20)).toEqual(trainSteps([whole], 10, 20));
  });

  it("changes nothing when a step is taken but not committed", () => {
    const [a, b] = [createBuffer(), createBuffer()];
    for (const buffer of [a, b]) buffer.assign({ from: 0, to: 6 });
    trainSteps([a, b], 0, 5);
    a.take(5);
    expect(trainSteps([a], 5, 8)).toEqual(trainSteps([b], 5, 8));
  });

  it("keeps the rows of positions that stay and says how many are new", () => {
    const buffer = createBuffer();
    expect(buffer.assign({ from: 0, to: 4 })).toBe(4);
    trainSteps([buffer], 0, 12);
    const rowSize = buffer.slotsPerPosition * 2;
    const before = Float32Array.from((buffer.save()[0] as StatePart).data);
    expect(buffer.assign({ from: 2, to: 6 })).toBe(2);
    const after = (buffer.save()[0] as StatePart).data;
    expect(Array.from(after.subarray(0, 2 * rowSize))).toEqual(Array.from(before.subarray(2 * rowSize)));
    expect(after.subarray(2 * rowSize).every((v) => v === 0)).toBe(true);
  });

  it("restarts the stated share of chains", () => {
    const buffer = createBuffer();
    buffer.assign({ from: 0, to: 6 });
    trainSteps([buffer], 0, 60); // by now every slot has been used
    let restarted = 0;
    for (let step = 60; step < 460; step++) {
      const taken = buffer.take(step);
      restarted += taken.numRestarted;
      buffer.store(taken, taken.images);
    }
    expect(restarted / (6 * 400)).toBeCloseTo(config.reinit, 1); // standard error 0.008
  });

  it("gives each slot one class for good where chains are class-conditional, all classes alike", () => {
    const conditional = { ...config, conditional: true };
    const started: [number, number | undefined][] = [];
    const create = () =>
      new ReplayBuffer({
        seed: 5n,
        config: conditional,
        shape: SHAPE,
        numClasses: 3,
        start: (out, key, classIndex) => {
          started.push([key.position, classIndex]);
          out.fill(classIndex ?? -1);
          return { classIndex: classIndex ?? 0 };
        },
      });
    const buffer = create();
    buffer.assign({ from: 0, to: 6 });
    const counts = [0, 0, 0];
    for (let step = 0; step < 60; step++) {
      const taken = buffer.take(step);
      taken.positions.forEach((_, i) => {
        const label = taken.labels?.[i] as number;
        counts[label] = (counts[label] as number) + 1;
        // The chain was filled with the class it began with.
        expect(taken.images[i * 2]).toBe(label);
      });
      buffer.store(taken, taken.images);
    }
    for (const count of counts) expect(Math.abs(count - 120)).toBeLessThan(45); // standard deviation 9
    expect(started.every(([, label]) => label !== undefined)).toBe(true);
    const cut = [create(), create()];
    cut[0]?.assign({ from: 0, to: 2 });
    cut[1]?.assign({ from: 2, to: 6 });
    expect(cut.flatMap((part) => Array.from(part.take(9).labels ?? []))).toEqual(Array.from(buffer.take(9).labels ?? []));
    expect(createBuffer().take(0).labels).toBeNull();
  });
});
