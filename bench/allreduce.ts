/**
 * How fast vectors are summed over processes of this machine: `isoerg bench allreduce`.
 *
 * One process a rank, connected as in training; every size is summed often, back to back, after some sums that don't count,
 * and each result is checked. Bus bandwidth is nccl-tests': 2 (P-1)/P of the bytes, over the median time: what each
 * link must have carried, so that figures of different world sizes compare.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { availableParallelism, cpus } from "node:os";
import type { AllReduceRankReply, AllReduceRankTask } from "./allreduce-rank.js";

export interface AllReduceBenchOptions {
  readonly worldSizes?: readonly number[];
  readonly sizesBytes?: readonly number[];
  /** How long each size is summed, about. */
  readonly secondsPerSize?: number;
  /** Longest chunk in values; default: the collective's own choice. */
  readonly chunkLength?: number;
  readonly signal?: AbortSignal;
  readonly onResult?: (result: AllReduceResult) => void;
}

export interface AllReduceResult {
  readonly worldSize: number;
  readonly sizeBytes: number;
  readonly numSums: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly busGigabytesPerSecond: number;
}

export interface AllReduceBench {
  readonly machine: { readonly cpu: string; readonly numCores: number; readonly node: string };
  readonly transport: string;
  readonly results: readonly AllReduceResult[];
}

const KIB = 1024;
const MIB = 1024 * KIB;
export const DEFAULT_SIZES_BYTES: readonly number[] = [256, 4 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB];

export async function benchAllReduce(options: AllReduceBenchOptions = {}): Promise<AllReduceBench> {
  const results: AllReduceResult[] = [];
  for (const worldSize of options.worldSizes ?? [2, 4]) {
    const ring = await startRing(worldSize);
    const kill = (): void => {
      for (const child of ring) child.kill("SIGKILL");
    };
    options.signal?.addEventListener("abort", kill, { once: true });
    try {
      for (const sizeBytes of options.sizesBytes ?? DEFAULT_SIZES_BYTES) {
        options.signal?.throwIfAborted();
        const result = await sumOften(ring, sizeBytes, options);
        results.push(result);
        options.onResult?.(result);
      }
    } finally {
      options.signal?.removeEventListener("abort", kill);
      kill();
    }
  }
  return {
    machine: { cpu: cpus()[0]?.model.trim() ?? "unknown", numCores: availableParallelism(), node: process.version },
    transport: "ZeroMQ over TCP loopback",
    results,
  };
}

/** The table that people read. */
export function formatAllReduceBench({ machine, transport, results }: AllReduceBench): string {
  const rows = results.map(({ worldSize, sizeBytes, p50Ms, p95Ms, busGigabytesPerSecond }) =>
    [
      String(worldSize).padStart(5),
      formatSize(sizeBytes).padStart(9),
      p50Ms.toFixed(3).padStart(10),
      p95Ms.toFixed(3).padStart(10),
      busGigabytesPerSecond.toFixed(3).padStart(10),
    ].join(" "),
  );
  const head = `${machine.cpu}, ${machine.numCores} cores, node ${machine.node}, ${transport}`;
  return [head, "ranks      size     p50 ms     p95 ms   bus GB/s", ...rows].join("\n");
}

async function startRing(worldSize: number): Promise<readonly ChildProcess[]> {
  const script = new URL("./allreduce-rank.js", import.meta.url);
  const ring = Array.from({ length: worldSize }, () => fork(script));
  const endpoints = await Promise.all(
    ring.map(async (child, rank) => {
      const reply = await ask(child, { kind: "bind", rank, worldSize });
      if (reply.kind !== "bound") throw new Error(`rank ${rank} answered ${reply.kind} to bind`);
      return reply.endpoint;
    }),
  );
  await Promise.all(ring.map((child) => ask(child, { kind: "connect", endpoints })));
  return ring;
}

async function sumOften(ring: readonly ChildProcess[], sizeBytes: number, options: AllReduceBenchOptions): Promise<AllReduceResult> {
  const worldSize = ring.length;
  const seconds = options.secondsPerSize ?? 1;
  // How many sums fit is measured first, as all ranks must agree on it beforehand.
  const probe = await sum(ring, sizeBytes, 5, options.chunkLength);
  const numSums = Math.min(2000, Math.max(10, Math.round((1000 * seconds) / quantile(probe, 0.5))));
  const times = await sum(ring, sizeBytes, numSums, options.chunkLength);
  const p50Ms = quantile(times, 0.5);
  const busBytes = (2 * (worldSize - 1) * sizeBytes) / worldSize;
  return { worldSize, sizeBytes, numSums, p50Ms, p95Ms: quantile(times, 0.95), busGigabytesPerSecond: busBytes / p50Ms / 1e6 };
}

async function sum(ring: readonly ChildProcess[], sizeBytes: number, numSums: number, chunkLength?: number): Promise<readonly number[]> {
  const task: AllReduceRankTask = {
    kind: "sum",
    numValues: Math.floor(sizeBytes / 4),
    numSums,
    ...(chunkLength === undefined ? {} : { chunkLength }),
  };
  const [first] = await Promise.all(ring.map((child) => ask(child, task)));
  if (first?.kind !== "summed") throw new Error("rank 0 did not sum");
  return first.timesMs;
}

async function ask(child: ChildProcess, task: AllReduceRankTask): Promise<AllReduceRankReply> {
  const ended = new AbortController();
  try {
    child.send(task);
    const reply = once(child, "message", { signal: ended.signal }) as Promise<[AllReduceRankReply]>;
    const exit = once(child, "exit", { signal: ended.signal }).then(([code]) => {
      throw new Error(`a rank of the benchmark ended with ${code}`);
    });
    return (await Promise.race([reply, exit]))[0];
  } finally {
    ended.abort();
  }
}

function quantile(times: readonly number[], q: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

function formatSize(bytes: number): string {
  if (bytes >= MIB) return `${bytes / MIB} MiB`;
  return bytes >= KIB ? `${bytes / KIB} KiB` : `${bytes} B`;
}
