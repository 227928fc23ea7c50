/** `isoerg slurm render`: an experiment as an sbatch script, to be read, kept and submitted. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Command } from "commander";
import { loadConfig } from "../config/load.js";
import { slurmOptions } from "../launch/slurm/options.js";
import { renderSlurm } from "../launch/slurm/script.js";
import { parseGpus } from "./k8s/options.js";
import { parseCount, parseNatural } from "./numbers.js";

interface Flags {
  readonly name?: string;
  readonly run?: string;
  readonly program?: string;
  readonly nodes: number;
  readonly gpus: number;
  readonly cpus: number;
  readonly memory?: number;
  readonly minWorkers: number;
  readonly time?: string;
  readonly partition?: string;
  readonly account?: string;
  readonly qos?: string;
  readonly gracePeriod: number;
  readonly maxRequeues: number;
  readonly maxRestarts: number;
  readonly out?: string;
}

export function slurmCommand(): Command {
  const render = new Command("render")
    .description("Write a run as an sbatch script: coordinator on the first node, a worker for each GPU (or node) by srun.")
    .argument("<config>", "a ready-made experiment's name, or a YAML file")
    .argument("[settings...]", "key=value, over the file's")
    .option("--name <name>", "name of the job (default: the experiment's)")
    .option("--run <dir>", "folder of the run, on storage that all nodes share (default: runs/NAME)")
    .option("--program <command>", "isoerg on the nodes", "isoerg")
    .option("--nodes <n>", "nodes", parseCount, 2)
    .option("--gpus <n>", "GPUs of a node, each with a worker; 0 for a worker a node on its CPU", parseGpus, 0)
    .option("--cpus <n>", "cores of a worker", parseCount, 4)
    .option("--memory <mib>", "MiB of memory of a worker (default: the cluster's)", parseCount)
    .option("--min-workers <n>", "go on while so many workers are left", parseCount, 1)
    .option("--time <limit>", "as sbatch takes it, 12:00:00: the job saves before, and is queued again (default: the partition's)")
    .option("--partition <name>", "partition of the job (default: the cluster's)")
    .option("--account <name>", "account that the job is charged to")
    .option("--qos <name>", "quality of service of the job")
    .option("--grace-period <s>", "seconds before the end of its time at which the job is told", parseNatural, 180)
    .option("--max-requeues <n>", "how often the job is queued again by itself", parseNatural, 20)
    .option("--max-restarts <n>", "how often each worker that dies is started again within the job", parseNatural, 5)
    .option("--out <file>", "write it there (default: to the terminal)")
    .addHelpText(
      "after",
      "\nisoerg and the run's folder are at the same places on all nodes. A plain data.path is read on the first node, s3:// and file:/// on all;" +
        "\ncredentials of a bucket are those of whoever submits the job." +
        "\n\nExample:\n  $ isoerg slurm render jdat --nodes 4 --gpus 8 --time 12:00:00 --partition gpu --out jdat.sbatch\n  $ sbatch jdat.sbatch",
    )
    .action((source: string, settings: string[], flags: Flags) => {
      const { config } = loadConfig({ source, overrides: settings });
      const { name, run, program, memory, time, partition, account, qos, gracePeriod, out, ...sizes } = flags;
      const options = slurmOptions({
        ...sizes,
        name: name ?? config.name,
        program: (program ?? "isoerg").trim().split(/\s+/),
        graceSeconds: gracePeriod,
        ...(run !== undefined && { run }),
        ...(memory !== undefined && { memoryMiB: memory }),
        ...(time !== undefined && { time }),
        ...(partition !== undefined && { partition }),
        ...(account !== undefined && { account }),
        ...(qos !== undefined && { qos }),
      });
      const script = renderSlurm(config, options);
      if (out === undefined) {
        process.stdout.write(script);
        return;
      }
      mkdirSync(dirname(out), { recursive: true });
      writeFileSync(out, script, { mode: 0o755 });
      process.stderr.write(`wrote ${out}; submit it with: sbatch ${out}\n`);
    });
  return new Command("slurm")
    .description("Runs under Slurm.")
    .addCommand(render)
    .addHelpText("after", "\nExample:\n  $ isoerg slurm render jdat --nodes 4 --gpus 8 --out jdat.sbatch");
}
