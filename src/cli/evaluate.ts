/**
 * `isoerg evaluate`: the figures of a run or checkpoint, beside those of the same network before training; with --attacks of
 * AutoAttack's kind or --certify, robustness as well, on several processes and in as many sittings as it takes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Command, Option } from "commander";
import { type AttackConfig, configSchema } from "../config/schema.js";
import { startEngine } from "../engine/choose.js";
import type { Engine } from "../engine/engine.js";
import { evaluateRun, saveEvaluated } from "../evaluate/evaluate-run.js";
import { type Evaluation, type ModelEvaluation, readEvaluation, writeEvaluation } from "../evaluate/evaluation.js";
import { findModelFile } from "../evaluate/foreign/model-file.js";
import { formatAccuracy, formatAttack, formatCount, formatNumber, formatPercent, formatSigned } from "../evaluate/format.js";
import { attackNames, type Effort, standardEffort } from "../evaluate/robustness/attacks.js";
import { evaluateRobustness } from "../evaluate/robustness/evaluate-robustness.js";
import { openRun } from "../evaluate/run-folder.js";
import { chooseWeights, type WeightsKind } from "../evaluate/weights.js";
import { IsoergError } from "../util/error.js";
import { didYouMean } from "../util/nearest.js";
import { addInputOptions, type InputFlags, inputOptionsOf } from "./analyze/input-flags.js";
import { addEngineOptions, type EngineFlags } from "./engine-options.js";
import { describeRobustness } from "./evaluate/describe-robustness.js";
import { onProcesses } from "./evaluate/processes.js";
import { createRobustnessBar } from "./evaluate/robustness-progress.js";
import { interruptible } from "./interruptible.js";
import { parseCount, parseNatural } from "./numbers.js";
import { createProgressLine } from "./progress-line.js";
import { textTable } from "./text-table.js";

/** What the quick PGD of every evaluation may ascend. */
const TARGETS = ["cross-entropy", "margin", "energy", "joint-energy"] as const satisfies readonly AttackConfig["target"][];
type Target = (typeof TARGETS)[number];
const ATTACKS = ["standard", ...attackNames] as const;

interface AttackChoice {
  readonly targets: readonly Target[];
  readonly attacks: readonly (typeof ATTACKS)[number][];
}

interface Flags extends EngineFlags, InputFlags {
  readonly samples?: number;
  readonly attacks?: AttackChoice;
  readonly norm?: AttackConfig["norm"];
  readonly eps?: number;
  readonly steps: number;
  readonly queries: number;
  readonly probes: number;
  readonly transfer?: string;
  readonly certify?: number;
  readonly certifySamples: number;
  readonly certifyDraws: number;
  readonly workers: number;
  readonly json?: string;
  readonly data?: string;
  readonly weights: WeightsKind | "auto";
  readonly batchSize: number;
  readonly untrained: boolean;
}

export function evaluateCommand(): Command {
  const command = new Command("evaluate")
    .description("Accuracy, robustness, energy gaps and samples of a model.")
    .argument("<model>", "a run's folder or checkpoint; or an export or TensorFlow.js model, with --data, for attacks and certificates")
    .option("--samples <n>", "test samples to attack (default: evaluate.samples of the run)", parseCount)
    .option(
      "--attacks <list>",
      `standard (AutoAttack), or any of ${attackNames.join(", ")}, in this order on what is left standing; or what a quick PGD ascends: ${TARGETS.join(", ")}`,
      parseAttacks,
    )
    .addOption(new Option("--norm <norm>", "of the attacks").choices(["linf", "l2"]).default(undefined, "evaluate.attack.norm of the run"))
    .option("--eps <pixels>", "budget of the attacks in pixels, for example 4/255 (L2 without a budget of the run: 0.5)", parseEps)
    .option("--steps <n>", "steps of APGD and FAB; fewer than 100 is not AutoAttack", parseCount, standardEffort.steps)
    .option("--queries <n>", "queries of Square; fewer than 5000 is not AutoAttack", parseCount, standardEffort.queries)
    .option("--probes <n>", "samples of the checklist against gradient masking; 0 leaves it out", parseNatural, 200)
    .option("--transfer <run>", "another run on the same data: the checklist tries its adversarial samples on this one")
    .option("--certify <sigma>", "certify by randomised smoothing with noise of this standard deviation in pixels", parseSigma)
    .option("--certify-samples <n>", "test samples to certify, evenly chosen", parseCount, 100)
    .option("--certify-draws <n>", "noisy copies of each; the literature takes 100000", parseCount, 10_000)
    .option("--workers <n>", "processes that share the attacks; no figure depends on it", parseCount, 1)
    .option("--weights <which>", "auto, averaged or last", "auto")
    .option("--data <dir>", "the data set's folder, if it has moved")
    .option("--batch-size <n>", "samples in one pass", parseCount, 128)
    .option("--json <file>", "also write the evaluation here")
    .addOption(new Option("--no-untrained", "leave out the network before training"));
  addInputOptions(command);
  return addEngineOptions(command.optionsGroup("Options:"))
    .addHelpText(
      "after",
      [
        "\nWrites evaluation.json and a grid of samples into the run's folder. What attacks have found is kept in RUN/robustness: the same",
        "command started again goes on there, with any number of workers.",
        "\nExamples:\n  $ isoerg evaluate runs/quickstart --samples 1000 --attacks cross-entropy,margin",
        "  $ isoerg evaluate runs/quickstart --attacks standard --samples 1000 --workers 2",
        "  $ isoerg evaluate runs/quickstart --certify 0.25",
        "  $ isoerg evaluate model.json --data data/cifar10 --attacks standard --samples 200 --json robustness.json",
      ].join("\n"),
    )
    .action(async (path: string, flags: Flags) => evaluate(path, flags));
}

async function evaluate(path: string, flags: Flags): Promise<void> {
  const weights = parseWeights(flags.weights);
  const engine = await startEngine(flags);
  if (await isWithoutRun(path)) return evaluateForeign(path, flags, engine);
  const wantsRobustness = (flags.attacks?.attacks.length ?? 0) > 0 || flags.certify !== undefined;
  const known = await knownEvaluation(path, weights);
  const base = (wantsRobustness && !flags.attacks?.targets.length ? known : undefined) ?? (await measure(path, flags, weights, engine));
  // What earlier attacks found out about these same weights stays true.
  const earlier = known?.evaluation.robustness;
  let evaluation: Evaluation = { ...base.evaluation, ...(earlier && { robustness: earlier }) };
  if (earlier && base !== known) await writeEvaluation(base.evaluationPath, evaluation);
  if (wantsRobustness) {
    const bar = createRobustnessBar(process.stderr);
    const { config } = await openRun(path);
    const norm = flags.norm ?? config.evaluate.attack.norm;
    const robustness = await interruptible((signal) =>
      evaluateRobustness(
        {
          path,
          weights,
          ...measured(flags, engine),
          attacks: flags.attacks?.attacks ?? [],
          budget: { norm, eps: flags.eps ?? (norm === config.evaluate.attack.norm ? config.evaluate.attack.eps : DEFAULT_EPS[norm]) },
          numSamples: flags.samples ?? config.evaluate.samples,
          numProbed: flags.attacks?.attacks.length ? flags.probes : 0,
          onProgress: bar.update,
          signal,
        },
        onProcesses(flags.workers),
      ),
    ).finally(bar.end);
    evaluation = { ...evaluation, robustness };
    await writeEvaluation(base.evaluationPath, evaluation);
  }
  if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(evaluation)}\n`);
  process.stdout.write(describeEvaluation(evaluation));
  process.stdout.write(`\nwrote ${base.evaluationPath}${base.samplesPath ? ` and ${base.samplesPath}` : ""}\n`);
}

/** What the flags say of a robustness measurement, whatever the model is. */
function measured(flags: Flags, engine: Engine) {
  const threads = Math.max(1, Math.floor(flags.threads / flags.workers));
  return {
    engine,
    engineOptions: { engine: engine.name, device: flags.device, threads },
    effort: effortOf(flags),
    batchSize: flags.batchSize,
    certify: certificateOf(flags),
    now: () => new Date(),
    ...(flags.transfer !== undefined && { transferFrom: flags.transfer }),
    ...(flags.data !== undefined && { dataPath: flags.data }),
  };
}

async function isWithoutRun(path: string): Promise<boolean> {
  return /\.safetensors$/.test(path) || (await findModelFile(path)) !== undefined;
}

/** A model without a run has no chains, no buffer and no evaluation.json: its robustness is what can be measured. */
async function evaluateForeign(path: string, flags: Flags, engine: Engine): Promise<void> {
  if (flags.attacks?.targets.length) {
    throw new IsoergError("USAGE", `a quick PGD on ${flags.attacks.targets.join(", ")} is for runs`, {
      hint: `For other models isoerg analyze shows it; attacks here: ${ATTACKS.join(", ")}.`,
    });
  }
  const attacks = flags.attacks?.attacks ?? (flags.certify === undefined ? (["standard"] as const) : []);
  const norm = flags.norm ?? "linf";
  const bar = createRobustnessBar(process.stderr);
  const robustness = await interruptible((signal) =>
    evaluateRobustness(
      {
        path,
        weights: "auto",
        input: inputOptionsOf(flags),
        ...measured(flags, engine),
        attacks,
        budget: { norm, eps: flags.eps ?? DEFAULT_EPS[norm] },
        numSamples: flags.samples ?? FOREIGN_SAMPLES,
        numProbed: attacks.length > 0 ? flags.probes : 0,
        onProgress: bar.update,
        signal,
      },
      onProcesses(flags.workers),
    ),
  ).finally(bar.end);
  if (flags.json !== undefined)
    await writeFile(flags.json, `${JSON.stringify({ format: "isoerg-robustness", model: path, robustness })}\n`);
  process.stdout.write(`${path}, engine ${engine.name} (${engine.version}) on ${engine.device}\n${describeRobustness(robustness)}`);
  if (flags.json !== undefined) process.stdout.write(`\nwrote ${flags.json}\n`);
}

function certificateOf({ certify, certifyDraws, certifySamples }: Flags): Parameters<typeof evaluateRobustness>[0]["certify"] {
  if (certify === undefined) return null;
  return { sigma: certify, select: 100, estimate: certifyDraws, alpha: 0.001, numSamples: certifySamples };
}

const FOREIGN_SAMPLES = 1000;
const DEFAULT_EPS = { linf: 8 / 255, l2: 0.5 } as const;

interface Measured {
  readonly evaluation: Evaluation;
  readonly evaluationPath: string;
  readonly samplesPath: string | null;
}

/** The evaluation that lies in the run's folder, if it is of the same weights: a second sitting does not measure them again. */
async function knownEvaluation(path: string, weights: WeightsKind | "auto"): Promise<Measured | undefined> {
  const { folder, checkpoint } = await openRun(path);
  const evaluationPath = join(folder, "evaluation.json");
  // One that this version can't read is measured again.
  const evaluation = await readEvaluation(evaluationPath).catch(() => undefined);
  if (evaluation?.step !== checkpoint.step || evaluation.trained.weights !== chooseWeights(checkpoint.files.model, weights))
    return undefined;
  return { evaluation, evaluationPath, samplesPath: null };
}

async function measure(path: string, flags: Flags, weights: WeightsKind | "auto", engine: Engine): Promise<Measured> {
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
      ...(flags.attacks?.targets.length && { targets: flags.attacks.targets }),
      ...(flags.norm === undefined && flags.eps !== undefined && { eps: flags.eps }),
    }),
  ).finally(progress.end);
  for (const warning of result.run.checkpoint.warnings) process.stderr.write(`warning: ${warning}\n`);
  return { evaluation: result.evaluation, ...(await saveEvaluated(result)) };
}

function effortOf({ steps, queries }: Flags): Effort {
  return { ...standardEffort, steps, queries, pgdSteps: Math.min(standardEffort.pgdSteps, steps) };
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
    evaluation.robustness ? describeRobustness(evaluation.robustness) : "",
  ].join("");
}

function parseAttacks(text: string): AttackChoice {
  const targets: Target[] = [];
  const attacks: AttackChoice["attacks"][number][] = [];
  for (const word of text.split(",").map((part) => part.trim())) {
    const target = TARGETS.find((name) => name === word);
    const attack = ATTACKS.find((name) => name === word);
    if (target) targets.push(target);
    else if (attack) attacks.push(attack);
    else
      throw new IsoergError("USAGE", `unknown attack '${word}'${didYouMean(word, [...TARGETS, ...ATTACKS])}`, {
        hint: `attacks: ${ATTACKS.join(", ")}; targets of a quick PGD: ${TARGETS.join(", ")}`,
      });
  }
  return { targets, attacks };
}

function parseSigma(text: string): number {
  const sigma = parseEps(text);
  if (sigma > 0) return sigma;
  throw new IsoergError("USAGE", "noise of standard deviation 0 certifies nothing", {
    hint: "The literature takes 0.12, 0.25, 0.5 and 1.",
  });
}

export function parseEps(text: string): number {
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
