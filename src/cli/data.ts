/**
 * `isoerg data prepare`, `publish` and `inspect`: a public data set to shards, these to a place that all workers reach, and what
 * a prepared one holds.
 * The work is src/data's; here it is shown.
 */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command } from "commander";
import { storageSchema } from "../config/schema/storage.js";
import type { StorageConfig } from "../config/schema.js";
import { type DatasetFiles, openDatasetFiles } from "../data/dataset-files.js";
import type { Manifest } from "../data/manifest.js";
import { prepareDataset } from "../data/prepare.js";
import { publishDataset } from "../data/publish.js";
import { sourceNamed, sources } from "../data/sources/registry.js";
import type { PrepareEvent } from "../data/sources/source.js";
import { type Damage, filesOf, verifyDataset } from "../data/verify.js";
import { IsoergError } from "../util/error.js";
import { isLocator } from "../util/locator.js";
import { describe } from "./data/describe.js";
import { interruptible } from "./interruptible.js";
import { createProgressLine } from "./progress-line.js";

export function dataCommand(): Command {
  const command = new Command("data").description("Prepare a data set; publish or inspect a prepared one.");
  command.addCommand(prepareCommand());
  command.addCommand(publishCommand());
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

function publishCommand(): Command {
  return new Command("publish")
    .description("Put a prepared data set where every worker reads it for itself. The same command again goes on where it stopped.")
    .argument("<dir>", "folder that `isoerg data prepare` wrote")
    .argument("<place>", "s3://bucket/prefix, or file:///folder on a volume that every machine mounts")
    .option("--endpoint <url>", "of an S3-compatible store (default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or Amazon's)")
    .option("--region <name>", "of the bucket (default: AWS_REGION, AWS_DEFAULT_REGION, or the profile's)")
    .option("--json <file>", "write the place, and how many files were put or there already")
    .addHelpText(
      "after",
      "\nCredentials are found as by Amazon's own tools: environment, profile, the machine's role.\n" +
        "\nExample:\n  $ isoerg data publish data/cifar10 s3://my-bucket/cifar10\n  $ isoerg train jdat data.path=s3://my-bucket/cifar10 --run runs/jdat",
    )
    .action(async (folder: string, place: string, options: StorageFlags & { json?: string }) => {
      const display = createDisplay();
      const onBytes = (done: number, total: number): void =>
        display.event({ kind: "progress", phase: "publish", done, total, unit: "bytes" });
      const onNotice = (text: string): void => display.event({ kind: "note", text });
      const { manifest, numPut, numReused } = await interruptible((signal) =>
        publishDataset(folder, place, { storage: storageOf(options), onBytes, onNotice, signal }),
      ).finally(display.end);
      const reused = numReused === 0 ? "" : `, ${numReused} were there already`;
      print(`published: ${manifest.name} at ${place} (${numPut} files written${reused})\n\nTo train on it: data.path=${place}`);
      if (options.json !== undefined) await writeJson(options.json, { place, numPut, numReused, manifest });
    });
}

interface StorageFlags {
  readonly endpoint?: string;
  readonly region?: string;
}

/** @throws IsoergError USAGE */
function storageOf({ endpoint, region }: StorageFlags): StorageConfig {
  const parsed = storageSchema.safeParse({ endpoint: endpoint ?? null, region: region ?? null });
  if (parsed.success) return parsed.data;
  throw new IsoergError("USAGE", `--${parsed.error.issues[0]?.path.join(".")}: ${parsed.error.issues[0]?.message}`);
}

function inspectCommand(): Command {
  return new Command("inspect")
    .description("Show what a prepared data set holds; ends with 2 when a file is missing or damaged.")
    .argument("<dir>", "folder that `isoerg data prepare` wrote, or a place where it was published")
    .option("--verify", "read every file and check its sha256, not only that it is there and of its size")
    .option("--endpoint <url>", "of an S3-compatible store (default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or Amazon's)")
    .option("--region <name>", "of the bucket (default: AWS_REGION, AWS_DEFAULT_REGION, or the profile's)")
    .option("--json <file>", "write the manifest and what is damaged")
    .addHelpText("after", "\nExample:\n  $ isoerg data inspect data/cifar10 --verify")
    .action(async (folder: string, options: StorageFlags & { verify?: true; json?: string }) => {
      await using files = openDatasetFiles(folder, { storage: { ...storageOf(options), cacheMiB: 0 } });
      const { manifest } = await files.readManifest();
      print(describe(manifest));
      const damages = await (options.verify ? verifyContent(files, manifest) : verifyDataset(files, manifest, { by: "size" }));
      for (const { problem } of damages) print(`damaged: ${problem}`);
      if (options.verify && damages.length === 0) print(`verified: all ${filesOf(manifest).length} files are whole`);
      if (options.json !== undefined)
        await writeJson(options.json, { folder: isLocator(folder) ? folder : resolve(folder), manifest, damages });
      if (damages.length > 0) {
        throw new IsoergError(
          "DATA",
          `${damages.length} of ${filesOf(manifest).length} files in '${folder}' are damaged: ${damages.map(({ file }) => file).join(", ")}`,
          {
            hint: isLocator(folder)
              ? `publish a whole copy again: isoerg data publish DIR ${folder}`
              : `mend them: isoerg data prepare ${manifest.name} --out ${folder}`,
          },
        );
      }
    });
}

function verifyContent(files: DatasetFiles, manifest: Manifest): Promise<Damage[]> {
  const display = createDisplay();
  const onBytes = (done: number, total: number): void => display.event({ kind: "progress", phase: "verify", done, total, unit: "bytes" });
  return interruptible((signal) => verifyDataset(files, manifest, { signal, onBytes })).finally(display.end);
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
