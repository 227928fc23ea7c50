/** The sum over all ranks: one suite, every transport. The oracle is a float64 sum that knows nothing of rings. */
import { describe, expect, it } from "vitest";
import { allReduce } from "../../src/collective/all-reduce.js";
import { memoryRing } from "../../src/collective/memory-transport.js";
import { adoptSummable, allocateSummable, summableView } from "../../src/collective/reduce.js";
import type { RingTransport } from "../../src/collective/transport.js";
import { at, GENERATION, RUN, ringKinds } from "./rings.js";

/** Deterministic, in [-1, 1), different on every rank. */
function someValues(length: number, rank: number): Float32Array {
  let state = (rank + 1) * 0x9e3779b9;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function sumInFloat64(vectors: readonly Float32Array[]): Float64Array {
  return Float64Array.from(at(vectors, 0), (_, i) => vectors.reduce((sum, vector) => sum + (vector[i] as number), 0));
}

function expectSum(results: readonly Float32Array[], inputs: readonly Float32Array[]): void {
  const expected = sumInFloat64(inputs);
  const first = at(results, 0);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) worst = Math.max(worst, Math.abs((first[i] as number) - (expected[i] as number)));
  // Each of the world size - 1 additions rounds a value below the world size once.
  expect(worst).toBeLessThanOrEqual(inputs.length * inputs.length * 2 ** -24);
  for (const result of results) expect(sameBits(result, first)).toBe(true);
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
}

const chunkLength = 1024;

describe.each(ringKinds)("all-reduce over $name", ({ open }) => {
  describe.each([
    { worldSize: 1, algorithm: "ring" },
    { worldSize: 2, algorithm: "ring" },
    { worldSize: 3, algorithm: "ring" },
    { worldSize: 4, algorithm: "ring" },
    { worldSize: 2, algorithm: "whole" },
    { worldSize: 3, algorithm: "whole" },
    { worldSize: 4, algorithm: "whole" },
  ] as const)("among $worldSize, $algorithm", ({ worldSize, algorithm }) => {
    // Nothing, fewer values than ranks, odd, a chunk, segments of unequal length, several chunks a segment.
    it.each([0, 1, 3, 64, 1023, 1024, 4097, 5 * chunkLength * worldSize + 13])(
      "sums %i values, the same bits everywhere",
      async (length) => {
        await using ring = await open({ worldSize });
        const inputs = ring.ranks.map(({ place }) => someValues(length, place.rank));
        const results = inputs.map((values) => values.slice());
        await Promise.all(
          ring.ranks.map((transport, rank) => allReduce(transport, at(results, rank), { step: 1, bucket: 0, chunkLength, algorithm })),
        );
        if (length === 0) expect(results.every((values) => values.length === 0)).toBe(true);
        else expectSum(results, inputs);
      },
    );
  });

  it.each([100, 55_384, 55_385, 400_000])("chooses a way by itself for %i values", async (length) => {
    await using ring = await open({ worldSize: 3 });
    const inputs = ring.ranks.map(({ place }) => someValues(length, place.rank));
    const results = inputs.map((values) => values.slice());
    await Promise.all(ring.ranks.map((transport, rank) => allReduce(transport, at(results, rank), { step: 1, bucket: 0 })));
    expectSum(results, inputs);
    // Two hops of the whole vector, or four of a third of it.
    const whole = length <= 55_384; // 2 a = n (2 (b + g) - 4 b / 3): cost-model.ts with its own constants
    const { framesSent, bytesSent } = at(ring.ranks, 0).counts();
    expect(bytesSent / 4 / length).toBeCloseTo(whole ? 2 : 4 / 3, 3);
    if (whole) expect(framesSent).toBe(2);
  });

  it("sums a long vector by the ring also when it is cut into chunks of one value", async () => {
    await using ring = await open({ worldSize: 3 });
    const inputs = ring.ranks.map(({ place }) => someValues(9001, place.rank));
    const results = inputs.map((values) => values.slice());
    await Promise.all(
      ring.ranks.map((transport, rank) =>
        allReduce(transport, at(results, rank), { step: 1, bucket: 0, chunkLength: 7, algorithm: "ring" }),
      ),
    );
    expectSum(results, inputs);
  });

  it("works in shared memory, with and without the kernel", async () => {
    await using ring = await open({ worldSize: 2 });
    const inputs = ring.ranks.map(({ place }) => someValues(20_001, place.rank));
    const memory = allocateSummable(20_010);
    adoptSummable(memory);
    const results = [summableView(memory, 20_001, 5), new Float32Array(new SharedArrayBuffer(20_001 * 4))];
    results.forEach((values, rank) => {
      values.set(at(inputs, rank));
    });
    await Promise.all(
      ring.ranks.map((transport, rank) => allReduce(transport, at(results, rank), { step: 1, bucket: 0, chunkLength, algorithm: "ring" })),
    );
    expectSum(results, inputs);
  });

  it("gives the values back for good: they may be overwritten as soon as it has resolved", async () => {
    await using ring = await open({ worldSize: 3 });
    for (const length of [100, 30_000]) {
      const inputs = ring.ranks.map(({ place }) => someValues(length, place.rank));
      const results = await Promise.all(
        ring.ranks.map(async (transport, rank) => {
          const values = at(inputs, rank).slice();
          await allReduce(transport, values, { step: length, bucket: 0, chunkLength });
          const result = values.slice();
          values.fill(Number.NaN);
          return result;
        }),
      );
      expectSum(results, inputs);
    }
  });

  it("sums bucket after bucket without a barrier between", async () => {
    await using ring = await open({ worldSize: 3 });
    const lengths = [50, 60_000, 1, 0, 90_000, 7];
    const inputs = ring.ranks.map(({ place }) => lengths.map((length, bucket) => someValues(length, place.rank + 10 * bucket)));
    const results = inputs.map((buckets) => buckets.map((values) => values.slice()));
    await Promise.all(
      ring.ranks.map(async (transport, rank) => {
        for (const [bucket, values] of at(results, rank).entries()) await allReduce(transport, values, { step: 3, bucket });
      }),
    );
    lengths.forEach((length, bucket) => {
      if (length === 0) return;
      expectSum(
        results.map((buckets) => at(buckets, bucket)),
        inputs.map((buckets) => at(buckets, bucket)),
      );
    });
  });

  it("sums a part of a vector while the rest is being written", async () => {
    await using ring = await open({ worldSize: 2 });
    const half = 50_000;
    const inputs = ring.ranks.map(({ place }) => someValues(2 * half, place.rank));
    const results = await Promise.all(
      ring.ranks.map(async (transport, rank) => {
        const values = new Float32Array(new SharedArrayBuffer(2 * half * 4));
        values.set(at(inputs, rank).subarray(0, half));
        const first = allReduce(transport, values.subarray(0, half), { step: 3, bucket: 0, chunkLength, algorithm: "ring" });
        for (let i = half; i < 2 * half; i++) {
          values[i] = at(inputs, rank)[i] as number;
          if (i % 1000 === 0) await new Promise(setImmediate); // as much of the sum goes on meanwhile as can
        }
        await first;
        await allReduce(transport, values.subarray(half), { step: 3, bucket: 1, chunkLength, algorithm: "ring" });
        return values;
      }),
    );
    expectSum(results, inputs);
  });

  it("names both sides when ranks sum different vectors", async () => {
    await using ring = await open({ worldSize: 2 });
    const outcomes = await Promise.allSettled(
      ring.ranks.map((transport, rank) => allReduce(transport, new Float32Array(10 + rank), { step: 4, bucket: 2 })),
    );
    const reasons = outcomes.map((outcome) => (outcome.status === "rejected" ? String(outcome.reason) : "resolved"));
    expect(reasons.join("\n")).toMatch(/rank [01] sent step 4 bucket 2 .* was due/);
  });

  it("ends on every rank when one of them is gone in the middle", async () => {
    await using ring = await open({ worldSize: 4, timeoutMs: 20_000 });
    const sums = ring.ranks
      .filter(({ place }) => place.rank !== 2)
      .map((transport) => allReduce(transport, new Float32Array(100_000), { step: 1, bucket: 0, chunkLength, algorithm: "ring" }));
    ring.kill(2);
    for (const outcome of await Promise.allSettled(sums)) {
      expect(outcome.status).toBe("rejected");
      expect(String(outcome.status === "rejected" && outcome.reason)).toMatch(/is gone/);
    }
  });

  it("ends with the signal's reason", async () => {
    await using ring = await open({ worldSize: 2 });
    const controller = new AbortController();
    const sum = allReduce(at(ring.ranks, 0), new Float32Array(100_000), { step: 1, bucket: 0, signal: controller.signal });
    controller.abort(new Error("generation 8 has begun"));
    await expect(sum).rejects.toThrow("generation 8 has begun");
    await expect(at(ring.ranks, 0).receive()).rejects.toThrow("generation 8 has begun");
  });
});

describe("the memory of a sum", () => {
  it("sends nothing from the values that could still be read after it has resolved", async () => {
    // In memory, as there the moment at which a payload is read can be chosen: rank 1 takes its last frames when rank 0 is long done.
    const ranks = memoryRing({ run: RUN, generation: GENERATION, worldSize: 2 });
    const [zero, one] = [at(ranks, 0), at(ranks, 1)];
    let finish = (): void => {};
    const zeroIsDone = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const late: RingTransport = {
      place: one.place,
      maxPayloadLength: one.maxPayloadLength,
      ended: one.ended,
      send: (tag, payload) => one.send(tag, payload),
      receive: async () => {
        if (one.counts().framesReceived === 2) await zeroIsDone; // its two chunks to add; what is left are sums
        return one.receive();
      },
      interrupt: (reason) => one.interrupt(reason),
      counts: () => one.counts(),
      [Symbol.asyncDispose]: () => one[Symbol.asyncDispose](),
    };
    const [first, second] = [new Float32Array(4000).fill(1), new Float32Array(4000).fill(2)];
    const options = { step: 1, bucket: 0, chunkLength: 1000, algorithm: "ring" } as const;
    const later = allReduce(late, second, options);
    await allReduce(zero, first, options);
    first.fill(Number.NaN);
    finish();
    await later;
    expect(second.every((value) => value === 3)).toBe(true);
  });
});
