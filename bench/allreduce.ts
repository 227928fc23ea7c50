/**
 * How fast vectors are summed over processes of this machine, ours and a peer's in turn: `isoerg bench allreduce`.
 *
 * One process a rank, connected as in training; every size is summed often, back to back, after some sums that don't count,
 * and each result is checked. Bus bandwidth is nccl-tests': 2 (P-1)/P of the bytes over the median time, which is what each
 * link must have carried, so that figures of different world sizes compare.
 */
import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import { textTable } from "../src/cli/text-table.js";
import { IsoergError } from "../src/util/error.js";
import { describeMachine, type Machine } from "../src/util/machine.js";
import { packageRoot } from "../src/util/package.js";
import type { AllReduceRankReply, AllReduceRankTask } from "./allreduce-rank.js";

export type AllReducePeer = "none" | "gloo";

export interface AllReduceBenchOptions {
  readonly worldSizes?: readonly number[];
  readonly sizesBytes?: readonly number[];
  /** How long each size is summed in each round, about. */
  readonly secondsPerSize?: number;
  /** Rings opened of each program, in turn. */
  readonly rounds?: number;
  readonly peer?: AllReducePeer;
  /** The Python that has PyTorch. */
  readonly python?: string;
  readonly signal?: AbortSignal;
  readonly onResult?: (result: AllReduceResult) => void;
  readonly onTurn?: (turn: { readonly worldSize: number; readonly round: number; readonly who: "isoerg" | "gloo" }) => void;
}

/** One program's figures at one size. */
export interface AllReduceFigures {
  readonly numSums: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly busGigabytesPerSecond: number;
}

export interface AllReduceResult {
  readonly worldSize: number;
  readonly sizeBytes: number;
  readonly isoerg: AllReduceFigures;
  readonly peer: AllReduceFigures | null;
  /** Bandwidth of isoerg over that of the peer: above 1, isoerg is faster. */
  readonly ratio: number | null;
}

export interface AllReduceBench {
  readonly machine: Machine;
  readonly transport: string;
  readonly peer: AllReducePeer;
  readonly results: readonly AllReduceResult[];
}

const KIB = 1024;
const MIB = 1024 * KIB;
export const ALL_REDUCE_SIZES_BYTES: readonly number[] = [256, 4 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB];
export const ALL_REDUCE_WORLD_SIZES: readonly number[] = [2, 4];

/** Milliseconds of every timed sum, by size in bytes. */
type Times = Map<number, number[]>;

/** @throws IsoergError ENGINE when a program fails or sums wrongly. */
export async function benchAllReduce(options: AllReduceBenchOptions = {}): Promise<AllReduceBench> {
  const { worldSizes = ALL_REDUCE_WORLD_SIZES, sizesBytes = ALL_REDUCE_SIZES_BYTES, rounds = 2, peer = "none" } = options;
  const results: AllReduceResult[] = [];
  for (const worldSize of worldSizes) {
    const [ours, theirs]: [Times, Times] = [new Map(), new Map()];
    for (let round = 0; round < rounds; round++) {
      const turns = peer === "none" ? (["isoerg"] as const) : (["isoerg", peer] as const);
      for (const who of round % 2 === 0 ? turns : [...turns].reverse()) {
        options.signal?.throwIfAborted();
        options.onTurn?.({ worldSize, round, who });
        if (who === "isoerg") await timeOurs(worldSize, sizesBytes, options, ours);
        else await timeGloo(worldSize, sizesBytes, options, theirs);
      }
    }
    for (const sizeBytes of sizesBytes) {
      const isoerg = summarise(worldSize, sizeBytes, ours);
      const other = peer === "none" ? null : summarise(worldSize, sizeBytes, theirs);
      const result = { worldSize, sizeBytes, isoerg, peer: other, ratio: other && other.p50Ms / isoerg.p50Ms };
      results.push(result);
      options.onResult?.(result);
    }
  }
  return { machine: describeMachine(), transport: "ZeroMQ over TCP loopback", peer, results };
}

/** The table that people read. */
export function formatAllReduceBench({ machine, transport, peer, results }: AllReduceBench): string {
  const figures = ({ p50Ms, p95Ms, busGigabytesPerSecond }: AllReduceFigures) =>
    [p50Ms, p95Ms, busGigabytesPerSecond].map((figure) => figure.toFixed(3));
  const head = [
    "ranks",
    "size",
    "p50 ms",
    "p95 ms",
    "bus GB/s",
    ...(peer === "none" ? [] : [`${peer} p50 ms`, "p95 ms", "bus GB/s", "speed ratio"]),
  ];
  const rows = results.map(({ worldSize, sizeBytes, isoerg, peer: other, ratio }) => [
    ...[String(worldSize), formatSize(sizeBytes), ...figures(isoerg)],
    ...(other && ratio !== null ? [...figures(other), `${ratio.toFixed(2)} x`] : []),
  ]);
  return `${transport}; ${machine.processor}, ${machine.numCores} cores, Node ${machine.node}\n${textTable([head, ...rows])}`;
}

function formatSize(bytes: number): string {
  if (bytes % MIB === 0) return `${bytes / MIB} MiB`;
  return bytes % KIB === 0 ? `${bytes / KIB} KiB` : `${bytes} B`;
}

function summarise(worldSize: number, sizeBytes: number, times: Times): AllReduceFigures {
  const sorted = [...(times.get(sizeBytes) ?? [])].sort((a, b) => a - b);
  const p50Ms = quantile(sorted, 0.5);
  const busBytes = (2 * (worldSize - 1) * sizeBytes) / worldSize;
  return { numSums: sorted.length, p50Ms, p95Ms: quantile(sorted, 0.95), busGigabytesPerSecond: busBytes / p50Ms / 1e6 };
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

function record(times: Times, sizeBytes: number, more: readonly number[]): void {
  times.set(sizeBytes, [...(times.get(sizeBytes) ?? []), ...more]);
}

// ---- ours ----

async function timeOurs(worldSize: number, sizesBytes: readonly number[], options: AllReduceBenchOptions, times: Times): Promise<void> {
  const script = new URL("./allreduce-rank.js", import.meta.url);
  const ranks = Array.from({ length: worldSize }, () => fork(script));
  const kill = (): void => {
    for (const child of ranks) child.kill("SIGKILL");
  };
  options.signal?.addEventListener("abort", kill, { once: true });
  try {
    const bound = await Promise.all(ranks.map((child, rank) => ask(child, { kind: "bind", rank, worldSize })));
    const endpoints = bound.flatMap((reply) => (reply.kind === "bound" ? [reply.endpoint] : []));
    await Promise.all(ranks.map((child) => ask(child, { kind: "connect", endpoints })));
    for (const sizeBytes of sizesBytes) {
      // How many sums fit is measured first, as all ranks must agree on it beforehand.
      const probe = quantile(
        [...(await sumOften(ranks, sizeBytes, 5))].sort((a, b) => a - b),
        0.5,
      );
      const numSums = Math.min(2000, Math.max(10, Math.round((1000 * (options.secondsPerSize ?? 0.5)) / probe)));
      record(times, sizeBytes, await sumOften(ranks, sizeBytes, numSums));
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", kill);
    kill();
  }
}

async function sumOften(ranks: readonly ChildProcess[], sizeBytes: number, numSums: number): Promise<readonly number[]> {
  const numValues = Math.floor(sizeBytes / Float32Array.BYTES_PER_ELEMENT);
  const [first] = await Promise.all(ranks.map((child) => ask(child, { kind: "sum", numValues, numSums })));
  if (first?.kind !== "summed") throw new IsoergError("ENGINE", "rank 0 of the benchmark did not sum");
  return first.timesMs;
}

async function ask(child: ChildProcess, task: AllReduceRankTask): Promise<AllReduceRankReply> {
  const answered = new AbortController();
  const { signal } = answered;
  try {
    child.send(task);
    const reply = once(child, "message", { signal }) as Promise<[AllReduceRankReply]>;
    const exit = once(child, "exit", { signal }).then(([code]) => {
      throw new IsoergError("ENGINE", `a rank of the benchmark ended with ${code ?? "a signal"} instead of an answer`);
    });
    return (await Promise.race([reply, exit]))[0];
  } finally {
    answered.abort();
  }
}

// ---- the peer ----

async function timeGloo(worldSize: number, sizesBytes: readonly number[], options: AllReduceBenchOptions, times: Times): Promise<void> {
  const script = join(packageRoot, "bench/peers/gloo_allreduce.py");
  const parameters = [script, String(worldSize), String(options.secondsPerSize ?? 0.5), ...sizesBytes.map(String)];
  const settings = { maxBuffer: 64 * MIB, ...(options.signal === undefined ? {} : { signal: options.signal }) };
  const python = options.python ?? "/usr/bin/python3";
  const { stdout } = await promisify(execFile)(python, parameters, settings).catch((error: Error) => {
    options.signal?.throwIfAborted();
    throw new IsoergError("ENGINE", `Gloo's all-reduce could not be timed with ${python}`, {
      cause: error,
      hint: "it needs PyTorch (Debian: python3-torch); leave --peer out otherwise",
    });
  });
  for (const line of stdout.trim().split("\n")) {
    const { sizeBytes, timesMs } = JSON.parse(line) as { sizeBytes: number; timesMs: number[] };
    record(times, sizeBytes, timesMs);
  }
}
