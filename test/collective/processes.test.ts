/** The ring between processes: a peer that is killed is noticed, and a process with a ring can always end. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allReduce } from "../../src/collective/all-reduce.js";
import { HostMember } from "../../src/collective/host-member.js";
import { ARENA_BYTES, loadHostMemory } from "../../src/collective/host-memory.js";
import { agreeOnSummation } from "../../src/collective/host-summation.js";
import { loadNativeStreams } from "../../src/collective/native-streams.js";
import { bindStreams } from "../../src/collective/stream-links.js";
import type { RingTransport } from "../../src/collective/transport.js";
import { bindRing } from "../../src/collective/zeromq-transport.js";
import type { PeerEnd, PeerTask } from "./peer.js";

/** A peer's end is noticed by its connections' end; its heartbeats would be missed after 15 s, and its frames after minutes. */
const LONG_BEFORE_MS = 12_000;
const root = join(import.meta.dirname, "../..");
let folder = "";
let script = "";
const children: ChildProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(root, "node_modules/.peer-"));
  script = join(folder, "peer.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "peer.ts")],
    outfile: script,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    target: "node20",
  });
});

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** Rank 0 here and rank 1 in a process of its own, after one sum of both. */
async function ringWithChild(
  end: PeerEnd,
  options: { heartbeatTimeoutMs?: number } = {},
): Promise<{ transport: RingTransport; child: ChildProcess; childSum: unknown }> {
  const place = { run: 5, generation: 1, worldSize: 2 };
  const child = fork(script);
  children.push(child);
  const bound = await bindRing({ ...place, rank: 0, timeoutMs: 20_000, ...options });
  child.send({ ...place, rank: 1, end } satisfies PeerTask);
  const [{ endpoint }] = (await once(child, "message")) as [{ endpoint: string }];
  const endpoints = [bound.endpoint, endpoint];
  child.send(endpoints);
  const transport = await bound.connect(endpoints);
  const values = new Float32Array(10_000).fill(1);
  const [[{ sum }]] = await Promise.all([
    once(child, "message") as Promise<[{ sum: number }]>,
    allReduce(transport, values, { step: 0, bucket: 0 }),
  ]);
  expect(values.every((value) => value === 3)).toBe(true);
  return { transport, child, childSum: sum };
}

describe("a ring between processes", () => {
  it("ends a sum when the peer is killed, long before any timeout", async () => {
    const { transport, child } = await ringWithChild("never");
    for (let step = 1; step < 20; step++) await allReduce(transport, new Float32Array(10_000), { step, bucket: 0 });
    child.kill("SIGKILL");
    const killedAt = performance.now();
    const sumForEver = async (): Promise<never> => {
      for (let step = 20; ; step++) await allReduce(transport, new Float32Array(10_000), { step, bucket: 0 });
    };
    await expect(sumForEver()).rejects.toThrow(/rank 0: rank 1, the .* in the ring, is gone/);
    expect(performance.now() - killedAt).toBeLessThan(LONG_BEFORE_MS);
  });

  it("ends a sum when the peer is stopped and its heartbeats stay away", async () => {
    const { transport, child } = await ringWithChild("never", { heartbeatTimeoutMs: 500 });
    child.kill("SIGSTOP");
    const sumForEver = async (): Promise<never> => {
      for (let step = 1; ; step++) await allReduce(transport, new Float32Array(10_000), { step, bucket: 0 });
    };
    await expect(sumForEver()).rejects.toThrow(/rank 0: rank 1, the .* in the ring, is gone/);
  });

  it.each(["close", "exit"] as const)("lets the peer's process end by itself (%s)", async (end) => {
    const { transport, child, childSum } = await ringWithChild(end);
    expect(childSum).toBe(3);
    const [code, signal] =
      child.exitCode === null ? ((await once(child, "exit")) as [number | null, string | null]) : [child.exitCode, null];
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    await transport[Symbol.asyncDispose]();
  });
});

const streamsLoad = await loadNativeStreams();

/** Rank 0 here and rank 1 in a process of its own, whose sums go by streams, after one sum of both. */
async function streamsWithChild({ numValues, heartbeatTimeoutMs }: { numValues: number; heartbeatTimeoutMs?: number }) {
  if (!streamsLoad.ok) throw new Error(streamsLoad.reason);
  const { native } = streamsLoad;
  const place = { run: 8, generation: 1, worldSize: 2 };
  const secret = new Uint8Array(32).fill(9);
  const child = fork(script);
  children.push(child);
  const beat = heartbeatTimeoutMs === undefined ? {} : { heartbeatTimeoutMs };
  const bound = await bindRing({ ...place, rank: 0, ...beat });
  child.send({ ...place, rank: 1, end: "never", numValues, secret: Buffer.from(secret).toString("hex") } satisfies PeerTask);
  const [{ endpoint }] = (await once(child, "message")) as [{ endpoint: string }];
  const endpoints = [bound.endpoint, endpoint];
  child.send(endpoints);
  const transport = await bound.connect(endpoints);
  const summation = await agreeOnSummation({
    ...{ transport, member: null, bind: (leader) => bindRing(leader) },
    bindStreams: (leader) => bindStreams({ ...leader, native, secret }),
  });
  const values = new Float32Array(numValues).fill(1);
  const first = once(child, "message") as Promise<[{ sum: number; carrier: string }]>;
  await summation.sum(values, { step: 0, bucket: 0 });
  expect((await first)[0]).toEqual({ sum: 3, carrier: "streams" });
  const sumForEver = async (): Promise<never> => {
    for (let step = 1; ; step++) {
      await summation.sum(values.fill(1), { step, bucket: 0 });
      if (values[numValues >> 1] !== 3) throw new Error("a wrong sum");
    }
  };
  return { child, summation, sumForEver };
}

describe.runIf(streamsLoad.ok)("streams between processes", () => {
  it.each([10_000, 3_000_000])("end a sum of %d values when the peer is killed, long before any timeout", async (numValues) => {
    const { child, summation, sumForEver } = await streamsWithChild({ numValues });
    const ended = expect(sumForEver()).rejects.toThrow(/rank 0: rank 1, the .* in the ring, is gone/);
    child.kill("SIGKILL");
    const killedAt = performance.now();
    await ended;
    expect(performance.now() - killedAt).toBeLessThan(LONG_BEFORE_MS);
    await summation[Symbol.asyncDispose]();
  });

  it("end a sum when the peer is stopped and the ring's heartbeats stay away", async () => {
    const { child, sumForEver } = await streamsWithChild({ numValues: 10_000, heartbeatTimeoutMs: 500 });
    child.kill("SIGSTOP");
    await expect(sumForEver()).rejects.toThrow(/rank 0: rank 1, the .* in the ring, is gone/);
    child.kill("SIGKILL");
  });

  it("wait for one that is stopped, and are freed when the generation ends", async () => {
    const { child, summation, sumForEver } = await streamsWithChild({ numValues: 10_000 });
    child.kill("SIGSTOP");
    const ended = expect(sumForEver()).rejects.toThrow("generation 2 begins");
    await new Promise((resolve) => setTimeout(resolve, 50)); // so that the wait has begun; the outcome does not depend on it
    summation.interrupt(new Error("generation 2 begins"));
    await ended;
    child.kill("SIGKILL");
  });
});

const load = await loadHostMemory();

/** Rank 0 here and the others in processes of their own, on the hosts named, after a sum that shows that all are there. */
async function ranksOfHosts(hosts: readonly string[]) {
  if (!load.ok) throw new Error(load.reason);
  const { memory, path: library } = load;
  const place = { run: 6, generation: 1, worldSize: hosts.length };
  const bound = await bindRing({ ...place, rank: 0, timeoutMs: 20_000 });
  const others = hosts.slice(1).map((host, index) => {
    const child = fork(script);
    children.push(child);
    child.send({ ...place, rank: index + 1, end: "never", machine: host, library } satisfies PeerTask);
    return child;
  });
  const told = await Promise.all(others.map((child) => once(child, "message") as Promise<[{ endpoint: string }]>));
  const endpoints = [bound.endpoint, ...told.map(([{ endpoint }]) => endpoint)];
  for (const child of others) child.send(endpoints);
  const transport = await bound.connect(endpoints);
  const arena = memory.createArena(ARENA_BYTES);
  const member = new HostMember({ memory, arena, place: { ...place, rank: 0 }, host: hosts[0] as string });
  member.sums.adopt();
  const summation = await agreeOnSummation({ transport, member, bind: (leader) => bindRing(leader) });
  const values = new Float32Array(memory.view(arena, memory.allocate(arena, 400_000), 400_000)).fill(1);
  const expected = (hosts.length * (hosts.length + 1)) / 2;
  const firstSums = Promise.all(others.map((child) => once(child, "message") as Promise<[{ sum: number; way: string }]>));
  await summation.sum(values, { step: 0, bucket: 0 });
  for (const [{ sum }] of await firstSums) expect(sum).toBe(expected);
  expect(values.every((value) => value === expected)).toBe(true);
  const sumForEver = async (from: number): Promise<never> => {
    for (let step = from; ; step++) {
      values.fill(1);
      await summation.sum(values, { step, bucket: 0 });
      if (values[77] !== expected) throw new Error(`a wrong sum: ${values[77]}`);
    }
  };
  return { summation, others, values, sumForEver };
}

describe.runIf(load.ok)("processes that share memory", () => {
  it.each([
    ["on one host", ["a", "a", "a"], "host"],
    ["on two hosts", ["a", "b", "a", "b"], "hosts"],
  ])("end their sums when one of them is killed, long before any timeout: %s", async (_, hosts, way) => {
    const { summation, others, values, sumForEver } = await ranksOfHosts(hosts);
    expect(summation.way).toBe(way);
    for (let step = 1; step < 20; step++) await summation.sum(values, { step, bucket: 0 });
    const victim = others.at(-1) as ChildProcess;
    const survivors = others.slice(0, -1);
    const exits = survivors.map((child) => once(child, "exit"));
    victim.kill("SIGKILL");
    const killedAt = performance.now();
    await expect(sumForEver(20)).rejects.toThrow(/is gone/);
    await Promise.all(exits); // their sums were rejected too, and nobody catches that there
    expect(performance.now() - killedAt).toBeLessThan(LONG_BEFORE_MS);
    await summation[Symbol.asyncDispose]();
  });

  it("wait for one that is stopped, and are freed when the generation ends", async () => {
    const { summation, others, sumForEver } = await ranksOfHosts(["a", "a"]);
    others[0]?.kill("SIGSTOP");
    const ended = expect(sumForEver(1)).rejects.toThrow("generation 2 begins");
    await new Promise((resolve) => setTimeout(resolve, 50)); // so that the wait has begun; the outcome does not depend on it
    summation.interrupt(new Error("generation 2 begins"));
    await ended;
    others[0]?.kill("SIGKILL");
  });
});
