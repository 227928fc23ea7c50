/**
 * `isoerg data prepare` and `isoerg data inspect`: a public data set to shards, and what a prepared one holds.
 * The work is src/data's; here it is shown: one moving line on a terminal, a line every few seconds elsewhere.
 */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command } from "commander";
import { type Manifest, readManifest, SPLITS } from "../data/manifest.js";
import { prepareDataset } from "../data/prepare.js";
import { sourceNamed, sources } from "../data/sources/registry.js";
import type { PrepareEvent } from "../data/sources/source.js";
import { type Damage, filesOf, verifyDataset } from "../data/verify.js";
import { IsoergError } from "../util/error.js";

const LINE_EVERY_MS = 3_000;
const DRAW_EVERY_MS = 100;

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
      const stop = new AbortController();
      const onSignal = (): void => stop.abort();
      process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
      const show = createProgressLine();
      try {
        const { manifest, reused } = await prepareDataset(source, {
          out: options.out,
          signal: stop.signal,
          onProgress: show.event,
          ...(options.cache === undefined ? {} : { cacheFolder: options.cache }),
        });
        show.end();
        print(`${reused ? "already prepared and whole" : "prepared"}: ${options.out}\n\n${describe(manifest)}`);
        if (options.json !== undefined) await writeJson(options.json, { folder: resolve(options.out), reused, manifest });
      } finally {
        show.end();
        process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
      }
    });
}

function inspectCommand(): Command {
  return new Command("inspect")
    .description("Show what a prepared data set holds.")
    .argument("<dir>", "folder that `isoerg data prepare` wrote")
    .option("--verify", "read every file and check its sha256; ends with 2 when one is damaged")
    .option("--json <file>", "write the manifest and what is damaged")
    .addHelpText("after", "\nExample:\n  $ isoerg data inspect data/cifar10 --verify")
    .action(async (folder: string, options: { verify?: true; json?: string }) => {
      const manifest = await readManifest(folder);
      print(describe(manifest));
      let damages: Damage[] | null = null;
      if (options.verify) {
        const show = createProgressLine();
        damages = await verifyDataset(folder, manifest, {
          onBytes: (done, total) => show.event({ kind: "progress", phase: "verify", done, total, unit: "bytes" }),
        });
        show.end();
        const numFiles = filesOf(manifest).length;
        print(
          damages.length === 0
            ? `verified: all ${numFiles} files are whole`
            : damages.map(({ problem }) => `damaged: ${problem}`).join("\n"),
        );
      }
      if (options.json !== undefined) await writeJson(options.json, { folder: resolve(folder), manifest, damages });
      if (damages !== null && damages.length > 0) {
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

/** The manifest for people. */
export function describe(manifest: Manifest): string {
  const { height, width, channels } = manifest.shape;
  const figures = (values: readonly number[]): string => values.map((value) => value.toFixed(4)).join(" ");
  const lines = [
    `${manifest.name}: ${height}x${width}x${channels} uint8, ${manifest.classes.length} classes, from ${manifest.origin}`,
    `channel means ${figures(manifest.statistics.mean)}, deviations ${figures(manifest.statistics.std)} (training split, pixels in [0,1])`,
    "",
    ...table(
      ["split", "samples", "shards", "size"],
      SPLITS.map((name) => {
        const { numSamples, shards } = manifest.splits[name];
        const bytes = shards.reduce((sum, shard) => sum + shard.sizeBytes, 0);
        return [name, numSamples.toLocaleString("en"), String(shards.length), mebibytes(bytes)];
      }),
    ),
    "",
    ...table(
      ["class", "name", ...SPLITS],
      manifest.classes.map((name, i) => [
        String(i),
        name,
        ...SPLITS.map((split) => (manifest.splits[split].classCounts[i] ?? 0).toLocaleString("en")),
      ]),
    ),
    "",
    ...table(
      ["file", "size", "sha256"],
      filesOf(manifest).map(({ file, sizeBytes, sha256 }) => [file, mebibytes(sizeBytes), `${sha256.slice(0, 16)}…`]),
    ),
  ];
  return lines.join("\n");
}

/** Columns as wide as their widest cell; figures to the right. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const isFigure = header.map((_, i) => rows.every((row) => /^[\d.,]+( MiB)?$/.test(row[i] ?? "")));
  return [header, ...rows].map((row) =>
    `  ${row.map((cell, i) => (isFigure[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join("  ")}`.trimEnd(),
  );
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

interface ProgressLine {
  readonly event: (event: PrepareEvent) => void;
  /** Leaves the moving line behind. */
  end(): void;
}

function createProgressLine(): ProgressLine {
  const isTerminal = process.stderr.isTTY === true;
  let phase = "";
  let phaseStartedAt = 0;
  let shownAt = 0;
  let open = false;
  const end = (): void => {
    if (open) process.stderr.write("\n");
    open = false;
  };
  return {
    end,
    event(event) {
      if (event.kind === "note") {
        end();
        process.stderr.write(`${event.text}\n`);
        return;
      }
      const now = performance.now();
      if (event.phase !== phase) {
        end();
        [phase, phaseStartedAt, shownAt] = [event.phase, now, isTerminal ? 0 : now];
      }
      const finished = event.total !== null && event.done >= event.total;
      if (!finished && now - shownAt < (isTerminal ? DRAW_EVERY_MS : LINE_EVERY_MS)) return;
      shownAt = now;
      const text = progressText(event, now - phaseStartedAt);
      if (isTerminal) process.stderr.write(`\r\u001b[2K${text}`);
      else process.stderr.write(`${text}\n`);
      open = isTerminal;
    },
  };
}

function progressText(event: Extract<PrepareEvent, { kind: "progress" }>, elapsedMs: number): string {
  const { phase, done, total, unit } = event;
  const amount = (value: number): string => (unit === "bytes" ? mebibytes(value) : value.toLocaleString("en"));
  if (total === null || total === 0) return `${phase}: ${amount(done)}`;
  const etaS = done > 0 ? Math.ceil((elapsedMs / 1000) * (total / done - 1)) : null;
  const rest = done >= total || etaS === null ? "" : `, about ${etaS} s left`;
  return `${phase}: ${amount(done)} of ${amount(total)}${unit === "samples" ? " samples" : ""} (${Math.floor((100 * done) / total)} %${rest})`;
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
