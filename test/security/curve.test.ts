/** CURVE on the ring: it sums as before, and a stranger, a rank of an earlier generation and a rank out of place are not let in. */

import { afterEach, describe, expect, it } from "vitest";
import { curveKeyPair, Push } from "zeromq";
import { z85 } from "../../src/collective/curve.js";
import { bindPeers } from "../../src/collective/zeromq-peers.js";
import { type BoundRing, bindRing } from "../../src/collective/zeromq-transport.js";

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one[Symbol.asyncDispose]();
});

const times = { timeoutMs: 1_500, connectTimeoutMs: 1_500 };

async function bound(worldSize: number, generation: number, curve = true): Promise<BoundRing[]> {
  const rings = await Promise.all(
    Array.from({ length: worldSize }, (_, rank) => bindRing({ run: 7, generation, rank, worldSize, curve, ...times })),
  );
  opened.push(...rings);
  return rings;
}

const tag = { step: 1, bucket: 0, round: 0, chunk: 0 };

describe("an encrypted ring", () => {
  it("closes, and carries frames from each rank to the next", async () => {
    const rings = await bound(3, 1);
    const endpoints = rings.map(({ endpoint }) => endpoint);
    expect(endpoints[0]).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+\?key=[0-9a-f]{80}$/);
    const transports = await Promise.all(rings.map((ring) => ring.connect(endpoints)));
    opened.push(...transports);
    await Promise.all(transports.map((transport, rank) => transport.send(tag, Float32Array.of(rank, rank + 0.5))));
    const frames = await Promise.all(transports.map((transport) => transport.receive()));
    expect(frames.map(({ payload }) => [...payload])).toEqual([
      [2, 2.5],
      [0, 0.5],
      [1, 1.5],
    ]);
  });

  it("carries the longest frame that a ring may", async () => {
    const rings = await bound(2, 1);
    const transports = await Promise.all(rings.map((ring) => ring.connect(rings.map(({ endpoint }) => endpoint))));
    opened.push(...transports);
    const [zero, one] = transports as [(typeof transports)[number], (typeof transports)[number]];
    const payload = new Float32Array(zero.maxPayloadLength).fill(3);
    await zero.send(tag, payload);
    expect((await one.receive()).payload.every((value) => value === 3)).toBe(true);
  });

  it("has a key of its own in each generation, and does not let one of an earlier generation in", async () => {
    const before = await bound(2, 1);
    const now = await bound(2, 2);
    const keys = [...before, ...now].map(({ endpoint }) => endpoint.split("?key=")[1]);
    expect(new Set(keys).size).toBe(4);
    // Rank 1 of generation 1 dials rank 0 of generation 2, whose next neighbour has another key by now.
    const [old, current] = [before.map(({ endpoint }) => endpoint), now.map(({ endpoint }) => endpoint)];
    const late = (before[1] as BoundRing).connect([current[0] as string, old[1] as string]);
    const waiting = (now[0] as BoundRing).connect(current);
    const [given, refused] = await Promise.allSettled([waiting, late]);
    expect(given).toMatchObject({ status: "rejected", reason: { message: expect.stringContaining("no hello from rank 1") } });
    expect(refused.status).toBe("rejected");
  });

  it("admits no rank but the previous one", async () => {
    const rings = await bound(3, 1);
    const endpoints = rings.map(({ endpoint }) => endpoint);
    // Rank 1 takes rank 0 for its next: only rank 2 may connect there.
    const wrong = (rings[1] as BoundRing).connect([endpoints[1], endpoints[1], endpoints[0]] as string[]);
    const asked = (rings[0] as BoundRing).connect(endpoints);
    const [given, refused] = await Promise.allSettled([asked, wrong]);
    expect(given).toMatchObject({ status: "rejected", reason: { message: expect.stringContaining("no hello") } });
    expect(refused.status).toBe("rejected");
  });

  it("takes nothing from a stranger, with a key or without", async () => {
    const rings = await bound(2, 1);
    const endpoints = rings.map(({ endpoint }) => endpoint);
    const [address, hex] = (endpoints[0] as string).split("?key=") as [string, string];
    const serverKey = Buffer.from(hex, "hex").toString("latin1");
    const own = curveKeyPair();
    const options = { linger: 0, sendTimeout: 500 };
    const knocking = new Push({ ...options, curveServerKey: serverKey, curvePublicKey: own.publicKey, curveSecretKey: own.secretKey });
    const plain = new Push(options);
    const refused = new Promise<string>((resolve) => {
      knocking.events.on("handshake:error:auth", () => resolve("refused"));
      knocking.events.on("handshake:error:protocol", () => resolve("refused"));
      knocking.events.on("handshake:error:other", () => resolve("refused"));
    });
    for (const socket of [knocking, plain]) {
      socket.connect(address);
      void socket.send("hello").catch(() => {});
    }
    const transports = await Promise.all(rings.map((ring) => ring.connect(endpoints)));
    opened.push(...transports);
    expect(await refused).toBe("refused");
    const [zero, one] = transports as [(typeof transports)[number], (typeof transports)[number]];
    await one.send(tag, Float32Array.of(4));
    expect([...(await zero.receive()).payload]).toEqual([4]);
    expect(zero.counts().framesDropped).toBe(0);
    knocking.close();
    plain.close();
  });

  it("says so where one end is encrypted and the other not", async () => {
    const [encrypted] = await bound(2, 1);
    const [, plain] = await bound(2, 1, false);
    const endpoints = [encrypted, plain].map((ring) => (ring as BoundRing).endpoint);
    await expect((encrypted as BoundRing).connect(endpoints)).rejects.toThrow(/offers no key, and this ring is encrypted/);
    await expect((plain as BoundRing).connect(endpoints)).rejects.toThrow(/is encrypted, and this ring is not/);
  });
});

describe("encrypted partners", () => {
  it("exchange frames with those they are partners of", async () => {
    const bounds = await Promise.all([0, 1].map((rank) => bindPeers({ run: 7, generation: 3, rank, worldSize: 2, curve: true, ...times })));
    const endpoints = bounds.map(({ endpoint }) => endpoint);
    const peers = bounds.map((one) => one.connect(endpoints));
    await Promise.all(peers.map((transport, rank) => transport.send(1 - rank, tag, Float32Array.of(rank))));
    const frames = await Promise.all(peers.map((transport, rank) => transport.receive(1 - rank)));
    expect(frames.map(({ payload }) => [...payload])).toEqual([[1], [0]]);
    for (const one of bounds) one.interrupt(new Error("the test is over"));
  });
});

describe("z85", () => {
  it("encodes the specification's example", () => {
    expect(z85(Uint8Array.of(0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b))).toBe("HelloWorld");
  });
});
