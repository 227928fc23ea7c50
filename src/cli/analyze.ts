/** `isoerg analyze`: see where any classifier is weak: its energies, what it mistakes for data, how far its confidence can be trusted. */
import { basename, join } from "node:path";
import { Command } from "commander";
import { attackSchema } from "../config/schema/attack.js";
import type { AttackConfig } from "../config/schema.js";
import { type Dataset, openDataset } from "../data/dataset.js";
import { startEngine } from "../engine/choose.js";
import type { Engine } from "../engine/engine.js";
import { ANALYSIS_FILE, type Analysis, writeJson } from "../evaluate/analysis/analysis.js";
import { type AnalyzeInput, analyzeClassifier } from "../evaluate/analysis/analyze-classifier.js";
import { verdictOf } from "../evaluate/analysis/verdict.js";
import { bufferChains, openSubject } from "../evaluate/evaluate-run.js";
import { REFERENCE_FILE, referenceOf } from "../evaluate/monitor/reference.js";
import { otherImages } from "../evaluate/ood/probes.js";
import { type OpenedClassifier, openClassifier, recogniseClassifier } from "../evaluate/open-classifier.js";
import type { FeatureExtractor } from "../evaluate/quality/measure-quality.js";
import type { WeightsKind } from "../evaluate/weights.js";
import { IsoergError } from "../util/error.js";
import { didYouMean } from "../util/nearest.js";
import { packageVersion } from "../util/package.js";
import { explainSample } from "./analyze/explain.js";
import { addInputOptions, type InputFlags, inputOptionsOf } from "./analyze/input-flags.js";
import { renderAnalysis } from "./analyze/render.js";
import { addEngineOptions, type EngineFlags } from "./engine-options.js";
import { parseEps, parseWeights } from "./evaluate.js";
import { interruptible } from "./interruptible.js";
import { parseCount, parseNatural } from "./numbers.js";
import { createProgressLine } from "./progress-line.js";

interface Flags extends EngineFlags, InputFlags {
  readonly data?: string;
  readonly ood: readonly string[];
  readonly samples?: number;
  readonly attacks: readonly AttackConfig["target"][];
  readonly attack: boolean;
  readonly eps?: number;
  readonly generated?: number;
  readonly gradient: boolean;
  readonly quality: boolean;
  readonly features?: string;
  readonly inception: boolean;
  readonly weights: WeightsKind | "auto";
  readonly batchSize: number;
  readonly json?: string;
  readonly reference?: string;
  readonly save: boolean;
  readonly explain?: number;
  readonly out?: string;
}

/** For models without a configuration of their own. */
const FOREIGN_SAMPLES = 500;

export function analyzeCommand(): Command {
  const command = new Command("analyze")
    .description("See where a classifier is weak: energies, attacks, unknown images, confidence, samples.")
    .argument("<model>", "a run's folder or checkpoint, an export (.safetensors), or a TensorFlow.js model (model.json or its folder)")
    .option("--data <dir>", "the prepared data set that it was trained for (default: the run's)")
    .option("--ood <dir>", "another prepared data set, to see whether the model notices; may be repeated", collect, [])
    .option("--samples <n>", `samples of each kind (default: evaluate.samples of the run, or ${FOREIGN_SAMPLES})`, parseCount)
    .option("--attacks <list>", "what the attacks ascend: cross-entropy, margin, energy, joint-energy", parseTargets, [
      "cross-entropy",
      "energy",
    ])
    .option("--no-attack", "leave attacks out, for models without gradients")
    .option("--eps <pixels>", "budget of the attacks in pixels, for example 4/255 (default: the run's, or 8/255)", parseEps)
    .option("--generated <n>", "fresh chains to draw from a run (default: evaluate.generated of the run; 0 for none)", parseNatural)
    .option("--no-gradient", "leave out the input-gradient score")
    .option("--no-quality", "leave out the figures of generated images")
    .option("--features <model>", "whose features judge generated images (default: the model itself)")
    .option("--inception", "the model of --features is Inception: its figures are called FID and IS", false)
    .option("--weights <which>", "auto, averaged or last", "auto")
    .option("--batch-size <n>", "samples in one pass", parseCount, 128)
    .option("--json <file>", "write the analysis here")
    .option("--reference <file>", "write the energies of clean samples here, for isoerg monitor")
    .option("--no-save", "write nothing into a run's folder")
    .option("--explain <index>", "only explain the decision on this test sample: its saliency goes to --out", parseNatural)
    .option("--out <file>", "the picture of --explain, a .png");
  addInputOptions(command);
  return addEngineOptions(command.optionsGroup("Options:"))
    .addHelpText(
      "after",
      `
A run's folder gets ${ANALYSIS_FILE} and ${REFERENCE_FILE}; of other models nothing is written but what --json and --reference name.

Examples:
  $ isoerg analyze runs/quickstart --ood data/mnist
  $ isoerg analyze exported/model.json --data data/cifar10 --input-range -1,1 --json energies.json
  $ isoerg analyze runs/quickstart --explain 7 --out saliency.png`,
    )
    .action(async (path: string, flags: Flags) => analyze(path, flags));
}

async function analyze(path: string, flags: Flags): Promise<void> {
  if ((flags.explain === undefined) !== (flags.out === undefined)) {
    throw new IsoergError("USAGE", "--explain and --out go together", { hint: "For example --explain 7 --out saliency.png." });
  }
  const found = await recogniseClassifier(path);
  const dataPath = flags.data ?? (found.kind === "run" ? found.run.config.data.path : undefined);
  if (dataPath === undefined) {
    throw new IsoergError("USAGE", "a model without a run needs --data", {
      hint: "Prepare the data set that it was trained for: isoerg data prepare cifar10 --out data/cifar10.",
    });
  }
  if (found.kind === "run") for (const warning of found.run.checkpoint.warnings) process.stderr.write(`warning: ${warning}\n`);
  await using test = await openDataset(dataPath, "test", found.kind === "run" ? { storage: found.run.config.storage } : {});
  const engine = await startEngine(flags);
  const input = inputOptionsOf(flags);
  const opened = await openClassifier(found, { data: test, weights: parseWeights(flags.weights), input });
  try {
    if (flags.explain !== undefined) return await explainSample(opened, test, flags.explain, flags.out as string);
    const analysis = await measure({ opened, test, dataPath, engine }, flags);
    const folder = opened.run && flags.save ? opened.run.folder : null;
    const written: string[] = [];
    const write = async (file: string | undefined | null, value: unknown): Promise<void> => {
      if (!file) return;
      await writeJson(file, value);
      written.push(file);
    };
    const reference = () => referenceOf(analysis.analysis, analysis.predicted);
    await write(flags.json, analysis.analysis);
    if (flags.reference !== undefined) await write(flags.reference, reference());
    if (folder) {
      await write(join(folder, ANALYSIS_FILE), analysis.analysis);
      if (analysis.predicted.length >= 20) await write(join(folder, REFERENCE_FILE), reference());
    }
    process.stdout.write(renderAnalysis(analysis.analysis));
    if (written.length > 0) process.stdout.write(`\nwrote ${written.join(", ")}\n`);
  } finally {
    opened.dispose();
  }
}

interface Subject {
  readonly opened: OpenedClassifier;
  readonly test: Dataset;
  readonly dataPath: string;
  readonly engine: Engine;
}

async function measure(subject: Subject, flags: Flags): Promise<{ analysis: Analysis; predicted: Int32Array }> {
  const { opened, test, dataPath, engine } = subject;
  const { run, inputShape } = opened;
  const { manifest } = test;
  await using train = await openDataset(dataPath, "train", run ? { storage: run.config.storage } : {});
  const numSamples = Math.min(flags.samples ?? run?.config.evaluate.samples ?? FOREIGN_SAMPLES, test.numSamples);
  const others: AnalyzeInput["others"][number][] = [];
  for (const folder of flags.ood) {
    await using other = await openDataset(folder, "test");
    const { images, adapted } = await otherImages(other, inputShape, numSamples);
    const { name } = other.manifest;
    others.push({ name, description: `${images.numImages} test samples of ${name}${adapted ? `, ${adapted}` : ""}`, images });
  }
  const count = flags.generated ?? run?.config.evaluate.generated ?? 0;
  await using sampled = run && count > 0 ? await openSubject(run, { dataPath, weights: parseWeights(flags.weights) }) : null;
  const features = await openFeatures(flags, subject);
  const progress = createProgressLine(process.stderr);
  try {
    const analyzed = await interruptible((signal) =>
      analyzeClassifier(
        {
          classifier: opened.classifier,
          classes: manifest.classes,
          test,
          train,
          statistics: manifest.statistics,
          seed: BigInt(run?.config.seed ?? 1),
          numSamples,
          attacks: flags.attack ? attacksOf(flags, run?.config.evaluate.attack) : [],
          chains:
            run && sampled ? { count, steps: run.config.evaluate.freshSteps, sampler: run.config.sampler, start: sampled.start } : null,
          buffer: run ? bufferChains(run.checkpoint, Math.max(numSamples, count)) : null,
          others,
          gradientScores: flags.gradient,
          quality: flags.quality ? features.extractor : null,
        },
        { batchSize: flags.batchSize, signal, onProgress: progress.update },
      ),
    ).finally(progress.end);
    const { kind, name, weights, logits, numParameters, fingerprint } = opened;
    const digest = test.manifestSha256;
    const { generated: _, predicted, ...figures } = analyzed;
    const analysis = {
      format: "isoerg-analysis" as const,
      version: 1 as const,
      model: { kind, name, step: run?.checkpoint.step ?? null, weights, logits, numParameters, fingerprint },
      data: {
        name: manifest.name,
        digest,
        shape: manifest.shape,
        classes: [...manifest.classes],
        numTest: test.numSamples,
        numTrain: train.numSamples,
      },
      engine: { name: engine.name, version: engine.version, device: engine.device },
      analyzedAt: new Date().toISOString(),
      isoergVersion: packageVersion(),
      seed: run?.config.seed ?? 1,
      settings: { samples: numSamples, input: { ...inputOptionsOf(flags) } },
      ...figures,
    };
    return { analysis: { ...analysis, verdict: verdictOf(analysis) }, predicted };
  } finally {
    features.dispose();
  }
}

/** Opened with the same data; the model itself where no other is named. */
async function openFeatures(flags: Flags, { opened, test }: Subject): Promise<{ extractor: FeatureExtractor; dispose: () => void }> {
  if (flags.features === undefined) {
    const { name, classifier, numClasses, fingerprint } = opened;
    return { extractor: { name, classifier, numClasses, inception: false, self: true, fingerprint }, dispose: () => undefined };
  }
  const found = await recogniseClassifier(flags.features);
  // Inception as TensorFlow publishes it: pixels in [-1,1], images brought to its 299x299.
  const input = found.kind === "tfjs" ? { resize: true, ...(flags.inception && { range: [-1, 1] as const }) } : {};
  const other = await openClassifier(found, { data: test, classes: "any", input });
  const { name, classifier, numClasses, fingerprint } = other;
  const extractor = {
    name: name || basename(flags.features),
    classifier,
    numClasses,
    inception: flags.inception,
    self: fingerprint === opened.fingerprint,
    fingerprint,
  };
  return { extractor, dispose: () => other.dispose() };
}

function attacksOf(flags: Flags, own: AttackConfig | undefined): AttackConfig[] {
  const base = own ?? attackSchema.parse({ steps: 20, stepSize: "2/255" });
  const eps = flags.eps ?? base.eps;
  const stepSize = base.eps > 0 ? (base.stepSize * eps) / base.eps : base.stepSize;
  return flags.attacks.map((target) => ({ ...base, eps, stepSize, target }));
}

const TARGETS = ["cross-entropy", "margin", "energy", "joint-energy"] as const satisfies readonly AttackConfig["target"][];

function parseTargets(text: string): AttackConfig["target"][] {
  return text.split(",").map((word) => {
    const target = TARGETS.find((name) => name === word.trim());
    if (target) return target;
    throw new IsoergError("USAGE", `unknown attack target '${word.trim()}'${didYouMean(word.trim(), TARGETS)}`, {
      hint: `targets: ${TARGETS.join(", ")}`,
    });
  });
}

function collect(folder: string, before: readonly string[]): string[] {
  return [...before, folder];
}
