/** A data set's manifest as text: splits, classes with their counts, files with their sizes and digests. */
import { type Manifest, SPLITS } from "../../data/manifest.js";
import { filesOf } from "../../data/verify.js";

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
