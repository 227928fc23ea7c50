import { readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { dataCommand } from "../../src/cli/data.js";
import { runProgram } from "../../src/cli/program.js";
import { openDatasetFiles, readManifest } from "../../src/data/dataset-files.js";
import { verifyDataset } from "../../src/data/verify.js";
import { preparedToy, temporaryFolder, toySource } from "../data/toy.js";

let out: string;
let progress: string;

beforeEach(() => {
  [out, progress] = ["", ""];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    progress += String(text);
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

async function isoerg(...args: string[]): Promise<{ status: number; error: string }> {
  let error = "";
  const verb = { name: "data", summary: "", load: async () => dataCommand() };
  const status = await runProgram([verb], args, { out: (text) => (out += text), error: (text) => (error += text), color: false });
  return { status, error };
}

describe("isoerg data inspect", () => {
  it("shows splits, classes with their counts, and files; and writes them as JSON", async () => {
    const folder = await preparedToy();
    const json = join(await temporaryFolder(), "out.json");
    expect(await isoerg("data", "inspect", folder, "--verify", "--json", json)).toEqual({ status: 0, error: "" });
    const { train, test } = (await readManifest(folder)).splits;
    expect(out).toContain("toy: 4x5x3 uint8, 3 classes, from memory");
    expect(out).toMatch(/train\s+53\s+3\s+0\.0 MiB/);
    expect(out).toMatch(new RegExp(`1\\s+right\\s+${train.classCounts[1]}\\s+${test.classCounts[1]}`));
    expect(out).toContain(`train-00002.shard    0.0 MiB  ${train.shards[2]?.sha256.slice(0, 16)}`);
    expect(out).toContain("verified: all 5 files are whole");
    expect(JSON.parse(await readFile(json, "utf8"))).toEqual({ folder, manifest: await readManifest(folder), damages: [] });
  });

  it("ends with 2 and names every damaged file, and how to mend them", async () => {
    const folder = await preparedToy();
    await truncate(join(folder, "train-00001.shard"), 7);
    await truncate(join(folder, "test-00000.shard"), 0);
    const { status, error } = await isoerg("data", "inspect", folder, "--verify");
    expect(status).toBe(2);
    expect(error).toContain(`2 of 5 files in '${folder}' are damaged: train-00001.shard, test-00000.shard`);
    expect(error).toContain(`isoerg data prepare toy --out ${folder}`);
    expect(out).toContain("it has 7 bytes, the manifest says 1116");
    // A glance at sizes sees as much.
    expect(await isoerg("data", "inspect", folder)).toEqual({ status, error });
  });

  it("ends with 2 where there is no data set", async () => {
    const { status, error } = await isoerg("data", "inspect", "/nowhere");
    expect(status).toBe(2);
    expect(error).toContain("no data set in '/nowhere'");
  });
});

describe("isoerg data prepare", () => {
  it("uses again what is prepared already, and says so", async () => {
    const folder = await preparedToy({}, { ...toySource(), name: "cifar10" });
    const json = join(await temporaryFolder(), "out.json");
    expect(await isoerg("data", "prepare", "cifar10", "--out", folder, "--json", json)).toEqual({ status: 0, error: "" });
    expect(out).toContain(`already prepared and whole: ${folder}`);
    expect(progress).toContain("verify (MiB)");
    expect(JSON.parse(await readFile(json, "utf8"))).toMatchObject({ folder, reused: true, manifest: { name: "cifar10" } });
    expect(await verifyDataset(openDatasetFiles(folder), await readManifest(folder))).toEqual([]);
  });

  it("ends with 2 for a data set that it does not know, a missing --out, or a folder of something else", async () => {
    expect(await isoerg("data", "prepare", "minst", "--out", "x")).toMatchObject({
      status: 2,
      error: expect.stringContaining("did you mean 'mnist'?"),
    });
    expect(await isoerg("data", "prepare", "mnist")).toMatchObject({ status: 2, error: expect.stringContaining("--out") });
    const toy = await preparedToy();
    expect(await isoerg("data", "prepare", "mnist", "--out", toy)).toMatchObject({
      status: 2,
      error: expect.stringContaining("holds the data set 'toy'"),
    });
  });

  it("lists the data sets in its help", async () => {
    expect((await isoerg("data", "prepare", "--help")).status).toBe(0);
    expect(out).toMatch(/cifar10\s+60,000 colour images/);
    expect(out).toContain("$ isoerg data prepare cifar10 --out data/cifar10");
  });
});
