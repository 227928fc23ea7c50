/**
 * What a lost worker costs a real training: one worker process is killed in the middle, and the survivors' way back to work is timed.
 *
 * Times are the coordinator's own, from metrics.jsonl: a step's line is written when it is committed, and says how long ago it began.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { StepRecord } from "../../src/coordinator/events.js";
import { IsoergError } from "../../src/util/error.js";
import { type TrainOptions, trainCommand } from "./trainings.js";

export interface RecoveryPoint {
  readonly workers: number;
  /** From the kill to the first step of those who are left: noticed, voted void, a new generation formed. */
  readonly recoveryMs: number;
  /** From the last commit to that first step: the step under way is lost as well. */
  readonly stallMs: number;
  readonly numSteps: number;
  /** What the steps would have taken with all workers, as before the kill, over what they took. */
  readonly goodput: number;
}

const POLL_MS = 5;

/** @throws IsoergError ENGINE when the training does not survive. */
export async function measureRecovery(options: TrainOptions): Promise<RecoveryPoint> {
  const { workers, steps, warmupSteps, signal } = options;
  const folder = mkdtempSync(join(tmpdir(), "isoerg-recovery-"));
  const run = join(folder, "run");
  const child = spawn(process.execPath, trainCommand(options, run), { stdio: ["ignore", "ignore", "pipe"] });
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-600);
  });
  const stop = (): void => void child.kill("SIGKILL"); // its workers end with it
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const ended = once(child, "close") as Promise<[number | null]>;
    const killAfter = warmupSteps + Math.floor(steps / 2);
    while (child.exitCode === null && recordsOf(run).length < killAfter) await pause(POLL_MS);
    signal?.throwIfAborted();
    if (child.exitCode !== null) throw new IsoergError("ENGINE", `the training ended before a worker could be killed: ${words.trim()}`);
    const killedAt = Date.now();
    process.kill(pidOf(run, `local-${workers - 1}`), "SIGKILL");
    const [code] = await ended;
    signal?.throwIfAborted();
    if (code !== 0) throw new IsoergError("ENGINE", `the training did not survive the loss of a worker: ${words.trim()}`);
    return recoveryOf(recordsOf(run).slice(warmupSteps), killedAt);
  } finally {
    signal?.removeEventListener("abort", stop);
    if (child.exitCode === null) stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param records of the steps that count, in order, in two generations. @param killedAt milliseconds since the epoch */
export function recoveryOf(records: readonly StepRecord[], killedAt: number): RecoveryPoint {
  const first = records[0] as StepRecord;
  const at = records.findIndex(({ generation }) => generation !== first.generation);
  if (at < 1) throw new IsoergError("ENGINE", "no step was done both before and after the loss of a worker");
  const endOf = ({ time }: StepRecord): number => Date.parse(time);
  const last = records[at - 1] as StepRecord;
  const next = records[at] as StepRecord;
  const began = endOf(next) - next.stepMs;
  const before = records.slice(0, at).map(({ stepMs }) => stepMs);
  const wallMs = endOf(records.at(-1) as StepRecord) - (endOf(first) - first.stepMs);
  const undisturbed = (records.length * before.reduce((sum, ms) => sum + ms, 0)) / before.length;
  return {
    workers: first.worldSize,
    recoveryMs: Math.max(0, began - killedAt),
    stallMs: began - endOf(last),
    numSteps: records.length,
    goodput: undisturbed / wallMs,
  };
}

/** Whole lines only: the last may be under way. */
function recordsOf(run: string): StepRecord[] {
  const file = join(run, "metrics.jsonl");
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as StepRecord);
}

function pidOf(run: string, workerId: string): number {
  const [line = "{}"] = readFileSync(join(run, "logs", `worker-${workerId}.jsonl`), "utf8").split("\n");
  return (JSON.parse(line) as { pid: number }).pid;
}
