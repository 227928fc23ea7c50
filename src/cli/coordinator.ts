/** `isoerg coordinator`: leads a run whose workers are started elsewhere. */
import { Command } from "commander";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/schema.js";
import { readRunConfig } from "../evaluate/run-folder.js";
import { checkExposure } from "../security/security.js";
import { IsoergError } from "../util/error.js";
import { parseCount, parseNonNegative } from "./numbers.js";
import { addSecurityOptions, type SecurityFlags, securityOf } from "./security-options.js";
import { checkExperiment } from "./train/check.js";
import { isKeptElsewhere } from "./train/kept-elsewhere.js";
import { leadRun } from "./train/lead.js";
import { enterRunFolder } from "./train/run-folder.js";
import { chosenPort, limitsOf, slicesOption, writeResult } from "./train.js";
import { joinTimeoutOption, type WorkerCount, workersOption } from "./worker-count.js";

interface Flags extends SecurityFlags {
  readonly listen: string;
  readonly run: string;
  readonly workers: WorkerCount;
  readonly minWorkers?: number;
  readonly joinTimeout: number;
  readonly rejoinTimeout: number;
  readonly returnTimeout: number;
  readonly slices: "equal" | "measured";
  readonly resume?: true;
  readonly metrics?: string;
  readonly health?: string;
  readonly json?: string;
}

export function coordinatorCommand(): Command {
  const command = new Command("coordinator")
    .description("Lead a run whose workers are on other machines: each is started with `isoerg worker --coordinator HOST:PORT`.")
    .argument("[config]", "a ready-made experiment's name, or a YAML file (with --resume: the run's own)")
    .argument("[settings...]", "key=value, over the file's")
    .option("--listen <host:port>", "address that workers connect to; 127.0.0.1 for this machine only", "127.0.0.1:0")
    .requiredOption("--run <dir>", "folder for all that the run produces")
    .addOption(workersOption("wait for so many before the first step; with MIN:MAX go on with MIN, and let no more than MAX in"))
    .option("--min-workers <n>", "go on while so many are left (default: 1, or MIN)", parseCount)
    .addOption(joinTimeoutOption())
    .option(
      "--rejoin-timeout <s>",
      "seconds that a run below its minimum waits for new workers, before it saves and ends with 75",
      parseNonNegative,
      600,
    )
    .option(
      "--return-timeout <s>",
      "seconds that a run which is taken up again waits for workers that may still hold its state",
      parseNonNegative,
      30,
    )
    .addOption(slicesOption())
    .option("--metrics <host:port>", "serve GET /metrics for Prometheus there")
    .option("--health <host:port>", "serve grpc.health.v1 there as well, unencrypted, for probes that can't do TLS")
    .option("--resume", "go on where the run stands, with the workers that wait for it; a finished run is left as it is")
    .option("--json <file>", "write how the run ended");
  return addSecurityOptions(command)
    .addHelpText(
      "after",
      "\nWithout --tls traffic is plaintext, which only --insecure lets leave this machine.\n\nExample:\n  $ isoerg certs make --out certs --host 10.0.0.5\n  $ isoerg coordinator jdat --listen 10.0.0.5:7070 --tls certs --workers 4:8 --run runs/jdat\n  $ isoerg coordinator --run runs/jdat --resume --listen 10.0.0.5:7070 --tls certs",
    )
    .action(async (source: string | undefined, settings: string[], flags: Flags) => {
      const config = source === undefined ? ownConfig(flags) : loadConfig({ source, overrides: settings }).config;
      if (!/^.+:\d+$/.test(flags.listen)) throw new IsoergError("USAGE", `--listen ${flags.listen} is not HOST:PORT`);
      const security = securityOf(flags, "coordinator");
      checkExposure(`listening on ${flags.listen}`, flags.listen, security, { insecure: flags.insecure === true });
      await checkExperiment(config);
      const isKept = await isKeptElsewhere(config, flags.run, { resume: flags.resume === true });
      const entrance = await enterRunFolder(flags.run, config, { resume: flags.resume === true, command: process.argv.slice(2) });
      if (entrance.kind === "finished") {
        process.stderr.write(`${flags.run} is finished: ${entrance.step} steps\n`);
        return;
      }
      const result = await leadRun({
        config,
        runFolder: flags.run,
        ...limitsOf(flags),
        slices: flags.slices,
        listen: flags.listen,
        security,
        timeouts: { joinMs: 1000 * flags.joinTimeout, rejoinMs: 1000 * flags.rejoinTimeout, returnMs: 1000 * flags.returnTimeout },
        resume: entrance.kind === "continue" || isKept,
        metrics: flags.metrics,
        health: flags.health,
        onListening({ address }) {
          process.stderr.write(`waiting for ${flags.workers.expected} workers: isoerg worker --coordinator ${address}\n`);
          return { ended: async () => {} };
        },
      }).catch(chosenPort(flags.listen));
      if (flags.json !== undefined) await writeResult(flags.json, result, flags.run);
    });
}

/** The configuration that a run began with. @throws IsoergError USAGE where that isn't what was asked for. */
function ownConfig({ run, resume }: Flags): Config {
  if (!resume) throw new IsoergError("USAGE", "which experiment? Give its name or file, or --resume for that of the run");
  return readRunConfig(run);
}
