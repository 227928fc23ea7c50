/**
 * Cuts a stream of samples into shards of equal size and writes each when it is full. One shard is in memory at a time.
 */
import { join } from "node:path";
import { invariant } from "../util/error.js";
import { writeDurably } from "./files.js";
import { LABEL_BYTES, type ManifestSplit, recordBytes, type Split } from "./manifest.js";
import { pixelsOf, type SampleShape, type Samples } from "./samples.js";

export interface ShardWriter {
  add(samples: Samples): Promise<void>;
  /** Writes what remains. */
  finish(): Promise<ManifestSplit>;
}

export interface ShardWriterOptions {
  readonly folder: string;
  readonly split: Split;
  readonly shape: SampleShape;
  readonly numClasses: number;
  /** That will be added in all. */
  readonly numSamples: number;
  /** No shard is larger, unless one sample is. */
  readonly shardBytes: number;
}

export function createShardWriter(options: ShardWriterOptions): ShardWriter {
  const { folder, split, shape, numClasses, numSamples } = options;
  const size = recordBytes(shape);
  const pixels = pixelsOf(shape);
  // As few shards as the limit allows, and all of about the same size.
  const numShards = Math.max(1, Math.ceil(numSamples / Math.max(1, Math.floor(options.shardBytes / size))));
  const samplesPerShard = Math.max(1, Math.ceil(numSamples / numShards));
  const shards: ManifestSplit["shards"] = [];
  const classCounts = new Array<number>(numClasses).fill(0);
  const shard = new Uint8Array(samplesPerShard * size);
  let filled = 0;
  let added = 0;

  const flush = async (): Promise<void> => {
    if (filled === 0) return;
    const name = `${split}-${String(shards.length).padStart(5, "0")}.shard`;
    shards.push({ ...(await writeDurably(join(folder, name), shard.subarray(0, filled * size))), numSamples: filled });
    filled = 0;
  };

  return {
    async add({ images, labels }) {
      for (let i = 0; i < labels.length; i++) {
        const label = labels[i] as number;
        invariant(label >= 0 && label < numClasses, `class ${label} of ${numClasses}`);
        const at = filled * size;
        shard[at] = label & 0xff;
        shard[at + 1] = label >>> 8;
        shard.set(images.subarray(i * pixels, (i + 1) * pixels), at + LABEL_BYTES);
        classCounts[label] = (classCounts[label] as number) + 1;
        added++;
        if (++filled === samplesPerShard) await flush();
      }
    },
    async finish() {
      await flush();
      invariant(added === numSamples, `${added} samples of ${split}, ${numSamples} were announced`);
      return { numSamples, classCounts, samplesPerShard, shards };
    },
  };
}
