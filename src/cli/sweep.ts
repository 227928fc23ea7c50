/** `isoerg sweep`: tries settings of an experiment, as many at a time as the machine (or the file) has room for, and writes down the best. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command, Option } from "commander";
import { loadConfig } from "../config/load.js";
import { configToYaml } from "../config/print.js";
import type { Config } from "../config/schema.js";
import { readStudyRecord } from "../report/study/study-record.js";
import { renderStudyReport } from "../report/study/study-report.js";
import { isFinished } from "../sweep/job.js";
import { openStudy } from "../sweep/journal.js";
import { runStudy } from "../sweep/run-study.js";
import type { Runner } from "../sweep/runner.js";
import type { Point } from "../sweep/space.js";
import { createStrategy, readSweep, type SweepSpec } from "../sweep/spec.js";
import { summarise, type TrialSummary } from "../sweep/summary.js";
import { packageVersion } from "../util/package.js";
import { addEngineOptions, type EngineFlags } from "./engine-options.js";
import { interruptible } from "./interruptible.js";
import { groupOf, refuseStray } from "./option-groups.js";
import { addTrialOptions, createKubernetesRunner, describeObjects, type TrialFlags } from "./sweep/kubernetes.js";
import { createLocalRunner } from "./sweep/local-runner.js";
import { trialCommand } from "./sweep/trial.js";
import { textTable } from "./text-table.js";
import { checkExperiment } from "./train/check.js";

interface Flags extends EngineFlags, TrialFlags {
  readonly on: "local" | "kubernetes";
  readonly run?: string;
  readonly json?: string;
}

const SHOWN = 10;

export function sweepCommand(): Command {
  const command = new Command("sweep")
    .description(
      "Search settings of an experiment: grid, random, Sobol or TPE, with early stopping. The same command again goes on where it stood.",
    )
    .argument("<sweep>", "a YAML file: experiment, space, search, schedule, metric")
    .addOption(new Option("--on <place>", "where trials run").choices(["local", "kubernetes"]).default("local"))
    .option("--run <dir>", "folder of the study (default: runs/NAME)")
    .option("--json <file>", "write every trial and the best")
    .addCommand(trialCommand(), { hidden: true });
  const ofKubernetes = groupOf(addEngineOptions(command), "On Kubernetes:", addTrialOptions);
  return command
    .addHelpText(
      "after",
      "\nThreads of a trial, trials at a time and seeds of a point are set in the file.\n" +
        "\nA file:\n  experiment: quickstart\n  space:\n    optimizer.lr: { log-uniform: [1e-3, 1e-2] }\n    attack.steps: [1, 2, 3]\n" +
        "  search: { kind: tpe, trials: 24 }\n  schedule: { kind: asha, min: 0.5 }\n\nExample:\n  $ isoerg sweep sweep.yaml --run runs/sweep" +
        "\n  $ isoerg sweep sweep.yaml --on kubernetes --image registry.local/isoerg:cuda --gpus 1 --queue research",
    )
    .action(async (file: string, flags: Flags) => {
      if (flags.on === "local") refuseStray(command, ofKubernetes, flags.on);
      await sweep(file, flags);
    });
}

async function sweep(file: string, flags: Flags): Promise<void> {
  const spec = readSweep(file);
  const configOf = (point: Point, seed: number): Config => {
    const settings = Object.entries(point).map(([path, value]) => `${path}=${value}`);
    return loadConfig({ source: spec.experiment, overrides: [...spec.set, ...settings, `seed=${seed}`] }).config;
  };
  const base = loadConfig({ source: spec.experiment, overrides: spec.set }).config;
  const epochs = spec.epochs ?? base.epochs;
  const strategy = createStrategy(spec, epochs);
  const withEpochs = (point: Point, seed: number): Config => ({ ...configOf(point, seed), epochs });
  // A setting that does not exist is told now, not by the first trial. Whether the data are there, a cluster's trials say.
  const first = strategy.searcher.propose(0, []);
  const config = first && withEpochs(first, 1);
  if (config && flags.on === "local") await checkExperiment(config);

  const folder = flags.run ?? `runs/${spec.name}`;
  const digest = createHash("sha256")
    .update(JSON.stringify([spec, base]))
    .digest("hex");
  if (flags.dryRun) {
    process.stdout.write(describeObjects({ spec, flags, configOf: withEpochs, config: base, digest }, strategy));
    return;
  }
  mkdirSync(folder, { recursive: true });
  const study = openStudy(folder, { sweep: file, digest, spec, epochs, now: () => new Date() });
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  let runner: (Runner & { close?: () => Promise<void> }) | undefined;
  try {
    const known = study.jobs.filter(isFinished).length;
    if (known > 0) say(`${folder}: going on after ${known} finished jobs`);
    runner =
      flags.on === "local"
        ? createLocalRunner({ spec, folder, configOf: withEpochs, engine: flags })
        : await createKubernetesRunner({ spec, flags, configOf: withEpochs, config: base, digest, say });
    const own = runner;
    const why = await interruptible((signal) =>
      runStudy({
        study,
        ...strategy,
        parallel: spec.parallel,
        runner: own,
        signal,
        onEvent(event) {
          const { job } = event;
          if (event.kind === "started") say(`job ${job.index}: ${event.reason}`);
          else if (event.result.kind === "failed") say(`job ${job.index}, trial ${job.trial} failed: ${event.result.reason}`);
          else say(`job ${job.index}, trial ${job.trial} after ${job.to} epochs: ${spec.metric.name} ${shown(event.result.value, spec)}`);
        },
      }),
    );
    say(why);
    const trials = summarise(study.jobs, spec);
    const best = trials.find((trial) => trial.metric !== null);
    if (best) writeFileSync(join(folder, "best.yaml"), bestFile(best, withEpochs(best.point, 1), spec));
    writeFileSync(join(folder, "study.json"), `${JSON.stringify({ spec, trials }, null, 2)}\n`);
    if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify({ spec, trials, best: best ?? null }, null, 2)}\n`);
    const page = renderStudyReport(await readStudyRecord(folder), { now: new Date(), isoergVersion: packageVersion() });
    writeFileSync(join(folder, "report.html"), page);
    process.stdout.write(describeTrials(trials, spec));
    if (best) process.stdout.write(`\nThe best is an experiment now: isoerg train ${join(folder, "best.yaml")}\n`);
    process.stdout.write(`${best ? "" : "\n"}All trials, and which settings decide: ${join(folder, "report.html")}\n`);
  } finally {
    await runner?.close?.();
    study.close();
  }
}

function shown(score: number, { metric }: SweepSpec): string {
  return (metric.goal === "max" ? score : -score).toFixed(4);
}

function describeTrials(trials: readonly TrialSummary[], spec: SweepSpec): string {
  const paths = Object.keys(spec.space);
  const rows = trials
    .slice(0, SHOWN)
    .map((trial) => [
      String(trial.trial),
      ...paths.map((path) => formatSetting(trial.point[path])),
      String(trial.epochs),
      trial.metric === null ? "failed" : `${trial.metric.toFixed(4)}${trial.interval > 0 ? ` ± ${trial.interval.toFixed(4)}` : ""}`,
    ]);
  const more = trials.length > SHOWN ? `... and ${trials.length - SHOWN} more\n` : "";
  return `${textTable([["trial", ...paths, "epochs", spec.metric.name], ...rows])}${more}`;
}

function formatSetting(value: unknown): string {
  return typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value);
}

function bestFile(best: TrialSummary, config: Config, { name, metric, experiment }: SweepSpec): string {
  const settings = Object.entries(best.point).map(([path, value]) => `#   ${path}: ${formatSetting(value)}`);
  return [
    `# Trial ${best.trial} of the sweep '${name}' over '${experiment}': ${metric.name} ${best.metric?.toFixed(4)} on validation samples after ${best.epochs} epochs.`,
    "# What was searched:",
    ...settings,
    configToYaml({ ...config, name: `${name}-best` }),
  ].join("\n");
}
