/** `isoerg worker`: computes for a coordinator until the run ends. It says nothing unless it fails; its log is a file. */
import { randomUUID } from "node:crypto";
import { availableParallelism, hostname } from "node:os";
import { Command } from "commander";
import pino from "pino";
import { IsoergError } from "../util/error.js";
import { runWorker } from "../worker/worker.js";
import { addEngineOptions, type EngineFlags, parseCount } from "./engine-options.js";

interface Flags extends EngineFlags {
  readonly coordinator: string;
  readonly id?: string;
  readonly ringHost?: string;
  readonly connectTimeout: number;
  readonly log?: string;
}

/** Exit status of a process that was interrupted twice. */
const INTERRUPTED = 130;

export function workerCommand(): Command {
  const command = new Command("worker")
    .description(
      "Compute for a coordinator until its run ends. SIGTERM asks the coordinator to save and end the run; a second one ends this process.",
    )
    .requiredOption("--coordinator <host:port>", "the coordinator's address")
    .option("--id <name>", "name of this place, the same after a restart (default: the host's name)")
    .option(
      "--ring-host <address>",
      "address of this machine for the other workers (default: loopback beside a local coordinator, else the first of this machine)",
    )
    .option("--connect-timeout <s>", "seconds to wait for the coordinator", parseCount, 60)
    .option("--log <file>", "append what happens as JSON lines");
  return addEngineOptions(command)
    .addHelpText(
      "after",
      `\nThis machine has ${availableParallelism()} cores.\n\nExample:\n  $ isoerg worker --coordinator 10.0.0.5:7070 --engine torch --device cuda:0`,
    )
    .action(async (flags: Flags) => {
      const workerId = flags.id ?? hostname();
      const logFile = flags.log === undefined ? undefined : pino.destination({ dest: flags.log, sync: true, append: true, mkdir: true });
      const log = logFile ? pino({ base: { worker: workerId, pid: process.pid } }, logFile) : pino({ enabled: false });
      const wish = new AbortController();
      const onSignal = (): void => {
        if (wish.signal.aborted) process.exit(INTERRUPTED);
        wish.abort();
      };
      process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
      try {
        const stop = await runWorker({
          coordinator: flags.coordinator,
          workerId,
          incarnation: randomUUID(),
          engine: { engine: flags.engine, device: flags.device, threads: flags.threads },
          ...(flags.ringHost !== undefined && { ringHost: flags.ringHost }),
          connectTimeoutMs: 1000 * flags.connectTimeout,
          signal: wish.signal,
          log,
        });
        if (stop.outcome === "failed") throw new IsoergError("STOPPED", `the run ended for this worker: ${stop.reason}`);
      } finally {
        process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
        logFile?.end();
      }
    });
}
