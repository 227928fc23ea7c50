/**
 * Worker processes on this machine: started with a fair share of its cores, their last words kept, all of them gone when
 * the run is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { packageRoot } from "../../util/package.js";
import { mergeTraces } from "../../worker/trace.js";

export interface ChildrenOptions {
  readonly count: number;
  readonly coordinator: string;
  /** Seconds that each looks for it, once its engine has started. */
  readonly connectTimeout: number;
  readonly runFolder: string;
  readonly engine: string;
  readonly device: string;
  /** Of each. */
  readonly threads: number;
  /** Options that protect its traffic. */
  readonly security: readonly string[];
  /** Whether each writes a timeline into the run's folder. */
  readonly traces?: boolean;
  /** A worker process ended. */
  readonly onExit: (exit: ChildExit) => void;
}

export interface ChildExit {
  readonly workerId: string;
  /** For people: how it ended, and its last words if it failed. */
  readonly reason: string;
  readonly failed: boolean;
  /** Worker processes that are left. */
  readonly numLeft: number;
}

export interface Children {
  readonly pids: readonly number[];
  /** Waits until all have ended; after `graceMs` they are killed. */
  ended(graceMs: number): Promise<void>;
}

/** Where a worker of this machine writes its timeline. */
function traceOf(runFolder: string, workerId: string): string {
  return resolve(runFolder, "trace", `${workerId}.json`);
}

/** Puts the timelines of workers of this machine side by side in one file. */
export function mergeChildTraces(runFolder: string, count: number, into: string): void {
  const paths = Array.from({ length: count }, (_, i) => traceOf(runFolder, `local-${i}`));
  mergeTraces(paths.filter(existsSync), into);
}

const LAST_WORDS = 2_000; // characters

export function startChildren(options: ChildrenOptions): Children {
  const program = join(packageRoot, "dist", "src", "main.js");
  const living = new Set<ChildProcess>();
  const exits: Promise<void>[] = [];
  for (let i = 0; i < options.count; i++) {
    const workerId = `local-${i}`;
    const words = ["worker", "--coordinator", options.coordinator, "--id", workerId];
    words.push("--connect-timeout", String(Math.max(1, options.connectTimeout)));
    words.push("--reconnect-timeout", "0"); // they end with this process
    words.push("--engine", options.engine, "--device", deviceOf(options.device, i), "--threads", String(options.threads));
    words.push("--log", resolve(options.runFolder, "logs", `worker-${workerId}.jsonl`));
    words.push(...options.security);
    if (options.traces) words.push("--trace", traceOf(options.runFolder, workerId));
    const child = spawn(process.execPath, [program, ...words], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { OMP_NUM_THREADS: String(options.threads), ...process.env },
    });
    living.add(child);
    let lastWords = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      lastWords = (lastWords + text).slice(-LAST_WORDS);
    });
    exits.push(
      new Promise((done) => {
        const gone = (how: string, failed: boolean): void => {
          if (!living.delete(child)) return;
          const words = lastWords.trim();
          options.onExit({ workerId, reason: failed && words !== "" ? `${how}: ${words}` : how, failed, numLeft: living.size });
          done();
        };
        child.once("error", (error) => gone(`could not be started: ${error.message}`, true));
        child.once("close", (code, signal) => gone(signal === null ? `ended with ${code}` : `was killed by ${signal}`, code !== 0));
      }),
    );
  }
  return {
    pids: [...living].flatMap(({ pid }) => pid ?? []),
    async ended(graceMs) {
      const timer = setTimeout(() => {
        for (const child of living) child.kill("SIGKILL");
      }, graceMs);
      await Promise.all(exits);
      clearTimeout(timer);
    },
  };
}

/** `cuda` stands for one GPU a worker. */
function deviceOf(device: string, index: number): string {
  return device === "cuda" ? `cuda:${index}` : device;
}
