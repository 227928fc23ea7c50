/**
 * Whole trainings on a bucket in one process: a real coordinator, real links between real sockets, shards over HTTP. What is trained
 * is arithmetic that every pixel and label goes into, so a byte that differed anywhere would show in the parameters.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { openCheckpoints } from "../../src/checkpoint/open.js";
import type { Config } from "../../src/config/schema.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import { type Coordinator, createCoordinator } from "../../src/coordinator/coordinator.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { openDataset } from "../../src/data/dataset.js";
import { publishDataset } from "../../src/data/publish.js";
import { preparedToy, temporaryFolder, toyShape } from "../data/toy.js";
import { BUCKET, type S3Server } from "../kit/s3-server.js";
import { smallConfig } from "../kit/small-run.js";
import { s3ForTest, storageOf } from "../storage/kit.js";
import { trainOverLink } from "./kit.js";

const PLACE = `s3://${BUCKET}/sets/toy`;
const KEPT = `s3://${BUCKET}/runs/one`;
const NUM_PARAMETERS = 60;
const NUM_STEPS = 12; // two epochs of 53 samples
const log = pino({ enabled: false });

/** Half-integers below 2^24: sums come out the same in any order, so world sizes can be compared bit for bit. */
function trainOver(
  coordinator: Coordinator,
  name: string,
  onStep: (step: number) => void | Promise<void> = () => {},
): Promise<{ parameters: Float32Array; outcome: string }> {
  const imageBytes = toyShape.height * toyShape.width * toyShape.channels;
  return trainOverLink({
    address: () => coordinator.address,
    workerId: name,
    incarnation: `${name}-${Math.random()}`,
    numParameters: NUM_PARAMETERS,
    gradientOf({ step, positions, ids, labels, images }, gradient) {
      for (let i = 0; i < ids.length; i++) {
        const position = positions.from + i + 1;
        for (let j = 0; j < imageBytes; j++) {
          const at = (j + step) % NUM_PARAMETERS;
          gradient[at] = (gradient[at] as number) + position * (images[i * imageBytes + j] as number) + (labels[i] as number) / 2;
        }
      }
    },
    update: (parameter, gradient) => parameter / 2 + gradient,
    connectMs: 60_000,
    log,
    onStep,
  });
}

function configOf(server: S3Server, cache: string, over: { path: string; checkpoints?: string }): Config {
  return smallConfig({
    epochs: 2,
    data: { path: over.path, batchSize: 10, shuffleBlock: 8 },
    checkpoint: { everySteps: 4, ...(over.checkpoints !== undefined && { path: over.checkpoints }) },
    storage: storageOf(server, cache, { ahead: 1 }),
  });
}

async function lead(
  config: Config,
  workers: number,
  options: { resume?: boolean; runFolder?: string; rejoinMs?: number } = {},
): Promise<{ coordinator: Coordinator; runFolder: string }> {
  const runFolder = options.runFolder ?? (await mkdtemp(join(tmpdir(), "isoerg-storage-run-")));
  onTestFinished(() => rm(runFolder, { recursive: true, force: true }));
  const source = await openDataset(config.data.path, "train", { storage: config.storage });
  onTestFinished(() => source.close());
  const coordinator = await createCoordinator({
    config,
    source,
    manifest: source.manifest,
    runFolder,
    store: openCheckpoints({ config, runFolder }),
    workers,
    resume: options.resume ?? false,
    log,
    timeouts: { joinMs: 300_000, ...(options.rejoinMs !== undefined && { rejoinMs: options.rejoinMs }) },
  });
  return { coordinator, runFolder };
}

async function trained(config: Config, workers: number): Promise<Float32Array> {
  const { coordinator, runFolder } = await lead(config, workers);
  const ends = await Promise.all(Array.from({ length: workers }, (_, i) => trainOver(coordinator, `w${i}`)));
  expect(await coordinator.finished).toMatchObject({ kind: "finished", step: NUM_STEPS, checkpointStep: NUM_STEPS });
  for (const { parameters } of ends) expect(parameters).toEqual(ends[0]?.parameters);
  const { lines } = await readJournal(runFolder);
  expect(auditJournal(lines)).toMatchObject({ faults: [], numTakenBack: 0 }); // each sample in one committed step of each epoch
  return ends[0]?.parameters as Float32Array;
}

async function published(): Promise<{ server: S3Server; folder: string; cache: string }> {
  const server = await s3ForTest();
  const folder = await preparedToy();
  const cache = join(await temporaryFolder(), "cache");
  await publishDataset(folder, PLACE, { storage: storageOf(server, cache) });
  return { server, folder, cache };
}

const shardReads = (server: S3Server): number =>
  server.requests.filter(({ method, key }) => method === "GET" && key.includes("/train-")).length;

describe("a training whose workers read shards from a bucket", () => {
  test("equals the same training on a local folder bit for bit, with one worker or three, whatever the network does", async () => {
    const { server, folder, cache } = await published();
    const reference = await trained(configOf(server, cache, { path: folder }), 1);
    expect(reference.some((value) => value !== 0)).toBe(true);
    expect(shardReads(server)).toBe(0); // a plain path is the coordinator's
    server.fault = ({ method, key, nth }) => {
      if (method !== "GET" || nth > 0) return undefined;
      if (key.endsWith("train-00000.shard")) return { kind: "truncate", afterBytes: 100 };
      return key.endsWith("train-00001.shard")
        ? { kind: "error", status: 503, code: "SlowDown" }
        : key.endsWith("2.shard")
          ? { kind: "alter" }
          : undefined;
    };
    expect(await trained(configOf(server, cache, { path: PLACE }), 3)).toEqual(reference);
    expect(shardReads(server)).toBe(3 + 3); // three shards, once for all workers and both epochs, and each came badly once
    expect(await trained(configOf(server, cache, { path: PLACE }), 1)).toEqual(reference);
    expect(shardReads(server)).toBe(6); // the host has them
    const uncached = configOf(server, cache, { path: PLACE });
    expect(await trained({ ...uncached, storage: { ...uncached.storage, cacheMiB: 0, ahead: 0 } }, 2)).toEqual(reference);
  });

  test("ends with the shard's name where it is not what the manifest says", async () => {
    const { server, cache } = await published();
    const key = "sets/toy/train-00001.shard";
    const { coordinator } = await lead(configOf(server, cache, { path: PLACE }), 2);
    server.objects.set(key, { bytes: Buffer.alloc(server.objects.get(key)?.bytes.length ?? 0), metadata: {} });
    await Promise.all(["a", "b"].map((name) => trainOver(coordinator, name)));
    expect(await coordinator.finished).toMatchObject({
      kind: "failed",
      code: "DATA",
      reason: expect.stringContaining("train-00001.shard' was altered"),
    });
  });

  test("ends as one that may be tried again where the bucket stays away", async () => {
    const { server, cache } = await published();
    const { coordinator } = await lead(configOf(server, cache, { path: PLACE }), 1, { rejoinMs: 0 });
    server.fault = ({ key }) => (key.endsWith(".shard") ? { kind: "error", status: 503, code: "SlowDown" } : undefined);
    await trainOver(coordinator, "a");
    expect(await coordinator.finished).toMatchObject({
      kind: "failed",
      code: "UNREACHABLE",
      reason: expect.stringContaining("503 SlowDown"),
    });
  });
});

describe("a training whose checkpoints are in a bucket", () => {
  test("is resumed to the bits of an undisturbed one, by another number of workers, without the folder of the run", async () => {
    const { server, folder, cache } = await published();
    const reference = await trained(configOf(server, cache, { path: folder }), 1);
    const config = configOf(server, cache, { path: PLACE, checkpoints: KEPT });
    const { coordinator } = await lead(config, 2);
    const onStep = (step: number): void => {
      if (step === 6) coordinator.stop("enough for today");
    };
    await Promise.all(["a", "b"].map((name) => trainOver(coordinator, name, onStep)));
    expect(await coordinator.finished).toMatchObject({ kind: "asked", step: 7, checkpointStep: 7 });
    const { coordinator: second } = await lead(config, 1, { resume: true });
    expect(second.startStep).toBe(7);
    expect(second.runId).toBe(coordinator.runId);
    const { parameters } = await trainOver(second, "c");
    expect((await second.finished).kind).toBe("finished");
    expect(parameters).toEqual(reference);
  });

  test("goes on where one can't be written, and keeps the good one before", async () => {
    const { server, folder, cache } = await published();
    const config = configOf(server, cache, { path: folder, checkpoints: KEPT });
    server.fault = ({ method, key }) =>
      method === "PUT" && key.includes("step-000008") ? { kind: "error", status: 503, code: "SlowDown" } : undefined;
    const { coordinator, runFolder } = await lead(config, 2);
    const told = new Promise<void>((resolve) => {
      coordinator.events.on("event", (event) => event.kind === "notice" && event.message.includes("no checkpoint of step 8") && resolve());
    });
    // Steps take less time than the store's attempts: the next checkpoint waits until this one is given up.
    const onStep = (step: number): Promise<void> | void => (step === 10 ? told : undefined);
    await Promise.all(["a", "b"].map((name) => trainOver(coordinator, name, onStep)));
    expect(await coordinator.finished).toMatchObject({ kind: "finished", checkpointStep: NUM_STEPS });
    const { lines } = await readJournal(runFolder);
    const failed = lines.filter((line) => line.event === "checkpointFailed");
    expect(failed).toMatchObject([{ step: 8, reason: expect.stringContaining("503 SlowDown") }]);
    const store = openCheckpoints({ config, runFolder });
    expect((await store.list()).map(({ step, condition }) => [step, condition])).toEqual([
      [4, "whole"],
      [12, "whole"],
    ]);
    expect((await store.load(4)).step).toBe(4);
  });
});
