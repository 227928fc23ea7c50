import { readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openDataset } from "../../src/data/dataset.js";
import { readManifest } from "../../src/data/dataset-files.js";
import { createMemorySamples, pixelsOf, type SampleSource, type Samples } from "../../src/data/samples.js";
import * as fc from "../kit/property.js";
import { failureOf, preparedToy, toyShape, toyTrain } from "./toy.js";

const size = pixelsOf(toyShape);

function expected(ids: readonly number[], first = 0): Samples {
  return {
    images: Uint8Array.from(ids.flatMap((id) => [...toyTrain.images.subarray((first + id) * size, (first + id + 1) * size)])),
    labels: Int32Array.from(ids.map((id) => toyTrain.labels[first + id] as number)),
  };
}

const implementations: Record<string, () => Promise<SampleSource>> = {
  "shards on disk": async () => openDataset(await preparedToy(), "train"),
  "shards on disk, a cache smaller than a shard": async () => openDataset(await preparedToy(), "train", { cacheBytes: 1 }),
  memory: async () => createMemorySamples({ shape: toyShape, numClasses: 3, samples: toyTrain }),
};

describe.each(Object.entries(implementations))("sample source: %s", (_, open) => {
  it("reads any ids, in their order, repeated ones too", async () => {
    const source = await open();
    expect(source).toMatchObject({ numSamples: 53, numClasses: 3, shape: toyShape });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(52), { maxLength: 70 }), async (ids) => {
        expect(await source.read(Uint32Array.from(ids))).toEqual(expected(ids));
      }),
      { numRuns: 30 },
    );
  });

  it("reads into memory that the caller owns, shared memory included", async () => {
    const source = await open();
    const into = { images: new Uint8Array(new SharedArrayBuffer(3 * size)), labels: new Int32Array(new SharedArrayBuffer(12)) };
    expect(await source.read([52, 0, 20], into)).toBe(into);
    expect([...into.images]).toEqual([...expected([52, 0, 20]).images]);
    expect([...into.labels]).toEqual([...expected([52, 0, 20]).labels]);
    await expect(source.read([1, 2], into)).rejects.toThrow(/of room for 2 samples/);
  });

  it("answers several reads at once", async () => {
    const source = await open();
    const asked = Array.from({ length: 12 }, (_, i) => [i, 52 - i, 20 + i]);
    expect(await Promise.all(asked.map((ids) => source.read(ids)))).toEqual(asked.map((ids) => expected(ids)));
  });

  it("refuses an id that there is not", async () => {
    await expect((await open()).read([53])).rejects.toThrow("sample 53 of 53");
  });
});

describe("dataset", () => {
  it("keeps the splits apart", async () => {
    const folder = await preparedToy();
    await using test = await openDataset(folder, "test");
    expect(test.numSamples).toBe(10);
    const { shards } = (await readManifest(folder)).splits.test;
    expect(shards.map((shard) => shard.file)).toEqual(["test-00000.shard"]);
  });

  it("reads a subset by its own ids", async () => {
    const folder = await preparedToy();
    await using firsts = await openDataset(folder, "train", { subset: 21 });
    expect(firsts.numSamples).toBe(21);
    expect(await firsts.read([0, 20])).toEqual(expected([0, 20]));
    await expect(firsts.read([21])).rejects.toThrow("sample 21 of 21");
    await using held = await openDataset(folder, "train", { subset: { from: 15, to: 53 } });
    expect(await held.read([0, 37])).toEqual(expected([0, 37], 15));
    expect(await failureOf(() => openDataset(folder, "train", { subset: 54 }))).toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(/0 to 54.*has 53/),
      hint: expect.stringContaining("at most 53"),
    });
  });

  it("says what to do when there is no data set", async () => {
    expect(await failureOf(() => openDataset("/nowhere/at/all", "train"))).toMatchObject({
      code: "DATA",
      message: expect.stringContaining("/nowhere/at/all"),
      hint: expect.stringContaining("isoerg data prepare cifar10 --out /nowhere/at/all"),
    });
  });

  it("names a missing and a truncated shard when it is opened", async () => {
    const folder = await preparedToy();
    const shard = join(folder, "train-00001.shard");
    await truncate(shard, 1000);
    expect(await failureOf(() => openDataset(folder, "train"))).toMatchObject({
      code: "DATA",
      message: `'${shard}' is truncated: it has 1000 bytes, the manifest says 1116`,
      hint: expect.stringContaining("isoerg data prepare"),
    });
    await rm(shard);
    expect(await failureOf(() => openDataset(folder, "train"))).toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/train-00001\.shard' is missing.*ENOENT/),
    });
    await using test = await openDataset(folder, "test"); // the other split is whole
    expect(test.numSamples).toBe(10);
  });

  it("names an altered shard, with both digests, whichever byte was altered", async () => {
    const folder = await preparedToy();
    const path = join(folder, "train-00000.shard");
    const whole = await readFile(path);
    const { sha256 } = (await readManifest(folder)).splits.train.shards[0] ?? { sha256: "" };
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const altered = Buffer.from(whole);
        altered[at] = (altered[at] as number) ^ change;
        await writeFile(path, altered);
        await using dataset = await openDataset(folder, "train");
        expect(await failureOf(() => dataset.read([0]))).toMatchObject({
          code: "DATA",
          message: expect.stringMatching(`train-00000.*was altered.*the manifest says ${sha256}`),
        });
        expect((await dataset.read([52])).labels[0]).toBe(toyTrain.labels[52]); // other shards can be read
      }),
      { numRuns: 20 },
    );
    await writeFile(path, whole);
    await using mended = await openDataset(folder, "train");
    expect(await mended.read([0])).toEqual(expected([0]));
  });

  it("checks sizes only when asked to, and still never gives a class that is none", async () => {
    const folder = await preparedToy();
    const path = join(folder, "train-00000.shard");
    const altered = await readFile(path);
    altered[2] = (altered[2] as number) ^ 1; // a pixel
    altered[62 + 1] = 3; // the class of sample 1
    await writeFile(path, altered);
    await using dataset = await openDataset(folder, "train", { verify: "size" });
    expect((await dataset.read([0])).images[0]).toBe(altered[2]);
    expect(await failureOf(() => dataset.read([1]))).toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/gives class 7\d\d, of 3 classes/),
    });
  });

  it("can't be read after it was closed", async () => {
    const dataset = await openDataset(await preparedToy(), "train");
    await dataset.read([0]);
    await dataset.close();
    await expect(dataset.read([0])).rejects.toThrow(/after it was closed/);
  });
});
