/**
 * Chunks of an evaluation computed by several processes on this machine. Each takes the next chunk as soon as it has finished one;
 * what a chunk comes to does not depend on who computes it. All are gone when this returns or throws.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { Chunk } from "../../evaluate/robustness/chunk.js";
import type { ChunkEvents, ComputeChunks, RobustnessJob } from "../../evaluate/robustness/chunk-runner.js";
import { type ErrorCode, IsoergError } from "../../util/error.js";
import { packageRoot } from "../../util/package.js";

export type ToProcess = { readonly kind: "job"; readonly job: RobustnessJob } | { readonly kind: "chunk"; readonly from: number };

export type FromProcess =
  | { readonly kind: "ready" }
  | { readonly kind: "saved"; readonly chunk: Chunk }
  | { readonly kind: "task"; readonly from: number; readonly id: string }
  | { readonly kind: "passes"; readonly from: number; readonly cost: number }
  | { readonly kind: "done"; readonly from: number }
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string; readonly hint?: string };

const LAST_WORDS = 2_000; // characters

export function onProcesses(numProcesses: number): ComputeChunks {
  return (job, pending, events, signal) =>
    new Promise((resolve, reject) => {
      const queue = [...pending];
      const children = new Set<ChildProcess>();
      let numLeft = queue.length;
      let ended = false;
      const end = (error?: unknown): void => {
        if (ended) return;
        ended = true;
        signal?.removeEventListener("abort", onAbort);
        // Whatever a process was at, the last whole state of its chunk is on disk.
        for (const child of children) child.kill("SIGKILL");
        if (error === undefined) resolve();
        else reject(error);
      };
      const onAbort = (): void => end(signal?.reason);
      if (signal?.aborted) return end(signal.reason);
      signal?.addEventListener("abort", onAbort);

      const count = Math.min(numProcesses, queue.length);
      for (let i = 0; i < count; i++) {
        const child = start(job, i);
        children.add(child);
        const say = (message: ToProcess): void => void child.send(message, (error) => error && end(error));
        const next = (): void => {
          const from = queue.shift();
          if (from !== undefined) say({ kind: "chunk", from });
        };
        let lastWords = "";
        child.stderr?.setEncoding("utf8").on("data", (text: string) => {
          lastWords = (lastWords + text).slice(-LAST_WORDS);
        });
        child.on("message", (message: FromProcess) => {
          if (ended) return;
          if (message.kind === "ready") next();
          else if (message.kind === "done") {
            numLeft--;
            if (numLeft === 0) end();
            else next();
          } else if (message.kind === "failed") {
            end(new IsoergError(message.code, message.message, message.hint === undefined ? {} : { hint: message.hint }));
          } else tell(events, message);
        });
        child.once("error", (cause) =>
          end(new IsoergError("ENGINE", `a process of the evaluation could not be started: ${cause.message}`, { cause })),
        );
        child.once("close", (code, how) => {
          children.delete(child);
          const words = lastWords.trim();
          end(
            new IsoergError(
              "ENGINE",
              `a process of the evaluation ${how ? `was killed by ${how}` : `ended with ${code}`}${words ? `: ${words}` : ""}`,
              {
                hint: "Start the same command again: what was finished is kept. With less memory, take fewer --workers.",
              },
            ),
          );
        });
        say({ kind: "job", job: { ...job, engine: { ...job.engine, device: deviceOf(job.engine.device, i) } } });
      }
    });
}

function start(job: RobustnessJob, index: number): ChildProcess {
  const program = join(packageRoot, "dist", "src", "cli", "evaluate", "chunk-process.js");
  return spawn(process.execPath, [program, String(index)], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    env: { OMP_NUM_THREADS: String(job.engine.threads), ...process.env },
  });
}

function tell(events: ChunkEvents, message: Extract<FromProcess, { kind: "saved" | "task" | "passes" }>): void {
  if (message.kind === "saved") events.onSaved?.(message.chunk);
  else if (message.kind === "task") events.onTask?.(message.from, message.id);
  else events.onPasses?.(message.from, message.cost);
}

/** `cuda` stands for one GPU a process. */
function deviceOf(device: string, index: number): string {
  return device === "cuda" ? `cuda:${index}` : device;
}
