/** What every transport promises to the collectives above it: order, bounds, fences, and an end in every case. */
import { describe, expect, it } from "vitest";
import type { FrameTag, RingTransport } from "../../src/collective/transport.js";
import { at, GENERATION, headerBytes, RUN, ringKinds } from "./rings.js";

const tag = (chunk: number): FrameTag => ({ step: 1, bucket: 2, round: 3, chunk });
const ours = { run: RUN, generation: GENERATION, sender: 0, ...tag(99) };

async function untilDropped(transport: RingTransport, numFrames: number): Promise<string> {
  while (transport.counts().framesDropped < numFrames) await new Promise(setImmediate);
  return "dropped";
}

describe.each(ringKinds)("the $name transport", ({ open }) => {
  it("delivers frames to the next rank, in order, with what they carry", async () => {
    await using ring = await open({ worldSize: 3 });
    const [, one, two] = [at(ring.ranks, 0), at(ring.ranks, 1), at(ring.ranks, 2)];
    const sending = (async () => {
      for (let chunk = 0; chunk < 100; chunk++)
        await one.send(
          tag(chunk),
          Float32Array.from({ length: chunk }, (_, i) => i + chunk),
        );
    })();
    for (let chunk = 0; chunk < 100; chunk++) {
      const { header, payload } = await two.receive();
      expect(header).toEqual({ run: RUN, generation: GENERATION, sender: 1, ...tag(chunk) });
      expect(Array.from(payload)).toEqual(Array.from({ length: chunk }, (_, i) => i + chunk));
    }
    await sending;
    expect(one.counts()).toMatchObject({ framesSent: 100, bytesSent: 4 * 4950 });
    expect(two.counts()).toMatchObject({ framesReceived: 100, framesDropped: 0 });
  });

  it("gives the receiver memory of its own", async () => {
    await using ring = await open({ worldSize: 2 });
    const sent = new Float32Array(1000).fill(1);
    await at(ring.ranks, 0).send(tag(0), sent);
    const { payload } = await at(ring.ranks, 1).receive();
    payload.fill(2);
    expect(sent.every((value) => value === 1)).toBe(true);
  });

  it.each([
    ["another run", headerBytes({ ...ours, run: RUN - 1 }, 4000)],
    ["another generation", headerBytes({ ...ours, generation: GENERATION - 1 }, 4000)],
    ["another sender", headerBytes({ ...ours, sender: 1 }, 4000)],
    ["a length that isn't the payload's", headerBytes(ours, 4004)],
    ["another version", headerBytes(ours, 4000).fill(9, 4, 5)],
    ["a header cut short", headerBytes(ours, 4000).subarray(0, 40)],
    ["no header at all", new Uint8Array(0)],
    ["random bytes", Uint8Array.from({ length: 44 }, (_, i) => (i * 73) % 256)],
  ])("drops and counts a frame with %s", async (_, header) => {
    await using ring = await open({ worldSize: 2 });
    const one = at(ring.ranks, 1);
    const received = one.receive();
    await ring.inject(1, header, new Float32Array(1000));
    expect(await Promise.race([received.then(() => "delivered"), untilDropped(one, 1)])).toBe("dropped");
    await at(ring.ranks, 0).send(tag(0), new Float32Array([6]));
    expect(Array.from((await received).payload)).toEqual([6]);
    expect(one.counts()).toMatchObject({ framesDropped: 1, framesReceived: 1 });
  });

  it("ends a receive when nothing comes for its timeout, and is broken from then on", async () => {
    await using ring = await open({ worldSize: 2, timeoutMs: 30 });
    const one = at(ring.ranks, 1);
    await expect(one.receive()).rejects.toThrow(/rank 1: nothing came from rank 0 for 30 ms/);
    await at(ring.ranks, 0)
      .send(tag(0), new Float32Array([6]))
      .catch(() => {});
    await expect(one.receive()).rejects.toThrow(/nothing came/);
  });

  it("ends a pending receive when the previous rank is gone", async () => {
    await using ring = await open({ worldSize: 3, timeoutMs: 20_000 });
    const received = at(ring.ranks, 2).receive();
    ring.kill(1);
    await expect(received).rejects.toThrow(/rank 2: rank 1, the previous in the ring, is gone/);
  });

  it("ends sends when the next rank is gone", async () => {
    await using ring = await open({ worldSize: 3, timeoutMs: 20_000 });
    ring.kill(1);
    const sendForEver = async (): Promise<never> => {
      for (let chunk = 0; ; chunk++) await at(ring.ranks, 0).send(tag(chunk), new Float32Array(1000));
    };
    await expect(sendForEver()).rejects.toThrow(/rank 0: rank 1, the next in the ring, is gone/);
  });

  it("tells that a neighbour is gone to those who wait for nothing", async () => {
    await using ring = await open({ worldSize: 3, timeoutMs: 20_000 });
    ring.kill(1);
    const ends = await Promise.all(ring.ranks.map(({ ended }) => ended));
    expect(ends.map(({ message }) => message)).toEqual([
      "rank 0: rank 1, the next in the ring, is gone",
      "rank 1 was killed",
      "rank 2: rank 1, the previous in the ring, is gone",
    ]);
  });

  it("still delivers what a rank sent before it closed in order", async () => {
    await using ring = await open({ worldSize: 2, timeoutMs: 20_000 });
    const [zero, one] = [at(ring.ranks, 0), at(ring.ranks, 1)];
    for (let chunk = 0; chunk < 5; chunk++) await zero.send(tag(chunk), new Float32Array(10_000).fill(chunk));
    await zero[Symbol.asyncDispose]();
    for (let chunk = 0; chunk < 5; chunk++) expect((await one.receive()).payload[9999]).toBe(chunk);
    await expect(one.receive()).rejects.toThrow(/is gone/);
  });

  it("ends pending calls with the reason of an interruption, and later ones too", async () => {
    await using ring = await open({ worldSize: 2 });
    const one = at(ring.ranks, 1);
    const received = one.receive();
    one.interrupt(new Error("generation 8 has begun"));
    await expect(received).rejects.toThrow("generation 8 has begun");
    await expect(one.receive()).rejects.toThrow("generation 8 has begun");
    await expect(one.send(tag(0), new Float32Array(1))).rejects.toThrow("generation 8 has begun");
    one.interrupt(new Error("twice does no harm"));
    await expect(one.receive()).rejects.toThrow("generation 8 has begun");
  });

  it("is a ring of one, too", async () => {
    await using ring = await open({ worldSize: 1 });
    const zero = at(ring.ranks, 0);
    await zero.send(tag(0), new Float32Array([1, 2]));
    expect(Array.from((await zero.receive()).payload)).toEqual([1, 2]);
  });
});
