/** `isoerg train`: leads a run from this process, with worker processes on this machine. */
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { Command, Option } from "commander";
import { loadConfig } from "../config/load.js";
import { printConfig } from "../config/print.js";
import { checkExposure } from "../security/security.js";
import { IsoergError } from "../util/error.js";
import { addEngineOptions, type EngineFlags } from "./engine-options.js";
import { parseCount, parseNonNegative } from "./numbers.js";
import { addSecurityOptions, type SecurityFlags, securityOf, securityWords } from "./security-options.js";
import { checkExperiment } from "./train/check.js";
import { mergeChildTraces, startChildren } from "./train/children.js";
import { dryRun } from "./train/dry-run.js";
import { dryRunTerminal } from "./train/dry-run-terminal.js";
import { isKeptElsewhere } from "./train/kept-elsewhere.js";
import { leadRun, type RunResult } from "./train/lead.js";
import { enterRunFolder } from "./train/run-folder.js";
import { joinTimeoutOption, type WorkerCount, workersOption } from "./worker-count.js";

interface Flags extends EngineFlags, SecurityFlags {
  readonly workers: WorkerCount;
  readonly minWorkers?: number;
  readonly joinTimeout: number;
  readonly slices: "equal" | "measured";
  readonly run?: string;
  readonly resume?: true;
  readonly listen: string;
  readonly dryRun?: true;
  readonly dryRunLimit: number;
  readonly printConfig?: true;
  readonly metrics?: string;
  readonly trace?: string;
  readonly json?: string;
}

export function trainCommand(): Command {
  const command = new Command("train")
    .description("Train an experiment with worker processes on this machine. The same command again goes on where an unfinished run stood.")
    .argument("<config>", "a ready-made experiment's name, or a YAML file")
    .argument("[settings...]", "key=value, over the file's")
    .addOption(workersOption("worker processes; with MIN:MAX begin with MAX and go on while MIN are left"))
    .option("--min-workers <n>", "go on while so many are left (default: 1, or MIN)", parseCount)
    .addOption(joinTimeoutOption())
    .addOption(slicesOption())
    .option("--run <dir>", "folder for all that the run produces (default: runs/NAME)")
    .option("--resume", "go on where the run stands; a finished run is left as it is")
    .addOption(new Option("--listen <host:port>", "address of the coordinator").default("127.0.0.1:0"))
    .option("--metrics <host:port>", "serve GET /metrics for Prometheus there")
    .option("--trace <file>", "write a timeline of every step, rank by rank, for chrome://tracing or ui.perfetto.dev")
    .option("--dry-run", "show the plan, what a step needs and how long it takes here; write nothing")
    .option(
      "--dry-run-limit <seconds>",
      "how long a dry run may measure: a smaller step, if need be; 0 for estimates alone",
      parseNonNegative,
      20,
    )
    .option("--print-config", "show every setting and where it came from, and end")
    .option("--json <file>", "write how the run ended");
  addEngineOptions(addSecurityOptions(command), "an even share of the cores for each worker").addHelpText(
    "after",
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
        ? Math.max(1, Math.floor(availableParallelism() / flags.workers.expected))
        : flags.threads;
    if (flags.dryRun) {
      const report = dryRunTerminal({ out: process.stdout, error: process.stderr });
      const engine = { ...flags, threads };
      await dryRun({ config, workers: flags.workers.expected, engine, limitSeconds: flags.dryRunLimit, report }).finally(report.end);
      return;
    }
    const limits = limitsOf(flags);
    const security = securityOf(flags, "coordinator");
    checkExposure(`listening on ${flags.listen}`, flags.listen, security, { insecure: flags.insecure === true });
    await checkExperiment(config);
    const runFolder = flags.run ?? `runs/${config.name}`;
    const isKept = await isKeptElsewhere(config, runFolder, { resume: flags.resume === true });
    const entrance = await enterRunFolder(runFolder, config, { resume: flags.resume === true, command: process.argv.slice(2) });
    if (entrance.kind === "finished") {
      process.stderr.write(`${runFolder} is finished: ${entrance.step} steps\n`);
      return;
    }
    const result = await leadRun({
      config,
      runFolder,
      ...limits,
      slices: flags.slices,
      listen: flags.listen,
      security,
      timeouts: { joinMs: 1000 * flags.joinTimeout, rejoinMs: 0 }, // nobody starts new ones here
      resume: entrance.kind === "continue" || isKept,
      metrics: flags.metrics,
      onListening: (coordinator) =>
        startChildren({
          count: limits.workers,
          coordinator: coordinator.address,
          connectTimeout: flags.joinTimeout,
          runFolder,
          engine: flags.engine,
          device: flags.device,
          threads,
          security: securityWords(flags),
          traces: flags.trace !== undefined,
          onExit({ workerId, reason, failed, numLeft }) {
            const hasBegun = coordinator.status().generation > 0;
            if (failed && (!hasBegun || numLeft === 0)) coordinator.fail(`worker ${workerId} ${reason}`);
          },
        }),
    }).catch(chosenPort(flags.listen));
    if (flags.trace !== undefined) mergeChildTraces(runFolder, limits.workers, flags.trace);
    if (flags.json !== undefined) await writeResult(flags.json, result, runFolder);
  });
}

export function slicesOption(): Option {
  return new Option("--slices <how>", "equal parts of each batch for all workers, or parts by measured speed; results are the same")
    .choices(["equal", "measured"])
    .default("equal");
}

/** How many workers a run wants, at least needs and at most takes. @throws IsoergError USAGE */
export function limitsOf({ workers, minWorkers }: { readonly workers: WorkerCount; readonly minWorkers?: number }): {
  workers: number;
  minWorkers: number;
  maxWorkers?: number;
} {
  const min = minWorkers ?? workers.min ?? 1;
  if (min > workers.expected) throw new IsoergError("USAGE", `--min-workers ${min} is more than --workers ${workers.expected}`);
  return { workers: workers.expected, minWorkers: min, ...(workers.max !== null && { maxWorkers: workers.max }) };
}

export async function writeResult(file: string, { runId, outcome, seconds, metrics }: RunResult, runFolder: string): Promise<void> {
  const { kind, reason, code, step, checkpointStep } = outcome;
  await writeFile(
    file,
    `${JSON.stringify({ runId, run: runFolder, outcome: kind, reason, code, step, checkpointStep, seconds, metrics }, null, 2)}\n`,
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
