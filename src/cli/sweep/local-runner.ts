/** Runs a sweep's jobs as processes on this machine: one process for each seed of a job, one after the other. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Config } from "../../config/schema.js";
import type { EngineOptions } from "../../engine/engine.js";
import type { Job, Result } from "../../sweep/job.js";
import type { Runner } from "../../sweep/runner.js";
import type { Point } from "../../sweep/space.js";
import type { SweepSpec } from "../../sweep/spec.js";
import { replySchema, requestOf, resultOf, type TrialReply, type TrialRequest } from "../../sweep/trial/request.js";

export interface LocalRunnerOptions {
  readonly spec: SweepSpec;
  readonly folder: string;
  /** The experiment with a point's settings and a seed in it. */
  readonly configOf: (point: Point, seed: number) => Config;
  readonly engine: EngineOptions;
  readonly onStep?: (job: Job, step: number, total: number) => void;
}

const PROGRAM = fileURLToPath(new URL("./trial-process.js", import.meta.url));
const END_WITHIN_MS = 5_000;

export function createLocalRunner(options: LocalRunnerOptions): Runner {
  const { spec } = options;
  const { engine: name, device } = options.engine;
  const engine = { engine: name, device, threads: spec.threads };
  return {
    run: ({ job, source }, signal): Promise<Result> =>
      resultOf(spec, (seed) =>
        runProcess(requestOf({ ...options, engine }, job, source ?? job, seed), signal, (step, total) =>
          options.onStep?.(job, step, total),
        ),
      ),
  };
}

/** One process from its request to its last word; a process that ends without one has failed. */
function runProcess(request: TrialRequest, signal: AbortSignal, onStep: (step: number, total: number) => void): Promise<TrialReply> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = fork(PROGRAM, { stdio: ["ignore", "ignore", "pipe", "ipc"] });
    let answer: TrialReply | undefined;
    let lastWords = "";
    child.stderr?.on("data", (text: Buffer) => {
      lastWords = `${lastWords}${text}`.slice(-2000);
    });
    let kill: NodeJS.Timeout | undefined;
    const stop = (): void => {
      child.kill("SIGTERM");
      kill = setTimeout(() => child.kill("SIGKILL"), END_WITHIN_MS); // a training thread that computes hears no signal
    };
    signal.addEventListener("abort", stop, { once: true });
    child.on("message", (message) => {
      const reply = replySchema.parse(message);
      if (reply.kind === "step") onStep(reply.step, reply.total);
      else answer = reply;
    });
    child.on("error", reject);
    child.on("close", (code, killedBy) => {
      clearTimeout(kill);
      signal.removeEventListener("abort", stop);
      if (signal.aborted) reject(signal.reason);
      else
        resolve(
          answer ?? {
            kind: "failed",
            reason: [`its process ended with ${killedBy ?? code}`, ...lastWords.trim().split("\n").slice(-1)]
              .filter((part) => part !== "")
              .join(": "),
            how: "broke",
          },
        );
    });
    child.send(request);
  });
}
