/**
 * `isoerg quickstart`, which `npm start` runs after set-up: CIFAR-10 -> train jointly -> train the same network in the
 * ordinary way on the same budget -> evaluate both and the untrained network -> report. Each part is what the command of
 * that name does. What is finished is used again, so a second run comes to the figures in seconds.
 */
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { type LoadedConfig, loadConfig } from "../config/load.js";
import { prepareDataset } from "../data/prepare.js";
import { sourceNamed } from "../data/sources/registry.js";
import { startEngine } from "../engine/choose.js";
import type { Engine } from "../engine/engine.js";
import { evaluateRun, saveEvaluated } from "../evaluate/evaluate-run.js";
import { type Evaluation, readEvaluation } from "../evaluate/evaluation.js";
import { IsoergError } from "../util/error.js";
import { addEngineOptions, type EngineFlags } from "./engine-options.js";
import { interruptible } from "./interruptible.js";
import { parseCount } from "./numbers.js";
import { createProgressLine } from "./progress-line.js";
import { compareFigures } from "./quickstart/figures.js";
import { reportCommand } from "./report.js";
import { type Standing, standingOf } from "./standing.js";
import { trainCommand } from "./train.js";

interface Flags extends EngineFlags {
  readonly workers: number;
  readonly out: string;
}

/** What the portable engine can do in about the same time. */
const PORTABLE_BUDGET = ["epochs=0.5", "evaluate.samples=200", "evaluate.generated=50", "evaluate.freshSteps=50"];

export function quickstartCommand(): Command {
  const command = new Command("quickstart")
    .description("CIFAR-10 to a trained, evaluated model and its report, in minutes.")
    .argument("[overrides...]", "key=value, for both trainings")
    .option("--workers <n>", "worker processes of each training", parseCount, 2)
    .option("--out <dir>", "folder of the two runs", "runs");
  return addEngineOptions(command)
    .addHelpText("after", "\nWhat is finished is used again.\n\nExample:\n  $ isoerg quickstart epochs=2 --workers 2")
    .action(quickstart);
}

async function quickstart(overrides: readonly string[], flags: Flags): Promise<void> {
  const engine = await startEngine(flags);
  say(`engine ${engine.name} (${engine.version}) on ${engine.device}: ${engine.why}`);
  const isFast = engine.name === "torch" || engine.name === "tensorflow";
  if (!isFast) {
    say(`the ${engine.name} engine is several times slower than torch, so the budget is smaller: ${PORTABLE_BUDGET.join(" ")}`);
  }
  const settings = [...(isFast ? [] : PORTABLE_BUDGET), ...overrides];

  const joint = loadConfig({ source: "quickstart", overrides: settings });
  const standard = loadConfig({ source: "quickstart-standard", overrides: settings });
  await prepare(joint.config.data.path);
  const folders = [joint, standard].map(({ config }) => join(flags.out, config.name));
  const [jointFolder = "", standardFolder = ""] = folders;
  const jointStep = await train("quickstart", joint, jointFolder, settings, flags);
  const standardStep = await train("quickstart-standard", standard, standardFolder, settings, flags);

  const ofJoint = await evaluate(jointFolder, { step: jointStep, engine, untrained: "measure" });
  const ofStandard = await evaluate(standardFolder, { step: standardStep, engine, untrained: "skip" });
  process.stdout.write("\n");
  await reportCommand().parseAsync(folders, { from: "user" });
  process.stdout.write(`\n${compareFigures(ofJoint, ofStandard)}\nopen ${join(jointFolder, "report.html")} in a browser\n`);
}

async function prepare(folder: string): Promise<void> {
  const progress = createProgressLine(process.stderr);
  const { manifest, reused } = await interruptible((signal) =>
    prepareDataset(sourceNamed("cifar10"), {
      out: folder,
      signal,
      onProgress: (event) => {
        if (event.kind === "note") say(event.text);
        else if (event.unit === "samples") progress.update({ what: event.phase, done: event.done, total: event.total ?? event.done });
        else progress.update({ what: `${event.phase}, MiB`, done: mebibytes(event.done), total: mebibytes(event.total ?? event.done) });
      },
    }),
  ).finally(progress.end);
  say(`data: ${manifest.name} in ${folder}${reused ? ", prepared before" : ""}`);
}

/** Trains to the end, from wherever the run's folder stands; gives the number of steps. */
async function train(experiment: string, wanted: LoadedConfig, folder: string, settings: readonly string[], flags: Flags): Promise<number> {
  const before = await standingOf(folder, wanted.config);
  if (before.kind === "finished") {
    say(`${folder}: trained before, ${before.step} steps`);
    return before.step;
  }
  if (before.kind === "other") say(`${folder} holds a run with other settings; it is now ${setAside(folder)}`);
  if (before.kind === "unfinished") say(`${folder}: going on from step ${before.step}`);
  else say(`${folder}: training with ${flags.workers} workers`);
  const words = [
    experiment,
    ...settings,
    "--run",
    folder,
    "--workers",
    String(flags.workers),
    "--engine",
    flags.engine,
    "--device",
    flags.device,
  ];
  await trainCommand().parseAsync([...words, ...(before.kind === "unfinished" ? ["--resume"] : [])], { from: "user" });
  const after: Standing = await standingOf(folder, wanted.config);
  if (after.kind !== "finished") {
    throw new IsoergError("STOPPED", `${folder} was stopped before its end`, { hint: "the same command goes on from there" });
  }
  return after.step;
}

/** Moves a folder out of the way, so that nothing is lost. */
function setAside(folder: string): string {
  for (let number = 1; ; number++) {
    const aside = `${folder}.${number}`;
    if (existsSync(aside)) continue;
    renameSync(folder, aside);
    return aside;
  }
}

interface EvaluateWhat {
  /** The trained model's. */
  readonly step: number;
  readonly engine: Engine;
  readonly untrained: "measure" | "skip";
}

async function evaluate(folder: string, { step, engine, untrained }: EvaluateWhat): Promise<Evaluation> {
  const before = await readEvaluation(join(folder, "evaluation.json"));
  if (before?.step === step && (untrained === "skip" || before.untrained !== null)) {
    say(`${folder}: evaluated before`);
    return before;
  }
  say(`${folder}: evaluating`);
  const progress = createProgressLine(process.stderr);
  const result = await interruptible((signal) =>
    evaluateRun({ path: folder, engine, now: () => new Date(), batchSize: 128, untrained, signal, onProgress: progress.update }),
  ).finally(progress.end);
  await saveEvaluated(result);
  return result.evaluation;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

function say(line: string): void {
  process.stdout.write(`quickstart: ${line}\n`);
}
