/** `isoerg generate`: fresh chains of a run's model, as a picture or as arrays. */
import { writeFile } from "node:fs/promises";
import * as tf from "@tensorflow/tfjs-core";
import { Command } from "commander";
import { startEngine } from "../engine/choose.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { openSubject } from "../evaluate/evaluate-run.js";
import { gridPng, scaleFor } from "../evaluate/grid.js";
import { npz } from "../evaluate/npz.js";
import { drawChains, logitsOf } from "../evaluate/passes.js";
import { openRun } from "../evaluate/run-folder.js";
import type { WeightsKind } from "../evaluate/weights.js";
import { energies } from "../model/energy.js";
import { IsoergError } from "../util/error.js";
import { didYouMean } from "../util/nearest.js";
import { addEngineOptions, type EngineFlags } from "./engine-options.js";
import { parseWeights } from "./evaluate.js";
import { interruptible } from "./interruptible.js";
import { parseCount } from "./numbers.js";
import { createProgressLine } from "./progress-line.js";

interface Flags extends EngineFlags {
  readonly count: number;
  readonly class?: string;
  readonly out: string;
  readonly steps?: number;
  readonly seed?: string;
  readonly data?: string;
  readonly weights: WeightsKind | "auto";
  readonly batchSize: number;
}

export function generateCommand(): Command {
  const command = new Command("generate")
    .description("Draw samples from a model: fresh chains, none left out.")
    .argument("<run>", "a run's folder, or one of its checkpoints")
    .requiredOption("--out <file>", "grid.png, or samples.npz with images, energies and logits")
    .option("--count <n>", "samples to draw", parseCount, 64)
    .option("--class <name>", "draw one class, by name or index: its joint energy E(x,y) is descended instead of E(x)")
    .option("--steps <n>", "Langevin steps of each chain (default: evaluate.freshSteps of the run)", parseCount)
    .option("--seed <n>", "of the draws (default: the run's)")
    .option("--weights <which>", "auto, averaged or last", "auto")
    .option("--data <dir>", "the data set's folder, if it has moved; chains begin at its statistics")
    .option("--batch-size <n>", "chains advanced together", parseCount, 128);
  return addEngineOptions(command)
    .addHelpText("after", "\nExample:\n  $ isoerg generate runs/quickstart --count 64 --class horse --out horses.png")
    .action(async (path: string, flags: Flags) => generate(path, flags));
}

async function generate(path: string, flags: Flags): Promise<void> {
  const format = /\.png$/i.test(flags.out) ? "png" : /\.npz$/i.test(flags.out) ? "npz" : undefined;
  if (!format)
    throw new IsoergError("USAGE", `--out ${flags.out} is neither .png nor .npz`, { hint: "Name a file such as grid.png or samples.npz." });
  const run = await openRun(path);
  for (const warning of run.checkpoint.warnings) process.stderr.write(`warning: ${warning}\n`);
  await using subject = await openSubject(run, {
    weights: parseWeights(flags.weights),
    ...(flags.data !== undefined && { dataPath: flags.data }),
  });
  const { model, weights } = subject;
  const { numClasses, inputShape } = model;
  const classIndex = flags.class === undefined ? null : findClass(flags.class, subject.data.manifest.classes);
  const seed = flags.seed === undefined ? BigInt(run.config.seed) : parseSeed(flags.seed);
  await startEngine(flags);

  const parameters = tf.tensor1d(weights.flat);
  const bound = model.bind(parameters, "fp32");
  const progress = createProgressLine(process.stderr);
  const { images, logits } = await interruptible(async (signal) => {
    const passes = (what: string) => ({
      batchSize: flags.batchSize,
      signal,
      onProgress: (done: number, total: number) => progress.update({ what, done, total }),
    });
    const images = await drawChains(
      bound,
      inputShape,
      flags.count,
      {
        config: run.config.sampler,
        steps: flags.steps ?? run.config.evaluate.freshSteps,
        start: classIndex === null ? subject.start : subject.startOf(classIndex),
        seed,
        purpose: PURPOSE.sampling,
        labels: classIndex === null ? null : new Int32Array(flags.count).fill(classIndex),
        numClasses,
      },
      passes("chains"),
    );
    return { images, logits: await logitsOf(bound, images, numClasses, passes("energies")) };
  }).finally(progress.end);
  bound.dispose();
  parameters.dispose();

  if (format === "png") {
    const columns = Math.min(10, Math.ceil(Math.sqrt(flags.count)));
    await writeFile(flags.out, gridPng(images, { columns, scale: scaleFor(images, columns, 640) }));
  } else {
    await writeFile(
      flags.out,
      npz({
        images: { shape: [flags.count, ...inputShape], data: images.data },
        energies: { shape: [flags.count], data: energies(logits, numClasses) },
        logits: { shape: [flags.count, numClasses], data: logits },
      }),
    );
  }
  process.stdout.write(`wrote ${flags.count} samples of step ${run.checkpoint.step} (${weights.kind} weights) to ${flags.out}\n`);
}

function findClass(word: string, classes: readonly string[]): number {
  const byName = classes.indexOf(word);
  if (byName >= 0) return byName;
  const index = Number(word);
  if (word.trim() !== "" && Number.isInteger(index) && index >= 0 && index < classes.length) return index;
  throw new IsoergError("USAGE", `there is no class '${word}'${didYouMean(word, classes)}`, { hint: `classes: ${classes.join(", ")}` });
}

function parseSeed(text: string): bigint {
  if (!/^\d+$/.test(text)) throw new IsoergError("USAGE", `--seed ${text} is no whole number`);
  return BigInt(text);
}
