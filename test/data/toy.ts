/** Small data sets for these tests: deterministic samples, a Source made of them, folders that clean themselves up. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type PrepareOptions, prepareDataset } from "../../src/data/prepare.js";
import { pixelsOf, type SampleShape, type Samples } from "../../src/data/samples.js";
import type { Fetcher } from "../../src/data/sources/fetcher.js";
import type { Source } from "../../src/data/sources/source.js";
import { draws } from "../../src/engine/random/philox.js";

export const toyShape: SampleShape = { height: 4, width: 5, channels: 3 };
export const toyClasses = ["left", "right", "up"];

export function toySamples(numSamples: number, seed: number, shape = toyShape, numClasses = toyClasses.length): Samples {
  const random = draws({ seed: BigInt(seed), purpose: 255, step: 0, position: 0 });
  return {
    images: Uint8Array.from({ length: numSamples * pixelsOf(shape) }, () => random.below(256)),
    labels: Int32Array.from({ length: numSamples }, () => random.below(numClasses)),
  };
}

export const toyTrain = toySamples(53, 1);
export const toyTest = toySamples(10, 2);

/** Gives its samples in several blocks, as real sources do. */
export function toySource(): Source {
  const size = pixelsOf(toyShape);
  return {
    name: "toy",
    summary: "for tests",
    shape: toyShape,
    classes: toyClasses,
    numSamples: { train: toyTrain.labels.length, test: toyTest.labels.length },
    origins: [
      {
        id: "memory",
        obtain: async () => "nowhere",
        async *read() {
          for (let from = 0; from < toyTrain.labels.length; from += 20) {
            const to = Math.min(from + 20, toyTrain.labels.length);
            yield {
              split: "train",
              samples: { images: toyTrain.images.subarray(from * size, to * size), labels: toyTrain.labels.subarray(from, to) },
            };
          }
          yield { split: "test", samples: toyTest };
        },
      },
    ],
  };
}

/** A folder that is removed when the test ends. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "isoerg-test-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** No test reaches a network; one that tries fails here. */
export const noFetcher: Fetcher = {
  download: (url) => Promise.reject(new Error(`a test tried to download ${url}`)),
  packPackage: (spec) => Promise.reject(new Error(`a test tried to fetch ${spec}`)),
};

/** The toy data set on disk, in shards of 20 samples. */
export async function preparedToy(options: Partial<PrepareOptions> = {}, source = toySource()): Promise<string> {
  const folder = options.out ?? join(await temporaryFolder(), "toy");
  await prepareDataset(source, {
    out: folder,
    cacheFolder: join(await temporaryFolder(), "cache"),
    fetcher: noFetcher,
    shardBytes: 20 * 62,
    ...options,
  });
  return folder;
}

/** What a call threw. */
export async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}
