/** `isoerg bench scaling`: how a training scales over workers here, and what a fitted model says of clusters that are not here. */
import { readFileSync, writeFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { type ControlPlanePoint, measureControlPlane } from "../../../bench/scaling/control-plane.js";
import { type Mode, measureScaling } from "../../../bench/scaling/measure.js";
import { renderPage } from "../../../bench/scaling/page.js";
import { type Assumptions, networkOf } from "../../../bench/scaling/predict.js";
import { renderControlPlane, renderScaling } from "../../../bench/scaling/render.js";
import { analyse, type Origin, type ScalingResult } from "../../../bench/scaling/result.js";
import { loadConfig } from "../../config/load.js";
import { IsoergError } from "../../util/error.js";
import { describeMachine } from "../../util/machine.js";
import { packageVersion } from "../../util/package.js";
import { addEngineOptions, type EngineFlags } from "../engine-options.js";
import { interruptible } from "../interruptible.js";
import { parseCount, parseNonNegative, parsePositive } from "../numbers.js";
import { sourceCommit } from "./step.js";

interface Flags extends EngineFlags {
  readonly workers: readonly number[];
  readonly mode: Mode | "both";
  readonly steps: number;
  readonly warmup: number;
  readonly rounds: number;
  readonly controlPlane?: readonly number[];
  readonly samplesPerWorker: number;
  readonly stepMs: number;
  readonly feed?: true;
  readonly models?: readonly string[];
  readonly links: readonly number[];
  readonly predict: readonly number[];
  readonly workersPerHost: number;
  readonly gflops?: number;
  readonly mtbfHours: number;
  readonly recoverySeconds?: number;
  readonly repairMinutes: number;
  readonly checkpointSeconds: number;
  readonly restartMinutes: number;
  readonly samplesFrom: "coordinator" | "workers";
  readonly from?: string;
  readonly json?: string;
  readonly page?: string;
}

/** Llama 3's training: 419 unplanned interruptions in 54 days on 16,384 GPUs. */
const MTBF_HOURS = Math.round((16_384 * 54 * 24) / 419);

export function scalingCommand(): Command {
  const command = new Command("scaling")
    .description("Measure weak and strong scaling over workers of this machine, test a model on a point held out, and extrapolate.")
    .argument("[config]", "a ready-made experiment's name, or a YAML file", "quickstart")
    .argument("[settings...]", "key=value, over the file's")
    .option("--workers <list>", "numbers of workers, from 1, with commas between", parseCounts, [1, 2])
    .addOption(
      new Option("--mode <mode>", "the same slice for each worker, the same batch for all, or both")
        .choices(["weak", "strong", "both"])
        .default("both"),
    )
    .option("--steps <n>", "timed steps of each run", parseCount, 40)
    .option("--warmup <n>", "steps of each run that don't count", parseCount, 6)
    .option("--rounds <n>", "how often each run is made, in turn", parseCount, 2)
    .option("--control-plane <list>", "only this: a coordinator with so many simulated workers that compute nothing", parseCounts)
    .option("--samples-per-worker <n>", "of simulated workers", parseCount, 16)
    .option("--step-ms <n>", "what simulated workers pretend to compute, in milliseconds", parseNonNegative, 0)
    .option("--feed", "simulated workers take in the experiment's real samples")
    .option("--models <list>", "experiments to extrapolate (default: the measured one and jdat)", parseNames)
    .option("--links <list>", "links between hosts, in Gb/s", parseNumbers, [10, 25, 100, 400])
    .option("--predict <list>", "numbers of workers to extrapolate to", parseCounts, [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])
    .option("--workers-per-host <n>", "of the extrapolated cluster", parseCount, 8)
    .option("--gflops <n>", "GFLOP/s that one worker of the extrapolated cluster reaches in training (default: as here)", parsePositive)
    .addOption(
      new Option("--mtbf-hours <n>", "of one worker")
        .argParser(parsePositive)
        .default(MTBF_HOURS, `${MTBF_HOURS}, of the GPUs in Llama 3's training`),
    )
    .option("--recovery-seconds <n>", "until the survivors of a failure go on (default: as measured; 10 where it was not)", parsePositive)
    .option("--repair-minutes <n>", "until a lost worker is replaced", parsePositive, 10)
    .option("--checkpoint-seconds <n>", "for comparison: what a checkpoint takes of a trainer that has nothing else", parsePositive, 30)
    .option("--restart-minutes <n>", "and what its start from one takes", parsePositive, 5)
    .addOption(new Option("--samples-from <who>", "who reads the samples").choices(["coordinator", "workers"]).default("workers"))
    .option("--from <file>", "measure nothing: extrapolate anew from the measurements in a file of --json")
    .option("--json <file>", "write all points and predictions")
    .option("--page <file>", "write a page with charts");
  return addEngineOptions(command, "1 for each worker")
    .addHelpText(
      "after",
      "\nExample:\n  $ isoerg bench scaling quickstart --workers 1,2 --json scaling.json --page scaling.html\n" +
        "  $ isoerg bench scaling --from scaling.json --models jdat --gflops 20000 --links 100,400 --page plan.html\n" +
        "  $ isoerg bench scaling --control-plane 64,1024 --steps 20",
    )
    .action((config: string, settings: string[], flags: Flags) =>
      interruptible((signal) => {
        const threads = command.getOptionValueSource("threads") === "default" ? 1 : flags.threads;
        return benchScaling(config, settings, { ...flags, threads }, signal);
      }),
    );
}

async function benchScaling(source: string, overrides: readonly string[], flags: Flags, signal: AbortSignal): Promise<void> {
  const live = process.stderr.isTTY === true;
  const status = (text: string) => live && process.stderr.write(`\r\u001b[K${text}`);
  const origin: Origin = {
    isoerg: packageVersion(),
    commit: sourceCommit(),
    date: new Date().toISOString(),
    machine: describeMachine(),
    command: ["isoerg", ...process.argv.slice(2)].join(" "),
    threads: flags.threads,
  };
  if (flags.controlPlane) {
    const points = await controlPlane(source, overrides, flags, signal, (text) => status(`${text} ...`));
    status("");
    process.stdout.write(renderControlPlane(points));
    if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify({ origin, control: points }, null, 2)}\n`);
    return;
  }
  const before = flags.from === undefined ? null : readResult(flags.from);
  const experiment = { source, overrides, engine: { engine: flags.engine, device: flags.device, threads: flags.threads } };
  const measured =
    before?.measured ??
    (await measureScaling({
      experiment,
      workers: flags.workers,
      modes: flags.mode === "both" ? ["weak", "strong"] : [flags.mode],
      ...{ steps: flags.steps, warmupSteps: flags.warmup, rounds: flags.rounds, signal },
      onTurn: (what) => status(`${what} ...`),
      onMissing: (reason) => process.stderr.write(`not measured: ${reason}\n`),
    }));
  status("");
  const network = before?.network ?? networkOf(source, overrides);
  const names = flags.models ?? (network.name === "jdat" ? [] : ["jdat"]);
  const networks = [...(flags.models ? [] : [network]), ...names.map((name) => networkOf(name))];
  const result = analyse({
    origin: before?.origin ?? origin,
    network,
    measured,
    assumptions: assumptionsOf(flags, measured.recovery?.recoveryMs),
    networks,
  });
  process.stdout.write(renderScaling(result));
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(result, null, 2)}\n`);
  if (flags.page !== undefined) writeFileSync(flags.page, renderPage(result));
}

async function controlPlane(
  source: string,
  overrides: readonly string[],
  flags: Flags,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<readonly ControlPlanePoint[]> {
  const { config } = loadConfig({ source, overrides });
  const { samplesPerWorker, steps, stepMs: computeMs } = flags;
  const points: ControlPlanePoint[] = [];
  for (const workers of flags.controlPlane ?? []) {
    say(`${workers} simulated workers`);
    points.push(
      await measureControlPlane({
        config,
        workers,
        samplesPerWorker,
        steps,
        warmupSteps: flags.warmup,
        computeMs,
        feed: flags.feed === true,
        signal,
      }),
    );
  }
  return points;
}

const HOUR_MS = 3_600_000;

const RECOVERY_MS = 10_000;

function assumptionsOf(flags: Flags, measuredRecoveryMs: number | undefined): Assumptions {
  const { recoverySeconds } = flags;
  const recoveryMs = recoverySeconds === undefined ? (measuredRecoveryMs ?? RECOVERY_MS) : 1000 * recoverySeconds;
  return {
    links: flags.links,
    workers: flags.predict,
    workersPerHost: flags.workersPerHost,
    workerGflops: flags.gflops ?? null,
    reliability: {
      workerMtbfMs: flags.mtbfHours * HOUR_MS,
      recovery: { kind: "elastic", recoveryMs },
      repairMs: flags.repairMinutes * 60_000,
    },
    checkpointMs: flags.checkpointSeconds * 1000,
    restartMs: flags.restartMinutes * 60_000,
    feed: flags.samplesFrom,
  };
}

/** What an earlier --json wrote. @throws IsoergError USAGE for another file. */
function readResult(file: string): ScalingResult {
  try {
    const result = JSON.parse(readFileSync(file, "utf8")) as Partial<ScalingResult>;
    if (result.measured?.points && result.network && result.origin) return result as ScalingResult;
  } catch (cause) {
    throw new IsoergError("USAGE", `${file} can't be read: ${(cause as Error).message}`, { cause });
  }
  throw new IsoergError("USAGE", `${file} holds no measurements of 'isoerg bench scaling'`, {
    hint: "give a file that its --json has written",
  });
}

function parseCounts(text: string): readonly number[] {
  const counts = text.split(",").map(parseCount);
  if (counts.some((count, i) => i > 0 && count <= (counts[i - 1] as number)))
    throw new InvalidArgumentError("It takes ascending numbers with commas between.");
  return counts;
}

const parseNumbers = (text: string): readonly number[] => text.split(",").map(parsePositive);
const parseNames = (text: string): readonly string[] => text.split(",").map((name) => name.trim());
