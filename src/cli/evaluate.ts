/** `isoerg evaluate`: the figures of a run or checkpoint, beside those of the same network before training. */
import { writeFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { type AttackConfig, configSchema } from "../config/schema.js";
import { startEngine } from "../engine/choose.js";
import { evaluateRun, saveEvaluated } from "../evaluate/evaluate-run.js";
import type { Evaluation, ModelEvaluation } from "../evaluate/evaluation.js";
import { formatAccuracy, formatAttack, formatCount, formatNumber, formatPercent, formatSigned } from "../evaluate/format.js";
import type { WeightsKind } from "../evaluate/weights.js";
import { IsoergError } from "../util/error.js";
import { didYouMean } from "../util/nearest.js";
import { addEngineOptions, type EngineFlags, parseCount } from "./engine-options.js";
import { interruptible } from "./interruptible.js";
import { createProgressLine } from "./progress-line.js";
import { textTable } from "./text-table.js";

const TARGETS = ["cross-entropy", "margin", "energy", "joint-energy"] as const satisfies readonly AttackConfig["target"][];

interface Flags extends EngineFlags {
  readonly samples?: number;
  readonly attacks?: readonly AttackConfig["target"][];
  readonly eps?: number;
  readonly json?: string;
  readonly data?: string;
  readonly weights: WeightsKind | "auto";
  readonly batchSize: number;
  readonly untrained: boolean;
}

export function evaluateCommand(): Command {
  const command = new Command("evaluate")
    .description("accuracy, robustness, energy gaps and samples of a model")
    .argument("<run>", "a run's folder, or one of its checkpoints")
    .option("--samples <n>", "test samples to attack (default: evaluate.samples of the run)", parseCount)
    .option("--attacks <list>", `what the attacks ascend: ${TARGETS.join(", ")}`, parseTargets)
    .option("--eps <pixels>", "budget of the attacks in pixels, for example 4/255", parseEps)
    .option("--weights <which>", "auto, averaged or last", "auto")
    .option("--data <dir>", "the data set's folder, if it has moved")
    .option("--batch-size <n>", "samples in one pass", parseCount, 128)
    .option("--json <file>", "also write the evaluation here")
    .addOption(new Option("--no-untrained", "leave out the network before training"));
  return addEngineOptions(command)
    .addHelpText(
      "after",
      "\nWrites evaluation.json and a grid of samples into the run's folder.\n\nExample:\n  $ isoerg evaluate runs/quickstart --samples 1000 --attacks cross-entropy,margin",
    )
    .action(async (path: string, flags: Flags) => evaluate(path, flags));
}

async function evaluate(path: string, flags: Flags): Promise<void> {
  const weights = parseWeights(flags.weights);
  const engine = await startEngine(flags);
  const progress = createProgressLine(process.stderr);
  const result = await interruptible((signal) =>
    evaluateRun({
      path,
      engine,
      now: () => new Date(),
      batchSize: flags.batchSize,
      weights,
      untrained: flags.untrained ? "measure" : "skip",
      signal,
      onProgress: progress.update,
      ...(flags.data !== undefined && { dataPath: flags.data }),
      ...(flags.samples !== undefined && { numSamples: flags.samples }),
      ...(flags.attacks && { targets: flags.attacks }),
      ...(flags.eps !== undefined && { eps: flags.eps }),
    }),
  ).finally(progress.end);
  for (const warning of result.run.checkpoint.warnings) process.stderr.write(`warning: ${warning}\n`);
  const { evaluationPath, samplesPath } = await saveEvaluated(result);
  if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(result.evaluation)}\n`);
  process.stdout.write(describeEvaluation(result.evaluation));
  process.stdout.write(`\nwrote ${evaluationPath}${samplesPath ? ` and ${samplesPath}` : ""}\n`);
}

/** The figures as a person reads them. */
export function describeEvaluation(evaluation: Evaluation): string {
  const { trained, untrained, data, engine, settings } = evaluation;
  const models = untrained ? [trained, untrained] : [trained];
  const row = (label: string, value: (model: ModelEvaluation) => string): string[] => [label, ...models.map(value)];
  const accuracies = [
    ["", `step ${evaluation.step}`, ...(untrained ? ["before training"] : [])],
    row(`clean, ${formatCount(trained.clean.total)} samples`, (model) => formatAccuracy(model.clean)),
    ...trained.attacks.map((attack, index) =>
      row(`${formatAttack(attack)}, ${formatCount(attack.accuracy.total)} samples`, (model) => {
        const same = model.attacks[index];
        return same ? formatAccuracy(same.accuracy) : "";
      }),
    ),
    ...(trained.worstCase ? [row("worst case of these attacks", (model) => (model.worstCase ? formatAccuracy(model.worstCase) : ""))] : []),
  ];
  const kinds = (["adversarial", "generated", "buffer"] as const).filter((kind) => trained.gaps[kind] !== null);
  const gaps = [
    ["", "mean", "absolute", "W1", "W1 / std", "overlap"],
    ...models.flatMap((model) =>
      kinds.flatMap((kind) => {
        const gap = model.gaps[kind];
        if (!gap) return [];
        const { signedMean, meanAbsolute, wasserstein, wassersteinOverStd, overlap } = gap;
        return [
          [
            `${kind}${model === trained ? "" : ", before training"}`,
            formatSigned(signedMean),
            meanAbsolute === null ? "-" : formatNumber(meanAbsolute),
            formatNumber(wasserstein),
            wassersteinOverStd === null ? "-" : formatNumber(wassersteinOverStd),
            formatPercent(overlap.coefficient),
          ],
        ];
      }),
    ),
  ];
  const cleanGap = trained.gaps.adversarial ?? trained.gaps.generated;
  return [
    `${evaluation.run}: ${trained.weights} weights of step ${evaluation.step}, ${data.name} test split, engine ${engine.name} (${engine.version}) on ${engine.device}\n\n`,
    "Accuracy (95 % confidence)\n",
    textTable(accuracies),
    "\nEnergy gap to clean samples, E(other) - E(clean)",
    cleanGap ? `; clean energies: mean ${formatNumber(cleanGap.meanClean)}, std ${formatNumber(cleanGap.stdClean)}\n` : "\n",
    textTable(gaps),
    settings.freshChains > 0 ? `\ngenerated: ${formatCount(settings.freshChains)} fresh chains of ${settings.freshSteps} steps\n` : "",
  ].join("");
}

function parseTargets(text: string): AttackConfig["target"][] {
  return text.split(",").map((word) => {
    const target = TARGETS.find((name) => name === word.trim());
    if (!target)
      throw new IsoergError("USAGE", `unknown attack target '${word.trim()}'${didYouMean(word.trim(), TARGETS)}`, {
        hint: `targets: ${TARGETS.join(", ")}`,
      });
    return target;
  });
}

function parseEps(text: string): number {
  const eps = configSchema.shape.attack.safeParse({ eps: text });
  if (eps.success && eps.data.eps >= 0 && eps.data.eps <= 255) return eps.data.eps;
  const number = Number(text);
  if (text.trim() !== "" && number >= 0) return number;
  throw new IsoergError("USAGE", `'${text}' is no budget in pixels`, {
    hint: "Write a fraction such as 8/255, or a number such as 0.03; pixels are in [0,1].",
  });
}

export function parseWeights(word: string): WeightsKind | "auto" {
  if (word === "auto" || word === "averaged" || word === "last") return word;
  throw new IsoergError("USAGE", `unknown weights '${word}'${didYouMean(word, ["auto", "averaged", "last"])}`, {
    hint: "weights: auto, averaged, last",
  });
}
