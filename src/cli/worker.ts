/** `isoerg worker`: computes for a coordinator until the run ends. It says nothing unless it fails; its log is a file. */
import { randomUUID } from "node:crypto";
import { availableParallelism, hostname } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import pino from "pino";
import { DataPorts } from "../collective/data-ports.js";
import { checkExposure, type Security } from "../security/security.js";
import { errorCodeOf, IsoergError } from "../util/error.js";
import { openHealthServer } from "../wire/health.js";
import type { RunningServer } from "../wire/server.js";
import type { Whereabouts } from "../worker/dialer.js";
import { runWorker } from "../worker/worker.js";
import { addEngineOptions, type EngineFlags } from "./engine-options.js";
import { parseCount, parseNonNegative } from "./numbers.js";
import { addSecurityOptions, type SecurityFlags, securityOf } from "./security-options.js";
import { INTERRUPTED, onStopSignals } from "./stop-signals.js";
import { leaderOf } from "./train/run-folder.js";

interface Flags extends EngineFlags, SecurityFlags {
  readonly coordinator?: string;
  readonly run?: string;
  readonly id?: string;
  readonly ringHost?: string;
  readonly dataPorts?: DataPorts;
  readonly health?: string;
  readonly connectTimeout: number;
  readonly reconnectTimeout: number;
  readonly log?: string;
  readonly trace?: string;
}

export function workerCommand(): Command {
  const command = new Command("worker")
    .description(
      "Compute for a coordinator until its run ends. On SIGTERM this worker hands its part to the others and leaves; a second one ends it at once.",
    )
    .option(
      "--coordinator <host:port>",
      "the coordinator's address, or several with commas: each is tried in turn, names are looked up anew",
    )
    .option(
      "--run <dir>",
      "folder of the run, where its coordinator says its address: for shared storage, and across restarts on other ports",
    )
    .option("--id <name>", "name of this place, the same after a restart (default: the host's name)")
    .option(
      "--ring-host <address>",
      "address of this machine for the other workers (default: loopback beside a local coordinator, else the first of this machine)",
    )
    .option(
      "--data-ports <first-last>",
      "ports that other workers reach this one by, about 16 of them (default: any that are free)",
      parsePorts,
    )
    .option("--health <host:port>", "serve grpc.health.v1 there, unencrypted: a probe that finds whether this process still answers")
    .option("--connect-timeout <s>", "seconds to wait for the coordinator", parseCount, 60)
    .option(
      "--reconnect-timeout <s>",
      "seconds to look for a coordinator that was lost, keeping what this worker has; 0 to end with it",
      parseNonNegative,
      600,
    )
    .option("--log <file>", "append what happens as JSON lines")
    .option("--trace <file>", "write a timeline of every step, for chrome://tracing or ui.perfetto.dev");
  return addEngineOptions(addSecurityOptions(command))
    .addHelpText(
      "after",
      `\nThis machine has ${availableParallelism()} cores.\n\nExample:\n  $ isoerg worker --coordinator 10.0.0.5:7070 --engine torch --device cuda:0`,
    )
    .action(async (flags: Flags) => {
      const security = securityOf(flags, "worker");
      const whereabouts = whereaboutsOf(flags, security);
      const workerId = flags.id ?? hostname();
      const logFile = flags.log === undefined ? undefined : pino.destination({ dest: flags.log, sync: true, append: true, mkdir: true });
      const log = logFile ? pino({ base: { worker: workerId, pid: process.pid } }, logFile) : pino({ enabled: false });
      const wish = new AbortController();
      const forget = onStopSignals({ first: () => wish.abort(), second: () => process.exit(INTERRUPTED) });
      let health: RunningServer | undefined;
      try {
        if (flags.health !== undefined) health = await openHealthServer(flags.health, () => "SERVING");
        const stop = await runWorker({
          whereabouts,
          workerId,
          incarnation: randomUUID(),
          engine: { engine: flags.engine, device: flags.device, threads: flags.threads },
          security,
          ...(flags.ringHost !== undefined && { ringHost: flags.ringHost }),
          ...(flags.dataPorts !== undefined && { dataPorts: flags.dataPorts }),
          connectTimeoutMs: 1000 * flags.connectTimeout,
          reconnectTimeoutMs: 1000 * flags.reconnectTimeout,
          ...(flags.trace !== undefined && { trace: flags.trace }),
          signal: wish.signal,
          log,
        });
        if (wish.signal.aborted) throw new IsoergError("TERMINATED", `left in order: ${stop.reason}`);
        if (stop.outcome === "failed")
          throw new IsoergError(errorCodeOf(stop.code, "STOPPED"), `the run ended for this worker: ${stop.reason}`);
      } finally {
        forget();
        await health?.close(0);
        logFile?.end();
      }
    });
}

/** @throws IsoergError USAGE where neither an address nor a folder is given. */
function whereaboutsOf({ coordinator, run, ringHost, insecure }: Flags, security: Security): Whereabouts {
  const named = (coordinator ?? "").split(",").filter((address) => address !== "");
  const strange = named.find((address) => !/^.+:\d+$/.test(address));
  if (strange !== undefined) throw new IsoergError("USAGE", `--coordinator ${strange} is not HOST:PORT`);
  if (named.length === 0 && run === undefined) {
    throw new IsoergError("USAGE", "whose worker? Give --coordinator HOST:PORT or --run DIR");
  }
  const check = (address: string): void => checkExposure(`computing for ${address}`, address, security, { insecure: insecure === true });
  for (const address of named) check(address);
  if (ringHost !== undefined) {
    checkExposure(`listening on ${ringHost} for other workers`, ringHost, security, { insecure: insecure === true });
  }
  return async () => {
    const announced = run === undefined ? null : await leaderOf(run).catch(() => null);
    if (announced !== null) check(announced);
    return announced === null ? named : [announced, ...named];
  };
}

/** `7100-7115`. @throws InvalidArgumentError */
export function parsePorts(text: string): DataPorts {
  const found = /^(\d+)-(\d+)$/.exec(text);
  const [first, last] = [Number(found?.[1]), Number(found?.[2])];
  if (!found || first < 1 || last < first || last > 65_535) throw new InvalidArgumentError("give FIRST-LAST, as in 7100-7115.");
  return new DataPorts(first, last);
}
