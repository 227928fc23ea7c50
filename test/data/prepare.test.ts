import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openDatasetFiles, readManifest } from "../../src/data/dataset-files.js";
import { prepareDataset } from "../../src/data/prepare.js";
import type { PrepareEvent, Source } from "../../src/data/sources/source.js";
import { verifyDataset } from "../../src/data/verify.js";
import { IsoergError } from "../../src/util/error.js";
import { failureOf, noFetcher, preparedToy, temporaryFolder, toyClasses, toyShape, toySource, toyTrain } from "./toy.js";

describe("prepare", () => {
  it("writes shards of equal size, counts, statistics and hashes that hold", async () => {
    const folder = await preparedToy();
    const manifest = await readManifest(folder);
    expect(manifest).toMatchObject({ name: "toy", origin: "memory", shape: toyShape, classes: toyClasses });
    const { train, test } = manifest.splits;
    expect(train.shards.map((shard) => shard.numSamples)).toEqual([18, 18, 17]);
    expect(test.shards.map((shard) => shard.numSamples)).toEqual([10]);
    expect(train.classCounts).toEqual(toyClasses.map((_, c) => toyTrain.labels.filter((label) => label === c).length));
    for (const channel of [0, 1, 2]) {
      const values = [...toyTrain.images].filter((_, i) => i % 3 === channel).map((v) => v / 255);
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      expect(manifest.statistics.mean[channel]).toBeCloseTo(mean, 12);
      expect(manifest.statistics.std[channel]).toBeCloseTo(Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length), 12);
    }
    expect(await verifyDataset(openDatasetFiles(folder), manifest)).toEqual([]);
    expect((await readdir(folder)).sort()).toEqual([
      "class-gaussians.f32",
      "manifest.json",
      "test-00000.shard",
      "train-00000.shard",
      "train-00001.shard",
      "train-00002.shard",
    ]);
  });

  it("writes the same bytes each time", async () => {
    const [a, b] = [await preparedToy(), await preparedToy()];
    for (const name of await readdir(a)) expect(await readFile(join(b, name))).toEqual(await readFile(join(a, name)));
  });

  it("uses again what is there and whole, and mends what is not", async () => {
    const out = await preparedToy();
    const options = { out, cacheFolder: await temporaryFolder(), fetcher: noFetcher, shardBytes: 20 * 62 };
    const untouchable: Source = { ...toySource(), origins: [] };
    expect(await prepareDataset(untouchable, options)).toMatchObject({ reused: true });

    const before = await readFile(join(out, "train-00001.shard"));
    await rm(join(out, "train-00001.shard"));
    await writeFile(join(out, "class-gaussians.f32"), "torn");
    const notes: string[] = [];
    const onProgress = (event: PrepareEvent): void => void (event.kind === "note" && notes.push(event.text));
    expect(await prepareDataset(toySource(), { ...options, onProgress })).toMatchObject({ reused: false });
    expect(notes).toEqual([
      expect.stringContaining("train-00001.shard' is missing"),
      expect.stringContaining("class-gaussians.f32' is truncated"),
    ]);
    expect(await readFile(join(out, "train-00001.shard"))).toEqual(before);
    expect(await verifyDataset(openDatasetFiles(out), await readManifest(out))).toEqual([]);
  });

  it("prepares again over a torn manifest", async () => {
    const out = await preparedToy();
    await writeFile(join(out, "manifest.json"), '{"format": "isoerg-dataset", ');
    await preparedToy({ out });
    expect(await verifyDataset(openDatasetFiles(out), await readManifest(out))).toEqual([]);
  });

  it("never writes into a folder of something else", async () => {
    const out = await temporaryFolder();
    await writeFile(join(out, "thesis.tex"), "");
    expect(await failureOf(() => preparedToy({ out }))).toMatchObject({ code: "DATA", message: expect.stringContaining("thesis.tex") });
    const other = await preparedToy();
    const failure = await failureOf(() => prepareDataset({ ...toySource(), name: "cifar10" }, { out: other, fetcher: noFetcher }));
    expect(failure).toMatchObject({ code: "DATA", message: `'${other}' holds the data set 'toy', not 'cifar10'` });
    await writeFile(join(out, "file"), "");
    expect(await failureOf(() => preparedToy({ out: join(out, "file") }))).toMatchObject({
      code: "DATA",
      message: expect.stringContaining("ENOTDIR"),
    });
  });

  it("takes the next origin when one can't be reached, and names all when none can", async () => {
    const closed = (id: string) => ({
      ...(toySource().origins[0] as Source["origins"][number]),
      id,
      obtain: () => Promise.reject(new IsoergError("NETWORK", `${id} is closed`)),
    });
    const notes: string[] = [];
    const out = join(await temporaryFolder(), "toy");
    const options = {
      out,
      cacheFolder: await temporaryFolder(),
      fetcher: noFetcher,
      onProgress: (event: PrepareEvent): void => void (event.kind === "note" && notes.push(event.text)),
    };
    const failure = await failureOf(() => prepareDataset({ ...toySource(), origins: [closed("north"), closed("south")] }, options));
    expect(failure).toMatchObject({
      code: "NETWORK",
      message: expect.stringMatching(/north is closed; south is closed/),
      hint: expect.stringContaining("north, south"),
    });
    const { manifest } = await prepareDataset({ ...toySource(), origins: [closed("north"), ...toySource().origins] }, options);
    expect(manifest.origin).toBe("memory");
    expect(notes).toEqual(["north is closed", "south is closed", "north is closed"]);
  });

  it("leaves no data set behind when it is stopped or its source fails half-way", async () => {
    const out = join(await temporaryFolder(), "toy");
    const stop = new AbortController();
    const onProgress = (event: PrepareEvent): void => {
      if (event.kind === "progress" && event.done >= 40) stop.abort();
    };
    expect(await failureOf(() => preparedToy({ out, signal: stop.signal, onProgress }))).toMatchObject({ code: "STOPPED" });
    expect(await readdir(out)).not.toContain("manifest.json");

    const [origin] = toySource().origins as [Source["origins"][number]];
    const torn: Source["origins"][number] = {
      ...origin,
      async *read(path, context) {
        for await (const block of origin.read(path, context)) {
          yield block;
          throw new IsoergError("DATA", "torn here");
        }
      },
    };
    const failure = await failureOf(() =>
      prepareDataset({ ...toySource(), origins: [torn] }, { out, fetcher: noFetcher, cacheFolder: out }),
    );
    expect(failure).toMatchObject({ code: "DATA", message: "torn here" });
    expect(await readdir(out)).not.toContain("manifest.json");
    await mkdir(out, { recursive: true });
    await preparedToy({ out }); // and what was left does not stand in the way
    expect(await verifyDataset(openDatasetFiles(out), await readManifest(out))).toEqual([]);
  });
});
