/** `isoerg export`: a run's weights for other programs. */
import { open, rename } from "node:fs/promises";
import { Command } from "commander";
import { safetensorsPieces } from "../checkpoint/safetensors.js";
import { openRun } from "../evaluate/run-folder.js";
import { chooseWeights, plainTensors, type WeightsKind } from "../evaluate/weights.js";
import { IsoergError } from "../util/error.js";
import { didYouMean } from "../util/nearest.js";
import { parseWeights } from "./evaluate.js";

const FORMATS = ["safetensors"];

interface Flags {
  readonly format: string;
  readonly out: string;
  readonly weights: WeightsKind | "auto";
}

export function exportCommand(): Command {
  return new Command("export")
    .description("A run's weights as safetensors, by name.")
    .argument("<run>", "a run's folder, or one of its checkpoints")
    .requiredOption("--out <file>", "the file to write")
    .option("--format <name>", "safetensors", "safetensors")
    .option("--weights <which>", "auto (averaged where the run kept them), averaged or last", "auto")
    .addHelpText(
      "after",
      "\nFilters are [kh,kw,cin,cout], linear weights [in,out]; src/checkpoint/README.md loads them in PyTorch.\n\nExample:\n  $ isoerg export runs/quickstart --format safetensors --out quickstart.safetensors",
    )
    .action(async (path: string, flags: Flags) => exportRun(path, flags));
}

async function exportRun(path: string, flags: Flags): Promise<void> {
  if (!FORMATS.includes(flags.format)) {
    throw new IsoergError("USAGE", `there is no export to '${flags.format}'${didYouMean(flags.format, FORMATS)}`, {
      hint: `formats: ${FORMATS.join(", ")}`,
    });
  }
  const { config, checkpoint } = await openRun(path);
  for (const warning of checkpoint.warnings) process.stderr.write(`warning: ${warning}\n`);
  const weights = chooseWeights(checkpoint.files.model, parseWeights(flags.weights));
  const tensors = plainTensors(checkpoint.files.model, weights);
  const metadata = { producer: "isoerg", run: config.name, step: String(checkpoint.step), weights, model: JSON.stringify(config.model) };
  {
    await using file = await open(`${flags.out}.partial`, "w");
    for (const piece of safetensorsPieces(tensors, metadata)) await file.writeFile(piece);
    await file.sync();
  }
  await rename(`${flags.out}.partial`, flags.out);
  process.stdout.write(`wrote ${tensors.size} tensors of step ${checkpoint.step} (${weights} weights) to ${flags.out}\n`);
}
