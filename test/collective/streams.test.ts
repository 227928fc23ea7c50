/** Streams: who is let in, what a lost, late or silent neighbour means for a sum, and what is left open. */

import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { DataPorts } from "../../src/collective/data-ports.js";
import { memoryRing } from "../../src/collective/memory-transport.js";
import { loadNativeStreams } from "../../src/collective/native-streams.js";
import { allocateSummable, summableView } from "../../src/collective/reduce.js";
import { encodeGreeting, newNonce, proofOf, splitTokens, withToken } from "../../src/collective/stream-handshake.js";
import { bindStreams } from "../../src/collective/stream-links.js";
import type { StreamAlgorithm } from "../../src/collective/stream-plan.js";
import type { StreamSums } from "../../src/collective/stream-sums.js";
import * as fc from "../kit/property.js";
import { at, GENERATION, RUN } from "./rings.js";
import { bindStreamsOf, memoryRingKind, SECRET, streamsLoad } from "./summation-kinds.js";

type Options = NonNullable<Parameters<typeof bindStreamsOf>[1]>;

const placeOf = (rank: number, worldSize: number) => ({ run: RUN, generation: GENERATION, rank, worldSize });

async function open(worldSize: number, options: Options = {}): Promise<StreamSums[]> {
  const bound = await Promise.all(Array.from({ length: worldSize }, (_, rank) => bindStreamsOf(placeOf(rank, worldSize), options)));
  const endpoints = bound.map(({ endpoint }) => endpoint);
  return Promise.all(bound.map((one) => one.connect(endpoints)));
}

function close(ranks: readonly StreamSums[]): void {
  for (const streams of ranks) streams.interrupt(new Error("the test is over"));
}

async function sumOnAll(
  ranks: readonly StreamSums[],
  vectors: readonly Float32Array[],
  algorithm: StreamAlgorithm,
  step = 1,
): Promise<void> {
  await Promise.all(ranks.map((streams, rank) => streams.sum(at(vectors, rank), { step, bucket: 0, algorithm })));
}

/** Sends bytes to an endpoint, and resolves with what comes back until the other end closes. */
async function knock(endpoint: string, bytes: Uint8Array): Promise<Buffer> {
  const socket: Socket = connect(Number(endpoint.slice(endpoint.lastIndexOf(":") + 1)), "127.0.0.1");
  const came: Buffer[] = [];
  socket.on("data", (data) => came.push(data));
  socket.on("error", () => {});
  socket.end(bytes);
  await once(socket, "close");
  return Buffer.concat(came);
}

describe.runIf(streamsLoad.ok)("streams", () => {
  it.each(["ring", "doubling", "halving"] as const)("sum long vectors, at any place in shared memory, by %s", async (algorithm) => {
    for (const worldSize of [2, 3, 4, 5]) {
      const ranks = await open(worldSize);
      const numValues = 700_001;
      const vectors = ranks.map((_, rank) => {
        const whole = summableView(allocateSummable(numValues + 8), numValues + 8).fill(-1);
        const values = whole.subarray(3, 3 + numValues);
        for (let i = 0; i < numValues; i++) values[i] = (i % 1000) * (rank + 1);
        return { whole, values };
      });
      await sumOnAll(
        ranks,
        vectors.map(({ values }) => values),
        algorithm,
      );
      const times = (worldSize * (worldSize + 1)) / 2;
      for (const { whole, values } of vectors) {
        expect(values.every((value, i) => value === (i % 1000) * times)).toBe(true);
        expect([...whole.subarray(0, 3), ...whole.subarray(3 + numValues)]).toEqual(new Array(8).fill(-1));
      }
      close(ranks);
    }
  });

  it("let nobody in who does not know the secret, and nobody take a rank's place", async () => {
    const bound = await Promise.all([0, 1].map((rank) => bindStreamsOf(placeOf(rank, 2))));
    const endpoints = bound.map(({ endpoint }) => endpoint);
    const door = at(endpoints, 0);
    const greeting = { run: RUN, generation: GENERATION, sender: 1, receiver: 0, nonce: newNonce() };
    expect(await knock(door, new Uint8Array(1000))).toHaveLength(0);
    expect(await knock(door, encodeGreeting({ ...greeting, generation: GENERATION - 1 }))).toHaveLength(0);
    expect(await knock(door, encodeGreeting({ ...greeting, sender: 7 }))).toHaveLength(0);
    // A true greeting is answered, and a wrong proof ends it.
    expect(await knock(door, Buffer.concat([encodeGreeting(greeting), new Uint8Array(32)]))).toHaveLength(48);
    const ranks = await Promise.all(bound.map((one) => one.connect(endpoints)));
    const vectors = [new Float32Array(10).fill(1), new Float32Array(10).fill(2)];
    await sumOnAll(ranks, vectors, "ring");
    expect([...at(vectors, 0)]).toEqual(new Array(10).fill(3));
    close(ranks);
  });

  it("take a greeting that comes byte by byte", async () => {
    const bound = await Promise.all([0, 1].map((rank) => bindStreamsOf(placeOf(rank, 2))));
    const door = at(bound, 0).endpoint;
    const socket = connect(Number(door.slice(door.lastIndexOf(":") + 1)), "127.0.0.1").setNoDelay();
    await once(socket, "connect");
    const greeting = encodeGreeting({ run: RUN, generation: GENERATION, sender: 1, receiver: 0, nonce: newNonce() });
    for (const byte of greeting) await new Promise((resolve) => socket.write(Uint8Array.of(byte), resolve));
    const [answer] = (await once(socket, "data")) as [Buffer];
    const nonce = answer.subarray(0, 16);
    expect(answer.subarray(16).equals(proofOf(SECRET, "listens", greeting, nonce))).toBe(true);
    socket.destroy();
    for (const one of bound) one.close();
  });

  it.each([0, 1])("are not opened by rank %d to one that has another secret", async (rank) => {
    // The other one only listens: where both connect, the first to see through it closes its door before the second.
    const other = 1 - rank;
    const own = await bindStreamsOf(placeOf(rank, 2));
    const stranger = await bindStreamsOf(placeOf(other, 2), { secret: new Uint8Array(32) });
    const endpoints = rank === 0 ? [own.endpoint, stranger.endpoint] : [stranger.endpoint, own.endpoint];
    await expect(own.connect(endpoints)).rejects.toThrow(`is not rank ${other} of this generation`);
    stranger.close();
  });

  it("end a sum when a neighbour closes, after all that it had sent", async () => {
    const ranks = await open(2);
    const [zero, one] = [at(ranks, 0), at(ranks, 1)];
    const vectors = [new Float32Array(300_000).fill(1), new Float32Array(300_000).fill(2)];
    const first = zero.sum(at(vectors, 0), { step: 1, bucket: 0, algorithm: "ring" });
    await one.sum(at(vectors, 1), { step: 1, bucket: 0, algorithm: "ring" });
    one.interrupt(new Error("leaves"));
    await first;
    expect(at(vectors, 0).every((value) => value === 3)).toBe(true);
    await expect(zero.sum(new Float32Array(100_000), { step: 2, bucket: 0, algorithm: "ring" })).rejects.toThrow(
      /rank 0: rank 1, the .* in the ring, is gone/,
    );
    await expect(zero.sum(new Float32Array(1), { step: 3, bucket: 0, algorithm: "ring" })).rejects.toThrow(/is gone/);
  });

  it("wait for a late rank, whatever fills the connection", async () => {
    const ranks = await open(2);
    const vectors = ranks.map((_, rank) => new Float32Array(8_000_000).fill(rank + 1)); // more than all buffers on the way
    const early = at(ranks, 0).sum(at(vectors, 0), { step: 1, bucket: 0, algorithm: "ring" });
    const until = performance.now() + 300;
    while (performance.now() < until) await new Promise(setImmediate);
    await Promise.all([early, at(ranks, 1).sum(at(vectors, 1), { step: 1, bucket: 0, algorithm: "ring" })]);
    expect(at(vectors, 0).every((value) => value === 3)).toBe(true);
    close(ranks);
  });

  it("end with the reason that a neighbour is thought to be gone for, once nothing comes", async () => {
    const ranks = await open(2);
    const sum = at(ranks, 0).sum(new Float32Array(1000), { step: 1, bucket: 0, algorithm: "ring" });
    at(ranks, 0).lose(new Error("rank 1 is silent"));
    await expect(sum).rejects.toThrow("rank 1 is silent");
    close(ranks);
  });

  it("leave no rank waiting and no sum wrong when one is lost at any moment", async () => {
    const loss = fc.record({
      worldSize: fc.integer({ min: 2, max: 5 }),
      numValues: fc.integer({ min: 1, max: 400_000 }),
      algorithm: fc.constantFrom<StreamAlgorithm>("ring", "doubling", "halving"),
      victim: fc.nat(4),
      /** Turns of the event loop before the victim is lost. */
      numTurns: fc.nat(12),
    });
    await fc.assert(
      fc.asyncProperty(loss, async ({ worldSize, numValues, algorithm, victim, numTurns }) => {
        const ranks = await open(worldSize, { timeoutMs: 20_000 });
        const lost = (async () => {
          for (let turn = 0; turn < numTurns; turn++) await new Promise(setImmediate);
          at(ranks, victim % worldSize).interrupt(new Error("lost"));
        })();
        const sums = await Promise.all(
          ranks.map(async (streams, rank) => {
            const values = new Float32Array(numValues);
            try {
              for (let step = 0; step < 3; step++) await streams.sum(values.fill(rank + 1), { step, bucket: 0, algorithm });
              return values.every((value) => value === (worldSize * (worldSize + 1)) / 2) ? "right" : "wrong";
            } catch (error) {
              return String(error);
            }
          }),
        );
        await lost;
        for (const sum of sums) expect(sum).toMatch(/^right$|lost|is gone/);
        close(ranks);
      }),
      { numRuns: 25 },
    );
  });

  it("say what came where another sum was due", async () => {
    const ranks = await open(2);
    const ends = await Promise.allSettled(
      ranks.map((streams, rank) => streams.sum(new Float32Array(100 + rank), { step: 4 + rank, bucket: 2, algorithm: "ring" })),
    );
    expect(ends.map((end) => String((end as PromiseRejectedResult).reason.message)).join()).toMatch(
      /rank 0: rank 1 sent step 5 bucket 2 round 0 \(101 values\) where step 4 bucket 2 \(100 values\) was due/,
    );
  });

  it("refuse a program that leaves its vector, or goes where no connection goes", async () => {
    if (!streamsLoad.ok) throw new Error(streamsLoad.reason);
    const { native } = streamsLoad;
    const handle = native.openStreams(1, 1, 0, 1000);
    const values = new Float32Array(4);
    for (const [program, message] of [
      [[0, -1, -1, 0, 1, 0, 2, 3], /leaves its vector/],
      [[0, -1, -1, 0, 1, 0, -1, 1], /leaves its vector/],
      [[0, -1, -1, 0, 1, 0, Number.NaN, 1], /leaves its vector/],
      [[0, -1, -1, 0, 9, 0, 0, 1], /ends too early/],
      [[0, 1, -1, 0, 1, 0, 0, 1], /sends where no connection goes/],
      [[0, -1, 1, 0, 0, 1, 0, 1, 1], /receives where no connection comes from/],
      [[0, -1, -1, 7, 0, 0], /in no order/],
    ] as const) {
      expect(() => native.beginStreamSum(handle, values, Float64Array.from(program), 1, 0, 1000, 0)).toThrow(message);
    }
    native.closeStreams(handle);
  });

  it.runIf(existsSync("/proc/self/fd"))("leave no connection, port or thread open", async () => {
    const numOpen = (): number => readdirSync("/proc/self/fd").length + readdirSync("/proc/self/task").length;
    const cycle = async (): Promise<void> => {
      const ranks = await open(2);
      const vectors = ranks.map(() => new Float32Array(2_000_000)); // long enough for a thread
      await sumOnAll(ranks, vectors, "ring");
      close(ranks);
    };
    for (let i = 0; i < 3; i++) await cycle();
    const before = numOpen();
    for (let i = 0; i < 10; i++) await cycle();
    while (numOpen() > before + 6) await new Promise(setImmediate); // threads end by themselves; a leak would be 60 and more
  });

  it("listen on the ports of the range only", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    if (!streamsLoad.ok) throw new Error(streamsLoad.reason);
    const { native } = streamsLoad;
    const options = { ...placeOf(0, 2), native, secret: SECRET };
    await expect(bindStreams({ ...options, ports: new DataPorts(port, port) })).rejects.toThrow(/all ports .* are taken/);
    const named = await bindStreams({ ...options, advertisedHost: "fd00::1" });
    expect(named.endpoint).toMatch(/^tcp:\/\/\[fd00::1\]:\d+$/);
    named.close();
    taken.close();
  });
});

describe("the agreement on streams", () => {
  it.runIf(streamsLoad.ok)("takes ZeroMQ's way on all ranks where one can't open its streams, and says why", async () => {
    const refused = new Error("no port for streams");
    await using opened = await memoryRingKind.open({
      worldSize: 3,
      bindStreams: (place) => (place.rank === 1 ? Promise.reject(refused) : bindStreamsOf(place)),
    });
    expect(opened.ranks.map(({ summation }) => summation.carrier)).toEqual(["zeromq", "zeromq", "zeromq"]);
    expect(opened.refusals).toContain("no port for streams");
    const vectors = opened.ranks.map(({ allocate }, rank) => allocate(100).fill(rank));
    await Promise.all(opened.ranks.map(({ summation }, rank) => summation.sum(at(vectors, rank), { step: 1, bucket: 0 })));
    expect(at(vectors, 2).every((value) => value === 3)).toBe(true);
  });

  it("has a secret where every rank gave a token, alike on all, and another in each generation", () => {
    const told = ["tcp://a:1", "tcp://b:2"].map(withToken);
    const place = { run: 3, generation: 4 };
    const { endpoints, secret } = splitTokens(told, place);
    expect(endpoints).toEqual(["tcp://a:1", "tcp://b:2"]);
    expect(secret).toHaveLength(32);
    expect(splitTokens(told, place).secret).toEqual(secret);
    expect(splitTokens(told, { run: 3, generation: 5 }).secret).not.toEqual(secret);
    expect(splitTokens(["tcp://a:1", "tcp://b:2"].map(withToken), place).secret).not.toEqual(secret);
    expect(splitTokens([at(told, 0), "tcp://b:2"], place).secret).toBeNull();
    expect(() => splitTokens(["tcp://a:1#00"], place)).toThrow(/a token that is none/);
  });

  it("can be forbidden", async () => {
    expect(await loadNativeStreams({ ISOERG_STREAMS: "0" })).toMatchObject({ ok: false, reason: "ISOERG_STREAMS=0" });
  });

  it("hears of the end of a ring in memory", async () => {
    const [zero, one, two] = memoryRing({ worldSize: 3, run: RUN, generation: GENERATION });
    one?.interrupt(new Error("was told to"));
    expect((await one?.ended)?.message).toBe("was told to");
    expect((await zero?.ended)?.message).toMatch(/rank 1, the next in the ring, is gone/);
    expect((await two?.ended)?.message).toMatch(/rank 1, the previous in the ring, is gone/);
  });
});
