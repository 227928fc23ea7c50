/** Opening a ZeroMQ ring: who is let in, what is said of who isn't there, and that strangers at the port do no harm. */

import { existsSync, readdirSync } from "node:fs";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { Push } from "zeromq";
import { encodeHello, RING_PROTOCOL } from "../../src/collective/hello.js";
import { exchangeHellos, type HelloChannel } from "../../src/collective/hello-exchange.js";
import type { RingTransport } from "../../src/collective/transport.js";
import { type BindRingOptions, type BoundRing, bindRing } from "../../src/collective/zeromq-transport.js";
import { at, GENERATION, RUN } from "./rings.js";

const bind = (rank: number, worldSize: number, options: Partial<BindRingOptions> = {}): Promise<BoundRing> =>
  bindRing({ run: RUN, generation: GENERATION, rank, worldSize, ...options });

async function say(endpoint: string, ...messages: Uint8Array[]): Promise<void> {
  const stranger = new Push({ linger: 1000 });
  stranger.connect(endpoint);
  for (const message of messages) await stranger.send(message);
  stranger.close();
}

describe("opening a ring", () => {
  it("names the ranks that said no hello", async () => {
    await using zero = await bind(0, 3, { connectTimeoutMs: 60 });
    await expect(zero.connect([zero.endpoint, "tcp://127.0.0.1:9", "tcp://127.0.0.1:9"])).rejects.toThrow(
      "rank 0: no hello from rank 1, 2 for 60 ms (generation 7)",
    );
  });

  it("names those ranks only that said none", async () => {
    const place = { run: RUN, generation: GENERATION, worldSize: 3 };
    const came = [encodeHello({ ...place, rank: 0 })];
    const channel: HelloChannel = {
      send: async () => {},
      receive: async () => {
        const hello = came.shift();
        if (hello === undefined) throw Object.assign(new Error("nothing came"), { code: "EAGAIN" });
        return [hello];
      },
      drop: () => {},
    };
    await expect(exchangeHellos({ ...place, rank: 1 }, channel, 60_000)).rejects.toThrow("rank 1: no hello from rank 2 for 60000 ms");
  });

  it("refuses a list of endpoints that isn't of this world", async () => {
    await using zero = await bind(0, 2);
    await expect(zero.connect([zero.endpoint])).rejects.toThrow("rank 0: 1 endpoints for 2 ranks");
  });

  it("refuses a wrong neighbour", async () => {
    await using zero = await bind(0, 3);
    await say(zero.endpoint, encodeHello({ run: RUN, generation: GENERATION, rank: 1, worldSize: 3 }));
    await expect(zero.connect([zero.endpoint, "tcp://127.0.0.1:9", "tcp://127.0.0.1:9"])).rejects.toThrow(
      "rank 0: rank 1 is connected in place of rank 2",
    );
  });

  it("refuses a neighbour that counts another number of ranks", async () => {
    await using zero = await bind(0, 3);
    await say(zero.endpoint, encodeHello({ run: RUN, generation: GENERATION, rank: 2, worldSize: 4 }));
    await expect(zero.connect([zero.endpoint, "tcp://127.0.0.1:9", "tcp://127.0.0.1:9"])).rejects.toThrow(
      "rank 0: rank 2 counts 4 ranks in generation 7, this one 3",
    );
  });

  it("refuses a neighbour of another protocol", async () => {
    await using zero = await bind(0, 2);
    const hello = { protocol: RING_PROTOCOL + 1, run: RUN, generation: GENERATION, rank: 1, worldSize: 2 };
    await say(zero.endpoint, new Packr({ useRecords: false }).pack(hello));
    await expect(zero.connect([zero.endpoint, "tcp://127.0.0.1:9"])).rejects.toThrow("rank 0: rank 1 speaks ring protocol 4, this one 3");
  });

  it("isn't disturbed by other runs, other generations or garbage at its port", async () => {
    await using zero = await bind(0, 2);
    await using one = await bind(1, 2);
    const endpoints = [zero.endpoint, one.endpoint];
    await say(zero.endpoint, encodeHello({ run: RUN, generation: GENERATION - 1, rank: 1, worldSize: 2 }));
    await say(zero.endpoint, encodeHello({ run: RUN + 1, generation: GENERATION, rank: 1, worldSize: 2 }));
    await say(
      zero.endpoint,
      new Uint8Array(0),
      Uint8Array.from({ length: 200 }, (_, i) => i),
      new Uint8Array(100_000),
    );
    const [first, second] = await Promise.all([zero.connect(endpoints), one.connect(endpoints)]);
    await second.send({ step: 1, bucket: 0, round: 0, chunk: 0 }, new Float32Array([4]));
    expect(Array.from((await first.receive()).payload)).toEqual([4]);
  });

  it("cuts off who sends more than a frame can be, and goes on", async () => {
    await using zero = await bind(0, 2, { maxPayloadLength: 100 });
    await using one = await bind(1, 2, { maxPayloadLength: 100 });
    const endpoints = [zero.endpoint, one.endpoint];
    const [first, second] = await Promise.all([zero.connect(endpoints), one.connect(endpoints)]);
    await say(zero.endpoint, new Uint8Array(1_000_000));
    await second.send({ step: 1, bucket: 0, round: 0, chunk: 0 }, new Float32Array([4]));
    expect(Array.from((await first.receive()).payload)).toEqual([4]);
    expect(first.counts().framesDropped).toBe(0);
  });

  it("says which address it can't listen on", async () => {
    await expect(bind(0, 2, { host: "192.0.2.1" })).rejects.toThrow("rank 0: can't listen on 192.0.2.1 for the ring");
  });

  it("listens on loopback unless told otherwise, and tells peers the address it was told to", async () => {
    await using plain = await bind(0, 2);
    expect(plain.endpoint).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+$/);
    await using advertised = await bind(0, 2, { host: "127.0.0.1", advertisedHost: "worker-0.example" });
    expect(advertised.endpoint).toMatch(/^tcp:\/\/worker-0\.example:\d+$/);
  });

  it("ends with the signal's reason while it waits for hellos", async () => {
    const controller = new AbortController();
    await using zero = await bind(0, 2, { signal: controller.signal });
    const connected = zero.connect([zero.endpoint, "tcp://127.0.0.1:9"]);
    controller.abort(new Error("generation 8 has begun"));
    await expect(connected).rejects.toThrow("generation 8 has begun");
  });

  it("ends at once when the signal was aborted before", async () => {
    await expect(bind(0, 2, { signal: AbortSignal.abort(new Error("too late")) })).rejects.toThrow("too late");
  });

  it("frees its port when it is closed before it connects", async () => {
    const zero = await bind(0, 2);
    await zero[Symbol.asyncDispose]();
    await expect(zero.connect([at([zero.endpoint], 0), zero.endpoint])).rejects.toThrow(/is closed/);
  });
});

describe("a rank that comes late to a sum", () => {
  it("isn't taken for dead, whatever waits for it", async () => {
    const heartbeatTimeoutMs = 600;
    await using zero = await bind(0, 2, { heartbeatTimeoutMs });
    await using one = await bind(1, 2, { heartbeatTimeoutMs });
    const endpoints = [zero.endpoint, one.endpoint];
    const [first, second] = await Promise.all([zero.connect(endpoints), one.connect(endpoints)]);
    const numFrames = 60; // of 1 MiB: more than all buffers on the way
    const payload = new Float32Array(1 << 18).fill(7);
    const sent = (async () => {
      for (let chunk = 0; chunk < numFrames; chunk++) await first.send({ step: 1, bucket: 0, round: 0, chunk }, payload);
    })();
    const wakesAt = performance.now() + 2 * heartbeatTimeoutMs;
    while (performance.now() < wakesAt) await new Promise(setImmediate);
    for (let chunk = 0; chunk < numFrames; chunk++) {
      const frame = await second.receive();
      expect(frame.header.chunk).toBe(chunk);
      expect(frame.payload[(1 << 18) - 1]).toBe(7);
    }
    await sent;
  });
});

describe("closing a ring", () => {
  const numOpenFiles = (): number => readdirSync("/proc/self/fd").length;

  it.runIf(existsSync("/proc/self/fd"))("leaves no socket open, however it ended", async () => {
    const openAndEnd = async (end: (transport: RingTransport) => unknown): Promise<void> => {
      const [zero, one] = [await bind(0, 2), await bind(1, 2)];
      const endpoints = [zero.endpoint, one.endpoint];
      const ranks = await Promise.all([zero.connect(endpoints), one.connect(endpoints)]);
      const pending = ranks.map((transport) => transport.receive().catch((error: unknown) => error));
      ranks.map(end);
      expect(await Promise.all(pending)).toEqual([expect.any(Error), expect.any(Error)]);
    };
    const ends: readonly ((transport: RingTransport) => unknown)[] = [
      (transport) => transport.interrupt(new Error("generation 8 has begun")),
      (transport) => transport[Symbol.asyncDispose](),
    ];
    for (const end of ends) await openAndEnd(end); // ZeroMQ's own threads and files start with the first ring
    const before = numOpenFiles();
    for (let i = 0; i < 20; i++) for (const end of ends) await openAndEnd(end);
    while (numOpenFiles() > before + 4) await new Promise(setImmediate); // sockets end on ZeroMQ's thread; a leak would be 80 files and more
  });
});
