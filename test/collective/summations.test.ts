/** What every way to sum promises, whatever carries the bytes: right sums, the same bits everywhere, an end in every case. */

import { describe, expect, it } from "vitest";
import * as fc from "../kit/property.js";
import { at } from "./rings.js";
import { type Ranks, type SummationKind, summationKinds } from "./summation-kinds.js";

/** Values whose float32 sums depend on the order of addition. */
function fillWith(values: Float32Array, rank: number, seed: number): Float32Array {
  let state = (seed * 2654435761 + rank * 40503 + 1) >>> 0;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = (state / 2 ** 32 - 0.5) * 10 ** (state % 5);
  }
  return values;
}

const bitsOf = (values: Float32Array): string => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");

async function sumOnAll({ ranks }: Ranks, vectors: readonly Float32Array[], step: number, bucket = 0): Promise<void> {
  await Promise.all(ranks.map(({ summation }, rank) => summation.sum(at(vectors, rank), { step, bucket })));
}

describe.each(summationKinds)("sums over $name", ({ open }: SummationKind) => {
  it("are those of float64 up to rounding, with the same bits on every rank", async () => {
    const world = fc.record({
      worldSize: fc.integer({ min: 1, max: 6 }),
      lengths: fc.array(fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 3000, max: 200_000 })), {
        minLength: 1,
        maxLength: 4,
      }),
      seed: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(world, async ({ worldSize, lengths, seed }) => {
        await using opened = await open({ worldSize });
        for (const [bucket, length] of lengths.entries()) {
          const vectors = opened.ranks.map((rank, index) => fillWith(rank.allocate(length), index, seed + bucket));
          const expected = new Float64Array(length);
          const magnitude = new Float64Array(length);
          for (const vector of vectors) {
            vector.forEach((value, i) => {
              expected[i] = (expected[i] as number) + value;
              magnitude[i] = (magnitude[i] as number) + Math.abs(value);
            });
          }
          await sumOnAll(opened, vectors, 3, bucket);
          const first = at(vectors, 0);
          // Each addition rounds once: at most worldSize half-ulps of the largest partial sum.
          const worst = first.reduce(
            (so, value, i) => Math.max(so, Math.abs(value - (expected[i] as number)) / ((magnitude[i] as number) || 1)),
            0,
          );
          expect(worst).toBeLessThanOrEqual(worldSize * 2 ** -24);
          for (const vector of vectors) expect(bitsOf(vector) === bitsOf(first)).toBe(true);
        }
      }),
      { numRuns: 12 },
    );
  });

  it("can be done again in the same memory, hundreds of times", async () => {
    await using opened = await open({ worldSize: 3 });
    const long = opened.ranks.map((rank) => rank.allocate(10_000));
    const short = opened.ranks.map((rank) => rank.allocate(5));
    for (let step = 0; step < 150; step++) {
      for (const [rank, vector] of long.entries()) vector.fill(step + rank);
      for (const [rank, vector] of short.entries()) vector.fill(step * rank);
      await sumOnAll(opened, short, step, 0);
      await sumOnAll(opened, long, step, 1);
      for (const vector of short) expect([...vector]).toEqual(new Array(5).fill(3 * step));
      for (const vector of long) expect(vector.every((value) => value === 3 * step + 3)).toBe(true);
    }
  });

  it("leave the values around the vector alone", async () => {
    await using opened = await open({ worldSize: 2 });
    const memory = opened.ranks.map((rank) => rank.allocate(50_000).fill(7));
    await sumOnAll(
      opened,
      memory.map((all) => all.subarray(1001, 40_003)),
      1,
    );
    for (const all of memory) {
      expect(all.subarray(0, 1001).every((value) => value === 7)).toBe(true);
      expect(all.subarray(1001, 40_003).every((value) => value === 14)).toBe(true);
      expect(all.subarray(40_003).every((value) => value === 7)).toBe(true);
    }
  });

  it("fail where ranks sum different vectors", async () => {
    await using opened = await open({ worldSize: 2, timeoutMs: 2000 });
    const ends = await Promise.allSettled(
      opened.ranks.map(({ summation, allocate }, rank) => summation.sum(allocate(20_000), { step: 4 + rank, bucket: 0 })),
    );
    for (const end of ends) expect(end).toMatchObject({ status: "rejected" });
    expect(ends.map((end) => String((end as PromiseRejectedResult).reason)).join()).toMatch(/was due|that is due/);
  });

  it("end with the reason of an interruption, and later ones at once; the others learn of it", async () => {
    await using opened = await open({ worldSize: 3 });
    const [zero, one, two] = [at(opened.ranks, 0), at(opened.ranks, 1), at(opened.ranks, 2)];
    const sums = [zero, one].map(({ summation, allocate }) => summation.sum(allocate(50_000), { step: 1, bucket: 0 }));
    const ended = Promise.allSettled(sums);
    zero.summation.interrupt(new Error("generation 8 has begun"));
    two.summation.interrupt(new Error("killed"));
    const [first, second] = await ended;
    expect(String((first as PromiseRejectedResult).reason)).toMatch(/generation 8 has begun/);
    expect(String((second as PromiseRejectedResult).reason)).toMatch(/gone|lost/);
    await expect(zero.summation.sum(zero.allocate(10), { step: 1, bucket: 1 })).rejects.toThrow(/generation 8 has begun/);
  });

  it("end when nothing comes for the time that is allowed", async () => {
    const { opened, timeoutMs } = await openInTime(open);
    await using _ = opened;
    const one = at(opened.ranks, 1);
    const ended = one.summation.sum(one.allocate(20_000), { step: 1, bucket: 0 });
    await expect(ended).rejects.toThrow(new RegExp(`nothing came .*for ${timeoutMs} ms`));
  });
});

/** Two ranks that wait for a frame as short a time as lets them open: what a busy machine needs for that is not known beforehand. */
async function openInTime(open: SummationKind["open"]): Promise<{ opened: Ranks; timeoutMs: number }> {
  for (let timeoutMs = 60; ; timeoutMs *= 3) {
    try {
      return { opened: await open({ worldSize: 2, timeoutMs }), timeoutMs };
    } catch (error) {
      if (!/(nothing came|took nothing)/.test(String(error)) || timeoutMs > 5000) throw error;
    }
  }
}
