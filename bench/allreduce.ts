/**
 * How fast vectors are summed over processes of this machine, ours and those of peers in turn: `isoerg bench allreduce`.
 *
 * One process a rank, connected as in training; every size is summed often, back to back, after some sums that don't count,
 * and each result is checked. Bus bandwidth is nccl-tests': 2 (P-1)/P of the bytes over the median time, which is what each
 * link must have carried, so that figures of different world sizes compare. Programs are compared where the same carries
 * their bytes: TCP over loopback with TCP, shared memory with shared memory, and ours with the faster of the peers.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { textTable } from "../src/cli/text-table.js";
import { IsoergError } from "../src/util/error.js";
import { describeMachine, type Machine } from "../src/util/machine.js";
import { findGloo, findMpi, type PeerName, type PeerProgram } from "./allreduce-peers.js";
import type { AllReduceRankReply, AllReduceRankTask, AllReduceWay, TimedAlgorithm } from "./allreduce-rank.js";

export type AllReducePeer = "none" | PeerName | "all";

export interface AllReduceBenchOptions {
  readonly worldSizes?: readonly number[];
  readonly sizesBytes?: readonly number[];
  /** How long each size is summed in each round, about. */
  readonly secondsPerSize?: number;
  /** How often each program is started, in turn. */
  readonly rounds?: number;
  readonly peer?: AllReducePeer;
  /** Also our sums through ZeroMQ, in plaintext and with CURVE. */
  readonly curve?: boolean;
  /** The Python that has PyTorch. */
  readonly python?: string;
  readonly signal?: AbortSignal;
  readonly onTurn?: (turn: { readonly worldSize: number; readonly round: number; readonly who: string }) => void;
  /** Told of a program that is left out. */
  readonly onMissing?: (reason: string) => void;
}

export type Medium = PeerProgram["medium"];

/** One program's figures at one size. */
export interface AllReduceFigures {
  readonly program: string;
  readonly medium: Medium;
  readonly numSums: number;
  readonly bestMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly busGigabytesPerSecond: number;
}

export interface AllReduceResult {
  readonly worldSize: number;
  readonly sizeBytes: number;
  readonly figures: readonly AllReduceFigures[];
  /** By medium: the fastest peer's median time over ours. Above 1, isoerg is faster; null without a peer. */
  readonly ratio: Readonly<Record<Medium, number | null>>;
}

export interface AllReduceBench {
  readonly machine: Machine;
  readonly missing: readonly string[];
  readonly results: readonly AllReduceResult[];
}

const KIB = 1024;
const MIB = 1024 * KIB;
/** The last is the gradient of a WideResNet-28-10. */
export const ALL_REDUCE_SIZES_BYTES: readonly number[] = [256, 4 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 146 * MIB];
export const ALL_REDUCE_WORLD_SIZES: readonly number[] = [2, 4];
const OURS = "isoerg";
/** As in the peers' programs: sums that tell how many fit into the time, and the bounds of that number. */
const [NUM_PROBES, FEWEST_SUMS, MOST_SUMS] = [3, 3, 2000];

/** @throws IsoergError ENGINE when a program fails or sums wrongly. */
export async function benchAllReduce(options: AllReduceBenchOptions = {}): Promise<AllReduceBench> {
  const { worldSizes = ALL_REDUCE_WORLD_SIZES, sizesBytes = ALL_REDUCE_SIZES_BYTES, rounds = 1 } = options;
  const { peers, missing } = await findPeers(options);
  const programs = [...ourPrograms(options.curve ?? false), ...peers];
  const results: AllReduceResult[] = [];
  for (const worldSize of worldSizes) {
    const times = new Map<PeerProgram, Map<number, number[]>>(programs.map((program) => [program, new Map()]));
    for (let round = 0; round < rounds; round++) {
      for (const program of round % 2 === 0 ? programs : [...programs].reverse()) {
        options.signal?.throwIfAborted();
        options.onTurn?.({ worldSize, round, who: `${program.name} (${program.medium})` });
        const seconds = options.secondsPerSize ?? 0.3;
        const timed = await program
          .time({ worldSize, sizesBytes, seconds, ...(options.signal && { signal: options.signal }) })
          .catch((error: Error) => {
            options.signal?.throwIfAborted();
            throw new IsoergError("ENGINE", `the all-reduce of ${program.name} over ${program.medium} could not be timed`, {
              cause: error,
            });
          });
        const bySize = times.get(program);
        for (const { sizeBytes, timesMs } of timed) bySize?.set(sizeBytes, [...(bySize.get(sizeBytes) ?? []), ...timesMs]);
      }
    }
    for (const sizeBytes of sizesBytes) {
      const figures = programs.map((program) => summarise(program, worldSize, sizeBytes, times.get(program)?.get(sizeBytes) ?? []));
      results.push({ worldSize, sizeBytes, figures, ratio: { tcp: ratioOf(figures, "tcp"), memory: ratioOf(figures, "memory") } });
    }
  }
  return { machine: describeMachine(), missing, results };
}

async function findPeers({ peer = "none", python = "/usr/bin/python3", onMissing }: AllReduceBenchOptions) {
  const peers: PeerProgram[] = [];
  const missing: string[] = [];
  for (const [name, find] of [["gloo", () => findGloo(python)] as const, ["mpi", findMpi] as const]) {
    if (peer !== name && peer !== "all") continue;
    const found = await find();
    if (found.ok) {
      peers.push(...found.programs);
    } else {
      missing.push(found.reason);
      onMissing?.(found.reason);
    }
  }
  return { peers, missing };
}

function summarise({ name, medium }: PeerProgram, worldSize: number, sizeBytes: number, timesMs: readonly number[]): AllReduceFigures {
  const sorted = [...timesMs].sort((a, b) => a - b);
  const p50Ms = quantile(sorted, 0.5);
  const busBytes = (2 * (worldSize - 1) * sizeBytes) / worldSize;
  const spread = { numSums: sorted.length, bestMs: quantile(sorted, 0), p50Ms, p95Ms: quantile(sorted, 0.95) };
  return { program: name, medium, ...spread, busGigabytesPerSecond: busBytes / p50Ms / 1e6 };
}

function ratioOf(figures: readonly AllReduceFigures[], medium: Medium): number | null {
  const ours = figures.find((of) => of.program === OURS && of.medium === medium);
  const theirs = figures.filter((of) => !of.program.startsWith(OURS) && of.medium === medium).map(({ p50Ms }) => p50Ms);
  return ours === undefined || theirs.length === 0 ? null : Math.min(...theirs) / ours.p50Ms;
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

/** The table that people read: a line a size and medium, a column a program. */
export function formatAllReduceBench({ machine, results }: AllReduceBench): string {
  const tables = (["tcp", "memory"] as const).map((medium) => {
    const names = [
      ...new Set(results.flatMap(({ figures }) => figures.filter((of) => of.medium === medium).map(({ program }) => program))),
    ];
    const head = ["ranks", "size", ...names.flatMap((name) => [`${name} ms`, "p95", "bus GB/s"]), ...(names.length > 1 ? ["ratio"] : [])];
    const rows = results.map(({ worldSize, sizeBytes, figures, ratio }) => [
      ...[String(worldSize), formatSize(sizeBytes)],
      ...figures.flatMap((of) =>
        of.medium === medium ? [of.p50Ms.toFixed(3), of.p95Ms.toFixed(3), of.busGigabytesPerSecond.toFixed(2)] : [],
      ),
      ...(ratio[medium] === null ? [] : [`${ratio[medium].toFixed(2)} x`]),
    ]);
    return `${medium === "tcp" ? "TCP over loopback" : "shared memory inside the host"} (median ms; ratio: the faster peer's time over ours)\n${textTable([head, ...rows])}`;
  });
  return `${machine.processor}, ${machine.numCores} cores, Node ${machine.node}\n\n${tables.join("\n")}`;
}

function formatSize(bytes: number): string {
  if (bytes % MIB === 0) return `${bytes / MIB} MiB`;
  return bytes % KIB === 0 ? `${bytes / KIB} KiB` : `${bytes} B`;
}

// ---- ours ----

function ourPrograms(withCurve: boolean): PeerProgram[] {
  const program = (name: string, medium: Medium, way: AllReduceWay): PeerProgram => ({
    ...{ name, medium },
    time: (options) => timeRanks({ way }, options),
  });
  const encrypted = [program(`${OURS}, ZeroMQ`, "tcp", "zeromq"), program(`${OURS}, CURVE`, "tcp", "curve")];
  return [program(OURS, "tcp", "streams"), ...(withCurve ? encrypted : []), program(OURS, "memory", "host")];
}

/** Times our own sums. @throws IsoergError ENGINE when a process fails or doesn't sum that way. */
export async function timeRanks(
  { way, algorithm }: { readonly way: AllReduceWay; readonly algorithm?: TimedAlgorithm },
  options: Parameters<PeerProgram["time"]>[0],
): ReturnType<PeerProgram["time"]> {
  const { worldSize, sizesBytes, seconds, signal } = options;
  const script = new URL("./allreduce-rank.js", import.meta.url);
  const ranks = Array.from({ length: worldSize }, () => fork(script));
  const kill = (): void => {
    for (const child of ranks) child.kill("SIGKILL");
  };
  signal?.addEventListener("abort", kill, { once: true });
  try {
    const bound = await Promise.all(ranks.map((child, rank) => ask(child, { kind: "bind", rank, worldSize, way })));
    const endpoints = bound.flatMap((reply) => (reply.kind === "bound" ? [reply.endpoint] : []));
    const connected = await Promise.all(ranks.map((child) => ask(child, { kind: "connect", endpoints })));
    const isOther = (reply: AllReduceRankReply): boolean =>
      reply.kind !== "connected" || (reply.way === "host" ? way !== "host" : reply.carrier !== (way === "curve" ? "zeromq" : way));
    if (connected.some(isOther)) {
      throw new IsoergError("ENGINE", `the processes do not sum by the ${way}`, { hint: "node src/collective/native/build.mjs says why" });
    }
    const times: { sizeBytes: number; timesMs: readonly number[] }[] = [];
    for (const sizeBytes of sizesBytes) {
      // How many sums fit is measured first, as all ranks must agree on it beforehand.
      const probe = quantile(
        [...(await sumOften(ranks, { sizeBytes, numSums: NUM_PROBES, algorithm }))].sort((a, b) => a - b),
        0.5,
      );
      const numSums = Math.min(MOST_SUMS, Math.max(FEWEST_SUMS, Math.round((1000 * seconds) / probe)));
      times.push({ sizeBytes, timesMs: await sumOften(ranks, { sizeBytes, numSums, algorithm }) });
    }
    return times;
  } finally {
    signal?.removeEventListener("abort", kill);
    kill();
  }
}

interface Sums {
  readonly sizeBytes: number;
  readonly numSums: number;
  readonly algorithm: TimedAlgorithm | undefined;
}

async function sumOften(ranks: readonly ChildProcess[], { sizeBytes, numSums, algorithm }: Sums): Promise<readonly number[]> {
  const numValues = Math.floor(sizeBytes / Float32Array.BYTES_PER_ELEMENT);
  const task = { kind: "sum", numValues, numSums, ...(algorithm && { algorithm }) } as const;
  const [first] = await Promise.all(ranks.map((child) => ask(child, task)));
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
