/**
 * Times training steps, ours and a peer's in turn in one invocation, so that both meet the same machine at the same hour. Each
 * turn is a process of its own; the order is swapped from round to round. What is compared are medians over all rounds.
 */
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Precision } from "../../src/engine/ops.js";
import { IsoergError } from "../../src/util/error.js";
import { packageRoot } from "../../src/util/package.js";
import { trainingProcessFlags } from "../../src/worker/thread-limits.js";
import type { StepCase } from "./cases.js";
import type { StepResult } from "./job.js";
import { type JobOptions, prepareJob } from "./prepare.js";

export type Peer = "none" | "pytorch";

/** Who takes turns: a peer in the case's precision, and in fp32 where that is another. */
export type Turn = "isoerg" | "pytorch" | "pytorch fp32";

export interface MeasureOptions extends JobOptions {
  readonly rounds: number;
  readonly peer: Peer;
  /** The Python that has PyTorch. */
  readonly python: string;
  readonly signal?: AbortSignal;
  readonly onTurn?: (turn: { case: string; round: number; who: Turn }) => void;
}

/** One program's figures of one case. */
export interface Figures {
  readonly program: string;
  readonly stepMs: { readonly median: number; readonly min: number; readonly max: number; readonly count: number };
  readonly imagesPerSecond: number;
  readonly partsMs: Readonly<Record<string, number>>;
  /** Arithmetic of the network's passes, as a share of the best matrix product measured beside it; null where none was. */
  readonly shareOfPeak: number | null;
  readonly peakGflops: number | null;
  readonly peakRssBytes: number;
  readonly startRssBytes: number;
  readonly peakTensorBytes: number | null;
  readonly opsPerStep: number | null;
  readonly checkLoss: number;
}

export interface CaseResult {
  readonly case: string;
  readonly summary: string;
  readonly threads: number;
  readonly precision: string;
  readonly batchSize: number;
  readonly isoerg: Figures;
  readonly peer: Figures | null;
  /** The peer's in fp32, in turn with the others, where the case is in another precision. */
  readonly peerFp32: Figures | null;
  /** Images a second of isoerg over those of the peer: above 1, isoerg is faster. */
  readonly ratio: number | null;
  /** The same over the peer's images a second in fp32. */
  readonly ratioToFp32: number | null;
  /** Peak resident memory of isoerg over that of the peer. */
  readonly memoryRatio: number | null;
}

/** @throws IsoergError ENGINE when a program fails, or when both do not compute the same network. */
export async function measureCase(stepCase: StepCase, options: MeasureOptions): Promise<CaseResult> {
  const { folder, macsPerSample } = prepareJob(stepCase, options);
  // What a narrower precision is worth is what it gains on the peer's fp32, so that takes its turn too.
  const fp32 =
    options.peer !== "none" && options.precision !== "fp32" ? prepareJob(stepCase, { ...options, precision: "fp32" }).folder : null;
  const turns: readonly Turn[] =
    options.peer === "none" ? ["isoerg"] : fp32 === null ? ["isoerg", "pytorch"] : ["isoerg", "pytorch", "pytorch fp32"];
  const results: Record<Turn, StepResult[]> = { isoerg: [], pytorch: [], "pytorch fp32": [] };
  try {
    for (let round = 0; round < options.rounds; round++) {
      for (const who of round % 2 === 0 ? turns : [...turns].reverse()) {
        options.onTurn?.({ case: stepCase.name, round, who });
        if (who === "isoerg") results[who].push(await runOurs(folder, options));
        else results[who].push(await runPeer(who === "pytorch" ? folder : (fp32 as string), options));
      }
    }
  } finally {
    for (const one of [folder, fp32]) if (one !== null) rmSync(one, { recursive: true, force: true });
  }
  const flops = flopsPerStep(stepCase, macsPerSample);
  const { batchSize } = stepCase.config.data;
  const figures = (who: Turn) => (results[who].length > 0 ? summarise(results[who], { batchSize, flops }) : null);
  const isoerg = figures("isoerg") as Figures;
  const [peer, peerFp32] = [figures("pytorch"), figures("pytorch fp32")];
  if (peer) checkSameNetwork(isoerg, peer);
  return {
    case: stepCase.name,
    summary: stepCase.summary,
    threads: options.threads,
    precision: options.precision,
    batchSize,
    isoerg,
    peer,
    peerFp32,
    ratio: peer && peer.stepMs.median / isoerg.stepMs.median,
    ratioToFp32: ratioToFp32(options.precision, { isoerg, peer, peerFp32 }),
    memoryRatio: peer && isoerg.peakRssBytes / peer.peakRssBytes,
  };
}

/** Images a second of isoerg, whatever its precision, over those of the peer in fp32. */
export function ratioToFp32(
  precision: Precision,
  { isoerg, peer, peerFp32 }: Pick<CaseResult, "isoerg" | "peer" | "peerFp32">,
): number | null {
  const reference = precision === "fp32" ? peer : peerFp32;
  return reference && reference.stepMs.median / isoerg.stepMs.median;
}

/**
 * Of the network's passes alone: forward and input gradient cost 2 operations a multiplication each, the weights' gradient as much
 * again. The update sees clean, attacked and generated samples.
 */
export function flopsPerStep({ config }: StepCase, macsPerSample: number): number {
  const { batchSize } = config.data;
  const { chains } = config.sampler;
  const inner = config.attack.steps * batchSize + config.sampler.steps * chains;
  return macsPerSample * (4 * inner + 6 * (2 * batchSize + chains));
}

/** Pools the rounds of one program. */
export function summarise(results: readonly StepResult[], { batchSize, flops }: { batchSize: number; flops: number }): Figures {
  const first = results[0] as StepResult;
  const all = results.flatMap((result) => result.stepMs).sort((a, b) => a - b);
  const median = medianOf(all);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const peaks = results.map((result) => result.peakGflops).filter((peak) => peak !== null);
  const peakGflops = peaks.length > 0 ? Math.max(...peaks) : null;
  return {
    program: first.program,
    stepMs: { median, min: all[0] as number, max: all.at(-1) as number, count: all.length },
    imagesPerSecond: (1000 * batchSize) / median,
    partsMs: Object.fromEntries(Object.keys(first.partsMs).map((part) => [part, mean(results.map((result) => result.partsMs[part] ?? 0))])),
    shareOfPeak: peakGflops === null ? null : flops / (median / 1000) / (peakGflops * 1e9),
    peakGflops,
    peakRssBytes: Math.max(...results.map((result) => result.peakRssBytes)),
    startRssBytes: Math.max(...results.map((result) => result.startRssBytes)),
    peakTensorBytes: first.peakTensorBytes,
    opsPerStep: first.opsPerStep,
    checkLoss: first.checkLoss,
  };
}

/** Of sorted values. */
function medianOf(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

function checkSameNetwork(isoerg: Figures, peer: Figures): void {
  if (Math.abs(isoerg.checkLoss - peer.checkLoss) <= 1e-4 * Math.max(1, Math.abs(peer.checkLoss))) return;
  throw new IsoergError(
    "ENGINE",
    `isoerg and ${peer.program} do not compute the same network: loss ${isoerg.checkLoss} against ${peer.checkLoss}`,
    {
      hint: "bench/peers/pytorch_step.py must follow src/model",
    },
  );
}

/** With the heap's limits of a worker's training thread. */
function runOurs(folder: string, options: MeasureOptions): Promise<StepResult> {
  const script = fileURLToPath(new URL("./run.js", import.meta.url));
  return runProgram("isoerg", process.execPath, [...trainingProcessFlags, script, folder], {}, options);
}

function runPeer(folder: string, options: MeasureOptions): Promise<StepResult> {
  const script = join(packageRoot, "bench", "peers", "pytorch_step.py");
  const threads = String(options.threads);
  const env = {
    OMP_NUM_THREADS: threads,
    // As our engine has them: threads sleep while they wait, but not at once.
    OMP_WAIT_POLICY: "PASSIVE",
    GOMP_SPINCOUNT: "2000",
    // glibc gives every activation back to the kernel and faults it in again; at its ceiling of 32 MiB it keeps most.
    MALLOC_TRIM_THRESHOLD_: "33554432",
    MALLOC_TOP_PAD_: "33554432",
    MALLOC_MMAP_THRESHOLD_: "33554432",
  };
  return runProgram("the PyTorch peer", options.python, [script, folder], env, options);
}

async function runProgram(
  name: string,
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { signal }: MeasureOptions,
): Promise<StepResult> {
  try {
    const { stdout } = await promisify(execFile)(file, [...args], {
      env: { ...process.env, ...env },
      maxBuffer: 1 << 26,
      ...(signal && { signal }),
    });
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as StepResult;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    const { stderr } = error as { stderr?: string };
    const words = stderr?.trim().split("\n").at(-1) || (error instanceof Error ? error.message : String(error));
    throw new IsoergError("ENGINE", `${name} failed: ${words}`, {
      hint:
        name === "isoerg" ? "run `isoerg doctor`" : `${file} must have torch: apt-get install python3-torch, or name another with --python`,
      cause: error,
    });
  }
}
