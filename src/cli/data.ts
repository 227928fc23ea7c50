/**
 * `isoerg data prepare` and `isoerg data inspect`: a public data set to shards, and what a prepared one holds.
 * The work is src/data's; here it is shown.
 */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command } from "commander";
import { type Manifest, readManifest } from "../data/manifest.js";
import { prepareDataset } from "../data/prepare.js";
import { sourceNamed, sources } from "../data/sources/registry.js";
import type { PrepareEvent } from "../data/sources/source.js";
import { type Damage, filesOf, verifyDataset } from "../data/verify.js";
import { IsoergError } from "../util/error.js";
import { describe } from "./data/describe.js";
import { interruptible } from "./interruptible.js";
import { createProgressLine } from "./progress-line.js";

export function dataCommand(): Command {
  const command = new Command("data").description("Prepare a data set, or inspect a prepared one.");
  command.addCommand(prepareCommand());
  command.addCommand(inspectCommand());
  return command.addHelpText(
    "after",
    "\nExample:\n  $ isoerg data prepare cifar10 --out data/cifar10\n  $ isoerg data inspect data/cifar10 --verify",
  );
}

function prepareCommand(): Command {
  const known = sources.map(({ name, summary }) => `  ${name.padEnd(10)}${summary}`).join("\n");
  return new Command("prepare")
    .description("Fetch a public data set, check every pixel and label against published digests, and write it as shards.")
    .argument("<source>", sources.map(({ name }) => name).join(" | "))
    .requiredOption("--out <dir>", "folder for the prepared data set; what is there and whole is used again")
    .option("--cache <dir>", "folder where downloads are kept (default: ISOERG_CACHE, or ~/.cache/isoerg)")
    .option("--json <file>", "write the manifest, the folder and whether it was there already")
    .addHelpText("after", `\nData sets:\n${known}\n\nExample:\n  $ isoerg data prepare cifar10 --out data/cifar10`)
    .action(async (name: string, options: { out: string; cache?: string; json?: string }) => {
      const source = sourceNamed(name);
      const display = createDisplay();
      const { manifest, reused } = await interruptible((signal) =>
        prepareDataset(source, {
          out: options.out,
          signal,
          onProgress: display.event,
          ...(options.cache === undefined ? {} : { cacheFolder: options.cache }),
        }),
      ).finally(display.end);
      print(`${reused ? "already prepared and whole" : "prepared"}: ${options.out}\n\n${describe(manifest)}`);
      if (options.json !== undefined) await writeJson(options.json, { folder: resolve(options.out), reused, manifest });
    });
}

function inspectCommand(): Command {
  return new Command("inspect")
    .description("Show what a prepared data set holds; ends with 2 when a file is missing or damaged.")
    .argument("<dir>", "folder that `isoerg data prepare` wrote")
    .option("--verify", "read every file and check its sha256, not only that it is there and of its size")
    .option("--json <file>", "write the manifest and what is damaged")
    .addHelpText("after", "\nExample:\n  $ isoerg data inspect data/cifar10 --verify")
    .action(async (folder: string, options: { verify?: true; json?: string }) => {
      const manifest = await readManifest(folder);
      print(describe(manifest));
      const damages = await (options.verify ? verifyContent(folder, manifest) : verifyDataset(folder, manifest, { by: "size" }));
      for (const { problem } of damages) print(`damaged: ${problem}`);
      if (options.verify && damages.length === 0) print(`verified: all ${filesOf(manifest).length} files are whole`);
      if (options.json !== undefined) await writeJson(options.json, { folder: resolve(folder), manifest, damages });
      if (damages.length > 0) {
        throw new IsoergError(
          "DATA",
          `${damages.length} of ${filesOf(manifest).length} files in '${folder}' are damaged: ${damages.map(({ file }) => file).join(", ")}`,
          {
            hint: `mend them: isoerg data prepare ${manifest.name} --out ${folder}`,
          },
        );
      }
    });
}

function verifyContent(folder: string, manifest: Manifest): Promise<Damage[]> {
  const display = createDisplay();
  const onBytes = (done: number, total: number): void => display.event({ kind: "progress", phase: "verify", done, total, unit: "bytes" });
  return interruptible((signal) => verifyDataset(folder, manifest, { signal, onBytes })).finally(display.end);
}

/** Shows events on the error stream, sizes in MiB. */
function createDisplay(): { event(event: PrepareEvent): void; end(): void } {
  const line = createProgressLine(process.stderr);
  return {
    event(event) {
      if (event.kind === "note") {
        line.end();
        process.stderr.write(`${event.text}\n`);
      } else if (event.total !== null) {
        const scale = event.unit === "bytes" ? 2 ** 20 : 1;
        const what = `${event.phase} (${event.unit === "bytes" ? "MiB" : "samples"})`;
        line.update({ what, done: Math.floor(event.done / scale), total: Math.floor(event.total / scale) });
      }
    },
    end: () => line.end(),
  };
}

async function writeJson(path: string, value: unknown): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
  } catch (error) {
    throw new IsoergError("USAGE", `--json ${path} can't be written (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
