/**
 * The programs that our all-reduce is measured beside: Gloo (through PyTorch) and an MPI library, started with the same sizes and
 * numbers of processes. One that this machine lacks is left out with a word.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../src/util/package.js";

export type PeerName = "gloo" | "mpi";

export interface PeerProgram {
  /** As it heads a column. */
  readonly name: string;
  /** What carries the bytes: only programs of one kind compare. */
  readonly medium: "tcp" | "memory";
  /** Sums every size often; tells the milliseconds of each sum. */
  time(options: PeerRun): Promise<readonly PeerTimes[]>;
}

export interface PeerRun {
  readonly worldSize: number;
  readonly sizesBytes: readonly number[];
  readonly seconds: number;
  readonly signal?: AbortSignal;
}

export interface PeerTimes {
  readonly sizeBytes: number;
  readonly timesMs: readonly number[];
}

export type FoundPeers = { readonly ok: true; readonly programs: readonly PeerProgram[] } | { readonly ok: false; readonly reason: string };

const run = promisify(execFile);
const MIB = 1024 * 1024;
/** Enough for hundreds of sums a second with megabytes each, on a machine that does other things. */
const TIMEOUT_MS = 20 * 60_000;

export async function findGloo(python: string): Promise<FoundPeers> {
  try {
    await run(python, ["-c", "import torch.distributed as d; assert d.is_gloo_available()"]);
  } catch {
    return { ok: false, reason: `${python} has no PyTorch with Gloo (Debian: python3-torch)` };
  }
  const script = join(packageRoot, "bench/peers/gloo_allreduce.py");
  const time = async ({ worldSize, sizesBytes, seconds, signal }: PeerRun) =>
    timesOf(await run(python, [script, String(worldSize), String(seconds), ...sizesBytes.map(String)], settings(signal)));
  return { ok: true, programs: [{ name: "Gloo", medium: "tcp", time }] };
}

export async function findMpi(): Promise<FoundPeers> {
  const source = join(packageRoot, "bench/peers/mpi_allreduce.c");
  const hash = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 16);
  const program = join(packageRoot, "build", "bench", hash, "mpi_allreduce");
  try {
    const { stdout } = await run("mpirun", ["--version"]);
    if (!stdout.includes("Open MPI")) return { ok: false, reason: "mpirun is not Open MPI's" };
    mkdirSync(join(program, ".."), { recursive: true });
    if (!existsSync(program)) await run("mpicc", ["-O2", source, "-o", program]);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { ok: false, reason: `no Open MPI (Debian: openmpi-bin, libopenmpi-dev): ${reason}` };
  }
  const start = (transport: string) => async (options: PeerRun) => {
    const launcher = ["--oversubscribe", "--bind-to", "none", "-n", String(options.worldSize), "--mca", "pml", "ob1"];
    const network = ["--mca", "btl", `${transport},self`, "--mca", "btl_tcp_if_include", "lo"];
    const asRoot = process.getuid?.() === 0 ? ["--allow-run-as-root"] : [];
    const parameters = [String(options.seconds), ...options.sizesBytes.map(String)];
    return timesOf(await run("mpirun", [...asRoot, ...launcher, ...network, program, ...parameters], settings(options.signal)));
  };
  return {
    ok: true,
    programs: [
      { name: "Open MPI", medium: "tcp", time: start("tcp") },
      { name: "Open MPI", medium: "memory", time: start("vader") },
    ],
  };
}

function settings(signal: AbortSignal | undefined): { maxBuffer: number; timeout: number; signal?: AbortSignal } {
  return { maxBuffer: 64 * MIB, timeout: TIMEOUT_MS, ...(signal && { signal }) };
}

function timesOf({ stdout }: { stdout: string }): readonly PeerTimes[] {
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as PeerTimes);
}
