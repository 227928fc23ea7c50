/** What a run under Slurm is rendered from, beside its experiment. Checked once; the script may rely on words that no shell reads. */
import { IsoergError } from "../../util/error.js";

export interface SlurmOptions {
  /** Of the job. */
  readonly name: string;
  /** Folder of the run, on storage that all nodes share. */
  readonly run: string;
  /** isoerg on the nodes: command and first words. */
  readonly program: readonly string[];
  readonly nodes: number;
  /** GPUs of a node, each with a worker; 0 for CPU nodes, with one worker each. */
  readonly gpus: number;
  /** Cores of a worker. */
  readonly cpus: number;
  /** MiB of memory of a worker; null for the cluster's default. */
  readonly memoryMiB: number | null;
  /** The run goes on while so many workers are left. */
  readonly minWorkers: number;
  /** As --time takes it; null for the partition's default. */
  readonly time: string | null;
  readonly partition: string | null;
  readonly account: string | null;
  readonly qos: string | null;
  /** Between the notice of the end and the end. */
  readonly graceSeconds: number;
  /** How often the job queues again by itself. */
  readonly maxRequeues: number;
  /** How often each worker that dies is started again within the job. */
  readonly maxRestarts: number;
  /** Before the first of them; it doubles with each. */
  readonly restartPauseSeconds: number;
}

const MAX_NAME = 60;

/** @throws IsoergError USAGE that names what can't be used */
export function slurmOptions(given: Partial<SlurmOptions> & Pick<SlurmOptions, "name">): SlurmOptions {
  const options: SlurmOptions = {
    run: `runs/${given.name}`,
    program: ["isoerg"],
    nodes: 2,
    gpus: 0,
    cpus: 4,
    memoryMiB: null,
    minWorkers: 1,
    time: null,
    partition: null,
    account: null,
    qos: null,
    graceSeconds: 180,
    maxRequeues: 20,
    maxRestarts: 5,
    restartPauseSeconds: 5,
    ...given,
  };
  const refuse = (message: string): never => {
    throw new IsoergError("USAGE", message);
  };
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(options.name) || options.name.length > MAX_NAME)
    refuse(`'${options.name}' can't be the name of a job: letters, digits, '.', '_' and '-', ${MAX_NAME} at most`);
  for (const [flag, word] of [
    ["--partition", options.partition],
    ["--account", options.account],
    ["--qos", options.qos],
  ] as const)
    if (word !== null && !/^[A-Za-z0-9][A-Za-z0-9._,-]*$/.test(word)) refuse(`${flag} '${word}' is no name of Slurm's`);
  if (options.time !== null && !/^(\d+-)?\d+(:\d+){0,2}$/.test(options.time))
    refuse(`--time ${options.time} is none of MINUTES, HOURS:MINUTES:SECONDS and DAYS-HOURS:MINUTES:SECONDS`);
  if (/[\n\r]/.test(options.run + options.program.join(""))) refuse("--run and --program are one line each");
  if (options.minWorkers > numWorkers(options))
    refuse(`--min-workers ${options.minWorkers} is more than the ${numWorkers(options)} there are`);
  return options;
}

export function numWorkers({ nodes, gpus }: Pick<SlurmOptions, "nodes" | "gpus">): number {
  return nodes * Math.max(1, gpus);
}
