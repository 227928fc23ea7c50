/**
 * From a public source to shards, statistics and a manifest. The manifest is written last and all files durably before it,
 * so a folder holds either a whole data set or none; a second call finds it, checks every file and changes nothing.
 */
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { IsoergError } from "../util/error.js";
import { createChannelStatistics } from "./channel-statistics.js";
import { createClassGaussianSums } from "./class-gaussians.js";
import { openDatasetFiles, readManifest } from "./dataset-files.js";
import { syncFolder, writeDurably } from "./files.js";
import { MANIFEST_FILE, MANIFEST_VERSION, type Manifest, parseManifest, type Split } from "./manifest.js";
import { createShardWriter } from "./shard-writer.js";
import { createNetworkFetcher, defaultCacheFolder, type Fetcher } from "./sources/fetcher.js";
import type { Origin, PrepareEvent, Source, SourceContext } from "./sources/source.js";
import { verifyDataset } from "./verify.js";

const GAUSSIANS_FILE = "class-gaussians.f32";

export interface PrepareOptions {
  /** Folder of the prepared data set. */
  readonly out: string;
  readonly onProgress?: (event: PrepareEvent) => void;
  readonly signal?: AbortSignal;
  readonly cacheFolder?: string;
  readonly fetcher?: Fetcher;
  readonly shardBytes?: number;
}

export interface Prepared {
  readonly manifest: Manifest;
  /** It was there already and is whole. */
  readonly reused: boolean;
}

/**
 * @throws IsoergError DATA when the folder holds something else or the source is not what was published; NETWORK when no origin
 * can be reached; STOPPED when the signal came.
 */
export async function prepareDataset(source: Source, options: PrepareOptions): Promise<Prepared> {
  const { out, onProgress = () => undefined, signal, cacheFolder = defaultCacheFolder(), fetcher = createNetworkFetcher() } = options;
  const context: SourceContext = { fetcher, cacheFolder, onProgress, signal };
  try {
    const whole = await findWhole(source, out, context);
    if (whole !== undefined) return { manifest: whole, reused: true };
    await mkdir(out, { recursive: true });
    await mkdir(cacheFolder, { recursive: true });
    const { origin, path } = await obtainFirst(source, context);
    const manifest = await write(source, origin, path, options.shardBytes ?? 32 * 2 ** 20, out, context);
    return { manifest, reused: false };
  } catch (error) {
    if (!signal?.aborted) throw error;
    throw new IsoergError("STOPPED", `stopped while preparing ${source.name}`, {
      hint: "the same command starts over; downloads are kept",
      cause: error,
    });
  }
}

/** The data set that the folder holds already, if it is this one and whole. Never overwrites what isoerg did not write. */
async function findWhole(source: Source, out: string, { onProgress, signal }: SourceContext): Promise<Manifest | undefined> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === "ENOENT") return [];
    throw new IsoergError("DATA", `'${out}' can't be used as a folder (${error.code})`, { hint: "give another --out", cause: error });
  });
  if (!names.includes(MANIFEST_FILE)) {
    const foreign = names.find(
      (name) => !/\.shard(\.|$)|^class-gaussians\.f32|^manifest\.json\..*\.partial$/.test(name) && !name.startsWith("."),
    );
    if (foreign === undefined || foreign === "lost+found") return undefined;
    throw new IsoergError("DATA", `'${out}' holds other files ('${foreign}') and no data set`, {
      hint: "give an empty or a new folder as --out",
    });
  }
  let manifest: Manifest;
  try {
    manifest = await readManifest(out);
  } catch (error) {
    onProgress({ kind: "note", text: `${error instanceof Error ? error.message : String(error)}; preparing it again` });
    return undefined;
  }
  if (manifest.name !== source.name) {
    throw new IsoergError("DATA", `'${out}' holds the data set '${manifest.name}', not '${source.name}'`, { hint: "give another --out" });
  }
  const damages = await verifyDataset(openDatasetFiles(out), manifest, {
    signal,
    onBytes: (done, total) => onProgress({ kind: "progress", phase: "verify", done, total, unit: "bytes" }),
  });
  if (damages.length === 0) return manifest;
  for (const { problem } of damages) onProgress({ kind: "note", text: `${problem}; preparing it again` });
  return undefined;
}

/** The first origin that can be reached and gives what it should. */
async function obtainFirst(source: Source, context: SourceContext): Promise<{ origin: Origin; path: string }> {
  const failures: string[] = [];
  for (const origin of source.origins) {
    try {
      return { origin, path: await origin.obtain(context) };
    } catch (error) {
      if (!(error instanceof IsoergError) || context.signal?.aborted) throw error;
      failures.push(error.message);
      context.onProgress({ kind: "note", text: error.message });
    }
  }
  throw new IsoergError("NETWORK", `${source.name} can't be had from any of its ${source.origins.length} places: ${failures.join("; ")}`, {
    hint: `open the network to one of ${source.origins.map((origin) => origin.id).join(", ")}, or copy a prepared folder from another machine`,
  });
}

async function write(
  source: Source,
  origin: Origin,
  path: string,
  shardBytes: number,
  out: string,
  context: SourceContext,
): Promise<Manifest> {
  const { shape, classes, numSamples } = source;
  const numClasses = classes.length;
  const writerOf = (split: Split) =>
    createShardWriter({ folder: out, split, shape, numClasses, numSamples: numSamples[split], shardBytes });
  const writers = { train: writerOf("train"), test: writerOf("test") };
  const channels = createChannelStatistics(shape);
  const gaussians = createClassGaussianSums(shape, numClasses);
  const total = numSamples.train + numSamples.test;
  let done = 0;
  for await (const { split, samples } of origin.read(path, context)) {
    await writers[split].add(samples);
    if (split === "train") channels.add(samples);
    // In pieces, so that a signal and the progress line are never seconds away.
    const size = samples.images.length / Math.max(1, samples.labels.length);
    for (let from = 0; from < samples.labels.length; from += 1000) {
      const to = Math.min(from + 1000, samples.labels.length);
      if (split === "train")
        gaussians.add({ images: samples.images.subarray(from * size, to * size), labels: samples.labels.subarray(from, to) });
      done += to - from;
      context.onProgress({ kind: "progress", phase: "prepare", done, total, unit: "samples" });
      await new Promise<void>((resolve) => setImmediate(resolve));
      context.signal?.throwIfAborted();
    }
  }
  const splits = { train: await writers.train.finish(), test: await writers.test.finish() };
  const { bytes, lowHeight, lowWidth } = gaussians.encode();
  const classGaussians = { ...(await writeDurably(join(out, GAUSSIANS_FILE), bytes)), lowHeight, lowWidth };
  await syncFolder(out);
  const manifest: Manifest = {
    format: "isoerg-dataset",
    version: MANIFEST_VERSION,
    name: source.name,
    origin: origin.id,
    shape,
    classes: [...classes],
    splits,
    statistics: channels.result(),
    classGaussians,
  };
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  parseManifest(text, join(out, MANIFEST_FILE)); // what is written can be read back
  await writeDurably(join(out, MANIFEST_FILE), new TextEncoder().encode(text));
  await syncFolder(out);
  return manifest;
}
