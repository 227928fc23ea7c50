/** A rank that is lost at any moment: every other one ends, with the right sum or an error, never with a wrong one. */

import { describe, expect, it } from "vitest";
import { allReduce } from "../../src/collective/all-reduce.js";
import type { RingTransport } from "../../src/collective/transport.js";
import * as fc from "../kit/property.js";
import { at, memoryKind, zeromqKind } from "./rings.js";

/** The rank that breaks when it has sent so many frames. */
function failAfter(transport: RingTransport, numFrames: number): RingTransport {
  return {
    place: transport.place,
    maxPayloadLength: transport.maxPayloadLength,
    ended: transport.ended,
    async send(tag, payload) {
      if (transport.counts().framesSent >= numFrames) transport.interrupt(new Error("lost"));
      await transport.send(tag, payload);
    },
    receive: () => transport.receive(),
    interrupt: (reason) => transport.interrupt(reason),
    counts: () => transport.counts(),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}

const loss = fc
  .record({
    worldSize: fc.integer({ min: 2, max: 5 }),
    numValues: fc.integer({ min: 1, max: 3000 }),
    algorithm: fc.constantFrom("ring", "whole"),
  })
  .chain(({ worldSize, numValues, algorithm }) =>
    fc.record({
      worldSize: fc.constant(worldSize),
      numValues: fc.constant(numValues),
      algorithm: fc.constant(algorithm as "ring" | "whole"),
      victim: fc.nat(worldSize - 1),
      numFrames: fc.nat(30),
      chunkLength: fc.integer({ min: 50, max: 1000 }),
    }),
  );

describe.each([
  { ...memoryKind, numRuns: 200 },
  { ...zeromqKind, numRuns: 30 },
])("a rank lost in the middle of a sum over $name", ({ open, numRuns }) => {
  it("leaves no rank waiting and no sum wrong", async () => {
    await fc.assert(
      fc.asyncProperty(loss, async ({ worldSize, numValues, algorithm, victim, numFrames, chunkLength }) => {
        await using ring = await open({ worldSize, timeoutMs: 20_000 });
        const sums = await Promise.all(
          ring.ranks.map(async (transport, rank) => {
            const values = new Float32Array(numValues).fill(rank + 1);
            const mine = rank === victim ? failAfter(transport, numFrames) : transport;
            try {
              for (let step = 0; step < 3; step++)
                await allReduce(mine, values.fill(rank + 1), { step, bucket: 0, algorithm, chunkLength });
              return { rank, values };
            } catch (error) {
              return { rank, error };
            }
          }),
        );
        for (const sum of sums) {
          if (sum.values !== undefined) expect(sum.values.every((value) => value === (worldSize * (worldSize + 1)) / 2)).toBe(true);
          else expect(String(sum.error)).toMatch(/lost|is gone/);
        }
        const wasLost = at(ring.ranks, victim).counts().framesSent === numFrames && "error" in at(sums, victim);
        // Nobody can have finished three sums that the victim has not taken part in.
        if (wasLost && numFrames === 0) expect(sums.every((sum) => "error" in sum)).toBe(true);
      }),
      { numRuns },
    );
  });
});
