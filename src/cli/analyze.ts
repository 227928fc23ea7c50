/** `isoerg analyze`: the energies of clean, adversarial and generated samples over each other, on the terminal. */
import { writeFile } from "node:fs/promises";
import { Command } from "commander";
import { startEngine } from "../engine/choose.js";
import { evaluateRun } from "../evaluate/evaluate-run.js";
import type { Energies, Evaluation } from "../evaluate/evaluation.js";
import { histogram, quantile, sharedBins, sorted } from "../evaluate/figures/histogram.js";
import { formatCount, formatNumber } from "../evaluate/format.js";
import { addEngineOptions, type EngineFlags, parseCount } from "./engine-options.js";
import { describeEvaluation } from "./evaluate.js";
import { interruptible } from "./interruptible.js";
import { createProgressLine } from "./progress-line.js";
import { textTable } from "./text-table.js";

interface Flags extends EngineFlags {
  readonly samples?: number;
  readonly json?: string;
  readonly data?: string;
  readonly batchSize: number;
}

export function analyzeCommand(): Command {
  const command = new Command("analyze")
    .description("see the energies of a run's model: distributions and gaps")
    .argument("<run>", "a run's folder, or one of its checkpoints")
    .option("--data <dir>", "the data set's folder, if it is not where the run's configuration says")
    .option("--samples <n>", "test samples to look at (default: evaluate.samples of the run)", parseCount)
    .option("--batch-size <n>", "samples in one pass", parseCount, 128)
    .option("--json <file>", "write energies and gaps here");
  return addEngineOptions(command)
    .addHelpText(
      "after",
      "\nChanges nothing in the run's folder.\n\nExample:\n  $ isoerg analyze runs/quickstart --samples 500 --json energies.json",
    )
    .action(async (path: string, flags: Flags) => analyze(path, flags));
}

async function analyze(path: string, flags: Flags): Promise<void> {
  const engine = await startEngine(flags);
  const progress = createProgressLine(process.stderr);
  const { run, evaluation } = await interruptible((signal) =>
    evaluateRun({
      path,
      engine,
      now: () => new Date(),
      batchSize: flags.batchSize,
      untrained: "skip",
      signal,
      onProgress: progress.update,
      ...(flags.data !== undefined && { dataPath: flags.data }),
      ...(flags.samples !== undefined && { numSamples: flags.samples }),
    }),
  ).finally(progress.end);
  for (const warning of run.checkpoint.warnings) process.stderr.write(`warning: ${warning}\n`);
  if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(evaluation)}\n`);
  process.stdout.write(`${describeEvaluation(evaluation)}\n${describeEnergies(evaluation)}`);
}

const BARS = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const NUM_BINS = 48;

/** Quantiles of each kind, then their histograms on one axis, each scaled to its own highest bar. */
export function describeEnergies({ trained }: Pick<Evaluation, "trained">): string {
  const kinds = (Object.keys(trained.energies) as (keyof Energies)[]).filter((kind) => trained.energies[kind].length > 0);
  const quantiles = kinds.map((kind) => {
    const values = sorted(trained.energies[kind]);
    return [kind, formatCount(values.length), ...[0.05, 0.25, 0.5, 0.75, 0.95].map((share) => formatNumber(quantile(values, share)))];
  });
  const bins = sharedBins(
    kinds.map((kind) => trained.energies[kind]),
    NUM_BINS,
  );
  const nameWidth = Math.max(...kinds.map((kind) => kind.length));
  const histograms = kinds.map((kind) => {
    const { counts, below, above } = histogram(trained.energies[kind], bins);
    const highest = Math.max(1, ...counts);
    const bars = counts.map((count) => BARS[count === 0 ? 0 : Math.max(1, Math.round((count / highest) * (BARS.length - 1)))]).join("");
    return `${kind.padEnd(nameWidth)}  ${bars}${below + above > 0 ? `  ${below + above} outside` : ""}\n`;
  });
  const from = formatNumber(bins.from);
  const axis = `${" ".repeat(nameWidth + 2)}${from}${formatNumber(bins.to).padStart(NUM_BINS - from.length)}\n`;
  return [
    "Energies E(x)\n",
    textTable([["", "samples", "5 %", "25 %", "median", "75 %", "95 %"], ...quantiles]),
    "\n",
    ...histograms,
    axis,
  ].join("");
}
