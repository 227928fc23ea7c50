/** `isoerg train`: leads a run from this process, with worker processes on this machine. */
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { Command, Option } from "commander";
import { loadConfig } from "../config/load.js";
import { printConfig } from "../config/print.js";
import { IsoergError } from "../util/error.js";
import { addEngineOptions, type EngineFlags, parseCount } from "./engine-options.js";
import { checkExperiment } from "./train/check.js";
import { startChildren } from "./train/children.js";
import { dryRun } from "./train/dry-run.js";
import { leadRun, type RunResult } from "./train/lead.js";
import { enterRunFolder } from "./train/run-folder.js";

interface Flags extends EngineFlags {
  readonly workers: number;
  readonly minWorkers: number;
  readonly run?: string;
  readonly resume?: true;
  readonly listen: string;
  readonly dryRun?: true;
  readonly printConfig?: true;
  readonly metrics?: string;
  readonly json?: string;
}

export function trainCommand(): Command {
  const command = new Command("train")
    .description("Train an experiment with worker processes on this machine. The same command again goes on where an unfinished run stood.")
    .argument("<config>", "a ready-made experiment's name, or a YAML file")
    .argument("[settings...]", "key=value, over the file's")
    .option("--workers <n>", "worker processes", parseCount, 1)
    .option("--min-workers <n>", "go on while so many are left", parseCount, 1)
    .option("--run <dir>", "folder for all that the run produces (default: runs/NAME)")
    .option("--resume", "go on where the run stands; a finished run is left as it is")
    .addOption(new Option("--listen <host:port>", "address of the coordinator").default("127.0.0.1:0"))
    .option("--metrics <host:port>", "serve GET /metrics for Prometheus there")
    .option("--dry-run", "show the plan, compute one step here, write nothing")
    .option("--print-config", "show every setting and where it came from, and end")
    .option("--json <file>", "write how the run ended");
  addEngineOptions(command).addHelpText(
    "after",
    "\nWithout --threads the workers share the cores evenly.\n" +
      "\nExample:\n  $ isoerg train quickstart --workers 2 --run runs/quickstart\n  $ isoerg train jdat data.batchSize=256 --run runs/large --dry-run",
  );
  return command.action(async (source: string, settings: string[], flags: Flags) => {
    const loaded = loadConfig({ source, overrides: settings });
    const { config } = loaded;
    if (flags.printConfig) {
      process.stdout.write(printConfig(loaded));
      return;
    }
    const threads =
      command.getOptionValueSource("threads") === "default"
        ? Math.max(1, Math.floor(availableParallelism() / flags.workers))
        : flags.threads;
    if (flags.dryRun) {
      process.stdout.write(await dryRun({ config, workers: flags.workers, engine: { ...flags, threads } }));
      return;
    }
    if (flags.minWorkers > flags.workers) {
      throw new IsoergError("USAGE", `--min-workers ${flags.minWorkers} is more than --workers ${flags.workers}`);
    }
    await checkExperiment(config);
    const runFolder = flags.run ?? `runs/${config.name}`;
    const entrance = await enterRunFolder(runFolder, config, { resume: flags.resume === true, command: process.argv.slice(2) });
    if (entrance.kind === "finished") {
      process.stderr.write(`${runFolder} is finished: ${entrance.step} steps\n`);
      return;
    }
    const result = await leadRun({
      config,
      runFolder,
      workers: flags.workers,
      minWorkers: flags.minWorkers,
      listen: flags.listen,
      rejoinMs: 0, // nobody starts new ones here
      resume: entrance.kind === "continue",
      metrics: flags.metrics,
      onListening: (coordinator) =>
        startChildren({
          count: flags.workers,
          coordinator: coordinator.address,
          runFolder,
          engine: flags.engine,
          device: flags.device,
          threads,
          onExit({ workerId, reason, failed, numLeft }) {
            const hasBegun = coordinator.status().generation > 0;
            if (failed && (!hasBegun || numLeft < flags.minWorkers)) coordinator.fail(`worker ${workerId} ${reason}`);
          },
        }),
    }).catch(chosenPort(flags.listen));
    if (flags.json !== undefined) await writeResult(flags.json, result, runFolder);
  });
}

export async function writeResult(file: string, { runId, outcome, seconds, metrics }: RunResult, runFolder: string): Promise<void> {
  const { kind, reason, step, checkpointStep } = outcome;
  await writeFile(
    file,
    `${JSON.stringify({ runId, run: runFolder, outcome: kind, reason, step, checkpointStep, seconds, metrics }, null, 2)}\n`,
  );
}

/** A port that the user chose and that is taken is a mistake in the command line. */
export function chosenPort(listen: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof IsoergError && error.code === "NETWORK" && error.message.includes(listen) && !listen.endsWith(":0")) {
      throw new IsoergError("USAGE", error.message, { cause: error, ...(error.hint !== undefined && { hint: error.hint }) });
    }
    throw error;
  };
}
