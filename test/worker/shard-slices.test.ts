/** Slices that a worker reads for itself: the plan's, position by position, with shards asked for before they are needed. */
import { describe, expect, test } from "vitest";
import { createPlan, numSteps, slice } from "../../src/data/plan.js";
import { createMemorySamples } from "../../src/data/samples.js";
import { ShardSlices, type ShardSlicesOptions } from "../../src/worker/shard-slices.js";

const shape = { height: 1, width: 1, channels: 1 };
const plan = { numSamples: 60, shuffleBlock: 10, batchSize: 8, seed: 3n };
const PER_SHARD = 5;

function slicesOf(over: Partial<ShardSlicesOptions> = {}, gate: (ids: ArrayLike<number>) => Promise<void> = async () => {}) {
  const samples = { images: Uint8Array.from({ length: 60 }, (_, id) => id), labels: Int32Array.from({ length: 60 }, (_, id) => id % 7) };
  const memory = createMemorySamples({ shape, numClasses: 7, samples });
  const warmed: number[] = [];
  const reads: number[][] = [];
  const dataset = {
    shape,
    shardOf: (id: number) => Math.floor(id / PER_SHARD),
    warm: (shard: number) => void warmed.push(shard),
    async read(ids: ArrayLike<number>, into?: Parameters<typeof memory.read>[1]) {
      reads.push(Array.from(ids));
      await gate(ids);
      return memory.read(ids, into);
    },
  };
  const options = { dataset, plan, numSteps: numSteps(plan, 2), fromStep: 0, rank: 0, weights: [1], groupSize: 1, aheadShards: 2, ...over };
  return { slices: new ShardSlices(options), warmed, reads };
}

describe("a worker's own slices", () => {
  test("of all ranks together are the plan's batches, for any world size and weights", async () => {
    const reference = createPlan(plan);
    for (const weights of [[1], [1, 1], [1, 2, 1], [0, 1]]) {
      const ranks = weights.map((_, rank) => slicesOf({ rank, weights }).slices);
      for (let step = 0; step < numSteps(plan, 2); step++) {
        const parts = await Promise.all(ranks.map((rank) => rank.next()));
        const { ids, epoch } = reference.batchOf(step);
        for (const [rank, part] of parts.entries()) {
          expect(part).toMatchObject({ step, epoch, batchSize: ids.length, positions: slice(ids.length, rank, weights) });
          expect([...part.images]).toEqual([...part.ids]);
          expect([...part.labels]).toEqual([...part.ids].map((id) => id % 7));
          expect(part.images.buffer).toBeInstanceOf(SharedArrayBuffer);
        }
        expect(parts.flatMap((part) => [...part.ids])).toEqual([...ids]);
      }
      for (const rank of ranks) {
        await expect(rank.next()).rejects.toThrow("after the last step");
        rank.close();
      }
    }
  });

  test("begin at the generation's step", async () => {
    const { slices } = slicesOf({ fromStep: 5 });
    expect([...(await slices.next()).ids]).toEqual([...createPlan(plan).batchOf(5).ids]);
    slices.close();
  });

  test("are read a few steps ahead, and no further while nobody takes them", async () => {
    const { slices, reads } = slicesOf();
    await slices.next();
    for (let i = 0; i < 50; i++) await Promise.resolve();
    expect(reads.length).toBeGreaterThanOrEqual(4);
    expect(reads.length).toBeLessThanOrEqual(6);
    slices.close();
  });

  test("ask for shards before the step that needs them, each once while it is wanted", async () => {
    const { slices, warmed, reads } = slicesOf({ numSteps: numSteps(plan, 1) });
    const shardsOf = (ids: readonly number[]): Set<number> => new Set(ids.map((id) => Math.floor(id / PER_SHARD)));
    const askedBefore: Set<number>[] = [];
    for (let step = 0; step < numSteps(plan, 1); step++) {
      await slices.next();
      askedBefore.push(new Set(warmed));
    }
    // Every shard of the epoch that the first slice did not need was asked for ahead.
    const first = shardsOf(reads[0] as number[]);
    const rest = new Set(reads.slice(1).flatMap((ids) => [...shardsOf(ids)].filter((shard) => !first.has(shard))));
    for (const shard of rest) expect(warmed).toContain(shard);
    expect(askedBefore[0]?.size).toBeGreaterThanOrEqual(2);
    slices.close();
  });

  test("fail with what the shard failed with, after those that were whole", async () => {
    let numReads = 0;
    const { slices } = slicesOf({}, async () => {
      if (++numReads === 3) throw new Error("shard 7 was altered");
    });
    await slices.next();
    await slices.next();
    await expect(slices.next()).rejects.toThrow("shard 7 was altered");
    await expect(slices.next()).rejects.toThrow("shard 7 was altered");
  });

  test("closing ends a wait", async () => {
    const { slices } = slicesOf({}, () => new Promise(() => {}));
    const waiting = slices.next();
    slices.close();
    await expect(waiting).rejects.toThrow("the generation is over");
  });
});
