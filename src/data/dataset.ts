/**
 * A prepared data set, read by sample id, wherever it lies. Shards are read whole at first use, checked against the manifest, and
 * kept in memory up to a number of bytes; the plan's shard-local blocks make that cheap. Nothing is read that no one asked for.
 *
 * Several reads may be under way at once: a shard that two of them need is read once.
 */
import type { StorageOptions } from "../storage/open.js";
import { IsoergError, invariant } from "../util/error.js";
import type { Range } from "../util/range.js";
import { type DatasetFiles, type ManifestFile, openDatasetFiles } from "./dataset-files.js";
import type { FileRecord } from "./files.js";
import { LABEL_BYTES, type Manifest, type ManifestSplit, recordBytes, type Split } from "./manifest.js";
import { roomFor, type SampleShape, type SampleSource, type Samples } from "./samples.js";

export interface DatasetOptions {
  /** Only the first N samples, or those of a range; ids then count from its beginning. */
  readonly subset?: number | Range | null;
  /** `sha256`: each shard's content is checked when it is first read. `size`: sizes only. */
  readonly verify?: "sha256" | "size";
  /** Shards kept in memory, in bytes; at least the one in use is. */
  readonly cacheBytes?: number;
}

/** Shards that one read asks for at once. */
const AT_ONCE = 4;

/**
 * Opens one split of a data set in a folder or at a locator. Every shard's presence and size are checked here, its content at
 * first use.
 * @throws IsoergError DATA that names what is missing or wrong; CONFIG when the subset is larger than the split; NETWORK.
 */
export async function openDataset(place: string, split: Split, options: DatasetOptions & StorageOptions = {}): Promise<Dataset> {
  const files = openDatasetFiles(place, options);
  try {
    const { manifest, sha256 } = await files.readManifest();
    const check = await files.sizes();
    for (const shard of manifest.splits[split].shards) await check(shard);
    return new Dataset(files, split, { manifest, sha256 }, options);
  } catch (error) {
    await files.close();
    throw error;
  }
}

export class Dataset implements SampleSource {
  readonly manifest: Manifest;
  readonly manifestSha256: string;
  readonly split: Split;
  readonly shape: SampleShape;
  readonly numClasses: number;
  readonly numSamples: number;
  readonly #files: DatasetFiles;
  readonly #shards: ManifestSplit;
  readonly #first: number;
  readonly #verify: boolean;
  readonly #cacheBytes: number;
  /** By shard index, least recently used first. */
  readonly #cache = new Map<number, Promise<Uint8Array>>();
  readonly #closed = new AbortController();

  /** `files` are closed with it. */
  constructor(
    files: DatasetFiles,
    split: Split,
    { manifest, sha256 }: Pick<ManifestFile, "manifest" | "sha256">,
    options: DatasetOptions = {},
  ) {
    const { subset = null, verify = "sha256", cacheBytes = 256 * 2 ** 20 } = options;
    this.#files = files;
    this.split = split;
    this.manifest = manifest;
    this.manifestSha256 = sha256;
    this.shape = manifest.shape;
    this.numClasses = manifest.classes.length;
    this.#shards = manifest.splits[split];
    const { numSamples } = this.#shards;
    const range = typeof subset === "number" ? { from: 0, to: subset } : (subset ?? { from: 0, to: numSamples });
    if (range.from < 0 || range.to > numSamples || range.from > range.to) {
      throw new IsoergError(
        "CONFIG",
        `a subset of samples ${range.from} to ${range.to}, but the ${split} split of '${files.where}' has ${numSamples}`,
        {
          hint: `set data.subset to at most ${numSamples}, or to null for all`,
        },
      );
    }
    this.#first = range.from;
    this.numSamples = range.to - range.from;
    this.#verify = verify === "sha256";
    this.#cacheBytes = cacheBytes;
  }

  async read(ids: ArrayLike<number>, into?: Samples): Promise<Samples> {
    invariant(!this.#closed.signal.aborted, "a data set was read after it was closed");
    const out = roomFor(ids.length, this.shape, into);
    // Place by place, shard by shard: each shard that is needed is awaited once.
    const placesOf = new Map<number, number[]>();
    for (let place = 0; place < ids.length; place++) {
      const id = ids[place] as number;
      invariant(id < this.numSamples, `sample ${id} of ${this.numSamples}`);
      const shard = this.shardOf(id);
      const places = placesOf.get(shard);
      if (places === undefined) placesOf.set(shard, [place]);
      else places.push(place);
    }
    const size = recordBytes(this.shape);
    const wanted = [...placesOf.keys()];
    const loading: Promise<Uint8Array>[] = [];
    for (const [i, [shard, places]] of [...placesOf].entries()) {
      for (let next = loading.length; next < Math.min(wanted.length, i + AT_ONCE); next++) {
        const begun = this.#load(wanted[next] as number);
        begun.catch(() => {}); // awaited in its turn
        loading.push(begun);
      }
      const bytes = await (loading[i] as Promise<Uint8Array>);
      delete loading[i]; // a batch of many shards holds few of them
      for (const place of places) {
        const at = (this.#first + (ids[place] as number) - shard * this.#shards.samplesPerShard) * size;
        const label = (bytes[at] as number) + 256 * (bytes[at + 1] as number);
        if (label >= this.numClasses) {
          const file = this.#files.nameOf(this.#shards.shards[shard]?.file ?? "");
          throw new IsoergError("DATA", `'${file}' was altered: byte ${at} gives class ${label}, of ${this.numClasses} classes`, {
            hint: "run `isoerg data prepare` again with the same --out: it rewrites what is damaged",
          });
        }
        out.labels[place] = label;
        out.images.set(bytes.subarray(at + LABEL_BYTES, at + size), place * (size - LABEL_BYTES));
      }
    }
    return out;
  }

  /** Index of the shard that holds a sample. */
  shardOf(id: number): number {
    return Math.floor((this.#first + id) / this.#shards.samplesPerShard);
  }

  /** Begins to read a shard that will soon be needed. If that fails, the read that needs it tries again, and says so. */
  warm(shard: number): void {
    if (!this.#closed.signal.aborted) this.#load(shard).catch(() => {});
  }

  /** Another file that the manifest lists. */
  readFile(record: FileRecord): Promise<Uint8Array> {
    return this.#files.read(record);
  }

  /** Ends reads that are under way and gives the memory back. */
  async close(): Promise<void> {
    this.#closed.abort();
    const pending = [...this.#cache.values()];
    this.#cache.clear();
    await Promise.allSettled(pending);
    await this.#files.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #load(index: number): Promise<Uint8Array> {
    const shard = this.#shards.shards[index];
    invariant(shard, `shard ${index} of ${this.#shards.shards.length}`);
    let bytes = this.#cache.get(index);
    if (bytes !== undefined) this.#cache.delete(index);
    else {
      bytes = this.#files.read(shard, { verify: this.#verify, signal: this.#closed.signal });
      // A failed read is not kept: the file may have been mended when the next one asks.
      bytes.catch(() => this.#cache.delete(index));
    }
    this.#cache.set(index, bytes);
    let total = 0;
    for (const kept of this.#cache.keys()) total += this.#shards.shards[kept]?.sizeBytes ?? 0;
    for (const oldest of this.#cache.keys()) {
      if (total <= this.#cacheBytes || oldest === index) break;
      total -= this.#shards.shards[oldest]?.sizeBytes ?? 0;
      this.#cache.delete(oldest);
    }
    return bytes;
  }
}
