/** Which workers read shards themselves: those that find the coordinator's very data set by its path, and all where it is a locator's. */
import { copyFile, mkdir, readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDataset } from "../../src/data/dataset.js";
import { createPlan } from "../../src/data/plan.js";
import type { GenerationMessage } from "../../src/wire/messages.js";
import { type OwnShards, openOwnShards } from "../../src/worker/own-shards.js";
import { preparedToy, temporaryFolder } from "../data/toy.js";
import { smallConfig } from "../kit/small-run.js";

/** What a coordinator says that trains on the data set of `folder` and calls its place `path`. */
async function welcomeOf(folder: string, path = folder): Promise<{ configJson: string; manifestJson: string }> {
  await using dataset = await openDataset(folder, "train");
  const config = smallConfig({ data: { path, batchSize: 10, shuffleBlock: 8 } });
  return { configJson: JSON.stringify(config), manifestJson: JSON.stringify(dataset.manifest) };
}

async function opened(welcome: { configJson: string; manifestJson: string }): Promise<OwnShards | null> {
  return openOwnShards(welcome, () => {});
}

async function copyOf(folder: string): Promise<string> {
  const copy = join(await temporaryFolder(), "copy");
  await mkdir(copy);
  for (const name of await readdir(folder)) await copyFile(join(folder, name), join(copy, name));
  return copy;
}

describe("a plain path", () => {
  test("by which a worker finds the very same data set is read by the worker", async () => {
    const folder = await preparedToy();
    const shards = await opened(await welcomeOf(folder, await copyOf(folder)));
    const slices = shards?.slicesOf({ rank: 1, step: 3, sliceWeights: [1, 1] } as unknown as GenerationMessage, 1);
    const slice = await slices?.next();
    await using dataset = await openDataset(folder, "train");
    const { seed } = smallConfig({});
    const { ids } = createPlan({ numSamples: dataset.numSamples, batchSize: 10, shuffleBlock: 8, seed: BigInt(seed) }).batchOf(3);
    const expected = await dataset.read(ids.subarray(5));
    expect(slice).toMatchObject({ step: 3, positions: { from: 5, to: 10 }, ids: Uint32Array.from(ids.subarray(5)) });
    expect(slice?.images).toEqual(expected.images);
    expect(slice?.labels).toEqual(expected.labels);
    slices?.close();
    await shards?.close();
  });

  test("where there is none leaves samples to the coordinator", async () => {
    const folder = await preparedToy();
    expect(await opened(await welcomeOf(folder, join(folder, "elsewhere")))).toBeNull();
  });

  test("where another data set lies leaves them to the coordinator", async () => {
    const folder = await preparedToy();
    const { configJson, manifestJson } = await welcomeOf(folder);
    const other = manifestJson.replace(/"sha256":"(.)/, (_, digit: string) => `"sha256":"${digit === "0" ? "1" : "0"}`);
    expect(other).not.toBe(manifestJson);
    expect(await opened({ configJson, manifestJson: other })).toBeNull();
  });

  test("where a shard is torn leaves them to the coordinator", async () => {
    const folder = await preparedToy();
    const copy = await copyOf(folder);
    const shard = (await readdir(copy)).find((name) => name.startsWith("train"));
    await truncate(join(copy, shard as string), 10);
    expect(await opened(await welcomeOf(folder, copy))).toBeNull();
  });
});

test("a locator is read by every worker, and a manifest that can't be used is said", async () => {
  const folder = await preparedToy();
  const { configJson } = await welcomeOf(folder, `file://${folder}`);
  await expect(opened({ configJson, manifestJson: "{}" })).rejects.toMatchObject({ code: "DATA" });
});
