/** Data sets at a place that every worker reads for itself: the bucket behind Amazon's SDK, and a folder under a locator. */
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openDataset } from "../../src/data/dataset.js";
import { readManifest } from "../../src/data/dataset-files.js";
import { digestOf } from "../../src/data/files.js";
import { type Manifest, parseManifest } from "../../src/data/manifest.js";
import { createPlan } from "../../src/data/plan.js";
import { publishDataset } from "../../src/data/publish.js";
import { BUCKET, type S3Server } from "../kit/s3-server.js";
import { s3ForTest, storageOf } from "../storage/kit.js";
import { failureOf, preparedToy, temporaryFolder, toyTrain } from "./toy.js";

const PLACE = `s3://${BUCKET}/toy`;
const ALL = Uint32Array.from({ length: 53 }, (_, id) => id);

async function toyOnS3(options: { pageSize?: number } = {}): Promise<{ server: S3Server; cache: string; folder: string }> {
  const server = await s3ForTest(options);
  const folder = await preparedToy();
  const cache = join(await temporaryFolder(), "cache");
  await publishDataset(folder, PLACE, { storage: storageOf(server, cache) });
  return { server, cache, folder };
}

describe("publishing", () => {
  it("puts every file, the manifest last, and gives the data set as it was", async () => {
    const { server, cache, folder } = await toyOnS3();
    for (const name of await readdir(folder)) expect(server.objects.get(`toy/${name}`)?.bytes).toEqual(await readFile(join(folder, name)));
    expect(server.requests.findLast(({ method }) => method === "PUT")?.key).toBe("toy/manifest.json");
    await using dataset = await openDataset(PLACE, "train", { storage: storageOf(server, cache) });
    expect(await dataset.read(ALL)).toEqual(toyTrain);
    expect(dataset.manifestSha256).toBe(digestOf("sha256", await readFile(join(folder, "manifest.json"))));
    await using local = await openDataset(folder, "train");
    expect(dataset.manifest).toEqual(local.manifest);
    expect(await dataset.readFile(dataset.manifest.classGaussians)).toEqual(await local.readFile(local.manifest.classGaussians));
  });

  it("goes on where it was interrupted, and mends what is damaged", async () => {
    const { server, cache, folder } = await toyOnS3();
    const storage = storageOf(server, cache);
    const numFiles = server.objects.size;
    expect(await publishDataset(folder, PLACE, { storage })).toMatchObject({ numPut: 0, numReused: numFiles });
    server.objects.delete("toy/manifest.json");
    server.objects.delete("toy/train-00001.shard");
    server.objects.set("toy/train-00000.shard", { bytes: Buffer.alloc(1240), metadata: {} }); // by another hand
    expect(await publishDataset(folder, PLACE, { storage })).toMatchObject({ numPut: 3, numReused: numFiles - 3 });
    await using dataset = await openDataset(PLACE, "train", { storage });
    expect(await dataset.read(ALL)).toEqual(toyTrain);
  });

  it("refuses to replace another data set, to publish a damaged one, and a plain path", async () => {
    const { server, cache, folder } = await toyOnS3();
    const storage = storageOf(server, cache);
    const text = await readFile(join(folder, "manifest.json"), "utf8");
    server.objects.set("toy/manifest.json", { bytes: Buffer.from(text.replace("memory", "elsewhere")), metadata: {} });
    expect(await failureOf(() => publishDataset(folder, PLACE, { storage }))).toMatchObject({
      code: "DATA",
      message: `'${PLACE}/manifest.json' is of another data set`,
    });
    await writeFile(join(folder, "train-00001.shard"), "");
    const other = `s3://${BUCKET}/other`;
    expect(await failureOf(() => publishDataset(folder, other, { storage }))).toMatchObject({
      code: "DATA",
      message: expect.stringContaining("train-00001.shard' is truncated"),
    });
    expect(server.objects.has("other/manifest.json")).toBe(false);
    expect(await failureOf(() => publishDataset(folder, "/mnt/data"))).toMatchObject({
      code: "USAGE",
      hint: expect.stringContaining("file:///mnt/data"),
    });
  });

  it("works to a shared volume as well", async () => {
    const [folder, volume] = [await preparedToy(), await temporaryFolder()];
    await publishDataset(folder, `file://${volume}/sets/toy`);
    await mkdir(join(volume, "cache"));
    const storage = { ...storageOf(await s3ForTest(), join(volume, "cache")) };
    await using dataset = await openDataset(`file://${volume}/sets/toy`, "train", { storage });
    expect(await dataset.read(ALL)).toEqual(toyTrain);
    expect(await publishDataset(folder, `file://${volume}/sets/toy`)).toMatchObject({ numPut: 0 });
  });
});

describe("a data set in a bucket", () => {
  it("is opened by its manifest and a list: no shard is read before a sample of it is", async () => {
    const { server, cache } = await toyOnS3();
    const before = server.requests.length;
    await using dataset = await openDataset(PLACE, "train", { storage: storageOf(server, cache) });
    expect(server.requests.slice(before).map(({ method, key }) => `${method} ${key}`)).toEqual(["GET toy/manifest.json", "GET "]);
    await dataset.read([0, 1, 2]);
    expect(server.requests.filter(({ method, key }) => method === "GET" && key.endsWith(".shard")).map(({ key }) => key)).toEqual([
      "toy/train-00000.shard",
    ]);
  });

  it("is read through a cache that never exceeds its bound, and once as long as it fits", async () => {
    const { server, cache } = await toyOnS3();
    for (const _ of [1, 2]) {
      await using dataset = await openDataset(PLACE, "train", { storage: storageOf(server, cache), cacheBytes: 1 });
      expect(await dataset.read(ALL)).toEqual(toyTrain);
    }
    const reads = (): number => server.requests.filter(({ method, key }) => method === "GET" && key.endsWith(".shard")).length;
    expect(reads()).toBe(3);
    const small = join(await temporaryFolder(), "none");
    await using dataset = await openDataset(PLACE, "train", { storage: storageOf(server, small, { cacheMiB: 0 }), cacheBytes: 1 });
    expect(await dataset.read(ALL)).toEqual(toyTrain);
    expect(reads()).toBe(6);
    await expect(stat(small)).rejects.toThrow("ENOENT");
  });

  it("asks once more for what came altered, and then refuses it by name", async () => {
    const { server, cache } = await toyOnS3();
    const notices: string[] = [];
    const options = { storage: storageOf(server, cache), onNotice: (message: string) => void notices.push(message) };
    server.fault = ({ key, nth }) => (key.endsWith("train-00000.shard") && nth === 0 ? { kind: "alter" } : undefined);
    await using dataset = await openDataset(PLACE, "train", options);
    expect((await dataset.read(ALL)).images).toEqual(toyTrain.images);
    expect(notices).toEqual([expect.stringMatching(/train-00000\.shard' was altered: .*; it is read once more/)]);

    server.fault = () => undefined;
    const fresh = { storage: storageOf(server, join(await temporaryFolder(), "cache")) };
    const key = "toy/train-00002.shard";
    const bytes = Buffer.from(server.objects.get(key)?.bytes ?? "");
    bytes.writeUInt8(bytes.readUInt8(5) ^ 1, 5);
    server.objects.set(key, { bytes, metadata: {} });
    await using damaged = await openDataset(PLACE, "train", fresh);
    expect(await failureOf(() => damaged.read([52]))).toMatchObject({
      code: "DATA",
      message: expect.stringMatching(
        /^'s3:\/\/models\/toy\/train-00002\.shard' was altered: its sha256 is \w{64}, the manifest says \w{64}; so twice$/,
      ),
      hint: `publish it again from a whole copy: isoerg data publish DIR ${PLACE}`,
    });
    expect((await damaged.read([0])).labels[0]).toBe(toyTrain.labels[0]); // the others can be read
    expect(await readdir(fresh.storage.cache ?? "")).toHaveLength(1);
  });

  it("is not there, not whole, or not to be reached: each is said", async () => {
    const { server, cache } = await toyOnS3();
    const storage = storageOf(server, cache);
    const open = (place: string): Promise<unknown> => failureOf(() => openDataset(place, "train", { storage }));
    expect(await open(`s3://${BUCKET}/none`)).toMatchObject({ code: "DATA", message: expect.stringContaining("it has no manifest.json") });
    expect(await open("s3://nobody/toy")).toMatchObject({ code: "DATA", message: expect.stringContaining("no such bucket") });
    server.objects.set("toy/train-00001.shard", { bytes: Buffer.alloc(100), metadata: {} });
    expect(await open(PLACE)).toMatchObject({
      code: "DATA",
      message: `'${PLACE}/train-00001.shard' is truncated: it has 100 bytes, the manifest says 1116`,
    });
    server.objects.delete("toy/train-00001.shard");
    expect(await open(PLACE)).toMatchObject({
      code: "DATA",
      message: `'${PLACE}/train-00001.shard' is missing, though the manifest lists it`,
    });
    server.fault = () => ({ kind: "error", status: 503, code: "SlowDown" });
    expect(await open(PLACE)).toMatchObject({ code: "NETWORK", message: expect.stringContaining("503") });
    expect(await open("gs://bucket/toy")).toMatchObject({ code: "CONFIG", message: expect.stringContaining("s3://") });
  });

  it("may have several thousand shards: they are listed by the thousand and planned from the manifest alone", async () => {
    const server = await s3ForTest();
    const base = await readManifest(await preparedToy());
    const numShards = 5_000;
    const record = Buffer.alloc(62);
    const shards = Array.from({ length: numShards }, (_, i) => {
      record.writeUInt32LE(i, 2);
      const bytes = Buffer.from(record);
      const file = `train-${String(i).padStart(5, "0")}.shard`;
      server.objects.set(`many/${file}`, { bytes, metadata: {} });
      return { file, sizeBytes: 62, sha256: digestOf("sha256", bytes), numSamples: 1 };
    });
    const train = { numSamples: numShards, classCounts: [numShards, 0, 0], samplesPerShard: 1, shards };
    const manifest: Manifest = { ...base, splits: { ...base.splits, train } };
    const text = JSON.stringify(manifest);
    expect(parseManifest(text, "").splits.train.shards).toHaveLength(numShards);
    server.objects.set("many/manifest.json", { bytes: Buffer.from(text), metadata: {} });
    const storage = storageOf(server, join(await temporaryFolder(), "cache"));
    await using dataset = await openDataset(`s3://${BUCKET}/many`, "train", { storage });
    expect(server.count("GET")).toBe(1 + 5 + 1); // the manifest, five full pages and one: the last holds the manifest
    const plan = createPlan({ numSamples: numShards, shuffleBlock: 256, batchSize: 64, seed: 7n });
    const seen = new Set<number>();
    for (let step = 0; step < plan.stepsPerEpoch; step++) for (const id of plan.batchOf(step).ids) seen.add(dataset.shardOf(id));
    expect(seen.size).toBe(numShards);
    expect(server.count("GET")).toBe(7);
    const { ids } = plan.batchOf(3);
    const { images } = await dataset.read(ids);
    expect([...ids].map((_, i) => Buffer.from(images).readUInt32LE(60 * i))).toEqual([...ids]);
    expect(server.count("GET")).toBe(7 + 64);
  });
});
