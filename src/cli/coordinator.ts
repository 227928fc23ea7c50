/** `isoerg coordinator`: leads a run whose workers are started elsewhere. */
import { Command } from "commander";
import { loadConfig } from "../config/load.js";
import { IsoergError } from "../util/error.js";
import { parseCount } from "./engine-options.js";
import { checkExperiment } from "./train/check.js";
import { leadRun } from "./train/lead.js";
import { enterRunFolder } from "./train/run-folder.js";
import { chosenPort, writeResult } from "./train.js";

interface Flags {
  readonly listen: string;
  readonly run: string;
  readonly workers: number;
  readonly minWorkers: number;
  readonly rejoinTimeout: number;
  readonly resume?: true;
  readonly metrics?: string;
  readonly json?: string;
}

export function coordinatorCommand(): Command {
  return new Command("coordinator")
    .description("Lead a run whose workers are on other machines: each is started with `isoerg worker --coordinator HOST:PORT`.")
    .argument("<config>", "a ready-made experiment's name, or a YAML file")
    .argument("[settings...]", "key=value, over the file's")
    .requiredOption("--listen <host:port>", "address that workers connect to; 127.0.0.1 for this machine only")
    .requiredOption("--run <dir>", "folder for all that the run produces")
    .option("--workers <n>", "wait for so many before the first step", parseCount, 1)
    .option("--min-workers <n>", "go on while so many are left", parseCount, 1)
    .option("--rejoin-timeout <s>", "seconds that a run below its minimum waits for new workers", parseCount, 600)
    .option("--metrics <host:port>", "serve GET /metrics for Prometheus there")
    .option("--resume", "go on where the run stands; a finished run is left as it is")
    .option("--json <file>", "write how the run ended")
    .addHelpText(
      "after",
      "\nTraffic is not encrypted: listen on networks that you trust.\n\nExample:\n  $ isoerg coordinator jdat --listen 10.0.0.5:7070 --workers 8 --run runs/jdat",
    )
    .action(async (source: string, settings: string[], flags: Flags) => {
      const { config } = loadConfig({ source, overrides: settings });
      if (!/^.+:\d+$/.test(flags.listen)) throw new IsoergError("USAGE", `--listen ${flags.listen} is not HOST:PORT`);
      await checkExperiment(config);
      const entrance = await enterRunFolder(flags.run, config, { resume: flags.resume === true, command: process.argv.slice(2) });
      if (entrance.kind === "finished") {
        process.stderr.write(`${flags.run} is finished: ${entrance.step} steps\n`);
        return;
      }
      const result = await leadRun({
        config,
        runFolder: flags.run,
        workers: flags.workers,
        minWorkers: flags.minWorkers,
        listen: flags.listen,
        rejoinMs: 1000 * flags.rejoinTimeout,
        resume: entrance.kind === "continue",
        metrics: flags.metrics,
        onListening({ address }) {
          process.stderr.write(`waiting for ${flags.workers} workers: isoerg worker --coordinator ${address}\n`);
          return { ended: async () => {} };
        },
      }).catch(chosenPort(flags.listen));
      if (flags.json !== undefined) await writeResult(flags.json, result, flags.run);
    });
}
