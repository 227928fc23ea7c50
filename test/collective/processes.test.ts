/** The ring between processes: a peer that is killed is noticed, and a process with a ring can always end. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allReduce } from "../../src/collective/all-reduce.js";
import type { RingTransport } from "../../src/collective/transport.js";
import { bindRing } from "../../src/collective/zeromq-transport.js";
import type { PeerEnd, PeerTask } from "./peer.js";

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
    expect(performance.now() - killedAt).toBeLessThan(5000);
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
