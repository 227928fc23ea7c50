/**
 * Whole trainings by real processes over a bucket that is reached by HTTP: workers that read shards themselves come to the bits of
 * workers that are handed samples, and checkpoints in the bucket resume a run whose folder was lost. What a network does to them is
 * in test/worker/storage-run.test.ts.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { auditJournal } from "../../src/coordinator/audit.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { addressOf, type Ended, isoergWith, prepareExperiment, statusWhen } from "../kit/cluster.js";
import { ACCESS_KEY, BUCKET, type S3Server, SECRET_KEY, startS3Server } from "../kit/s3-server.js";

const STEPS = 24; // two epochs
let folder: string;
let experiment: string;
let server: S3Server;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isoerg-storage-"));
  experiment = await prepareExperiment(folder, { epochs: 2 }, { shardBytes: 8 * 194 }); // 15 shards
});
afterAll(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  server = await startS3Server();
  env = { ...server.env, ISOERG_CACHE: await mkdtemp(join(folder, "cache-")) };
});
afterEach(() => server.close());

const quick = ["--engine", "cpu", "--threads", "1", "storage.maxDelay=0.01", "storage.attempts=3"];

async function published(): Promise<string> {
  const place = `s3://${BUCKET}/sets/small`;
  const { code, out, error } = await isoergWith(env, "data", "publish", join(folder, "data"), place).ended;
  expect({ code, error }).toMatchObject({ code: 0 });
  expect(out).toContain(`data.path=${place}`);
  return place;
}

function train(run: string, ...words: string[]): Promise<Ended> {
  return isoergWith(env, "train", experiment, "--run", run, ...quick, ...words).ended;
}

/** Figures of every step, without times; the journal's checksums are part of them. */
async function figuresOf(run: string): Promise<unknown[]> {
  const { lines } = await readJournal(run);
  expect(auditJournal(lines)).toMatchObject({ faults: [], numTakenBack: 0 });
  const checksums = lines.flatMap((line) => (line.event === "commit" ? [line.checksum] : []));
  const text = await readFile(join(run, "metrics.jsonl"), "utf8");
  const metrics = text
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { metrics: Record<string, number> }).metrics);
  expect(checksums).toHaveLength(STEPS);
  return metrics.map((figures, step) => ({ ...figures, checksum: checksums[step] }));
}

async function runFolder(): Promise<string> {
  return join(await mkdtemp(join(folder, "run-")), "run");
}

const shardReads = (): number => server.requests.filter(({ method, key }) => method === "GET" && key.includes("train-")).length;

/** Everything that a run wrote, as text. */
async function textOf(run: string): Promise<string> {
  const entries = await readdir(run, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name), "latin1"));
  return (await Promise.all(files)).join("\n");
}

describe("a training on a bucket", () => {
  test("equals the same training on a local folder bit for bit, with shards read once a host", async () => {
    const place = await published();
    const [local, bucket] = [await runFolder(), await runFolder()];
    expect(await train(local, "--workers", "2")).toMatchObject({ code: 0 });
    // Torn, refused and altered answers on the way change nothing either.
    server.fault = ({ method, key, nth }) => {
      if (method !== "GET" || nth > 0 || !key.includes("train-")) return undefined;
      if (key.endsWith("3.shard")) return { kind: "truncate", afterBytes: 100 };
      if (key.endsWith("5.shard")) return { kind: "error", status: 503, code: "SlowDown" };
      return key.endsWith("7.shard") ? { kind: "alter" } : undefined;
    };
    const ended = await train(bucket, "--workers", "2", `data.path=${place}`);
    expect(ended).toMatchObject({ code: 0 });
    expect(await figuresOf(bucket)).toEqual(await figuresOf(local));
    const numShards = [...server.objects.keys()].filter((key) => key.includes("train-")).length;
    expect(numShards).toBe(15);
    // Each shard once for both workers and both epochs, but for the four that came badly.
    expect(shardReads()).toBe(numShards + 4);
    const written = (await textOf(bucket)) + ended.out + ended.error;
    expect(written).toContain("SlowDown"); // retries are in the logs
    expect(written).toContain("was altered");
    for (const secret of [SECRET_KEY, ACCESS_KEY, "Authorization", "AWS4-HMAC"]) expect(written).not.toContain(secret);
  });

  test("refuses a shard that is not what the manifest says, by name, after a second look", async () => {
    const place = await published();
    const key = [...server.objects.keys()].find((name) => name.endsWith("train-00004.shard")) as string;
    const { bytes, metadata } = server.objects.get(key) as { bytes: Buffer; metadata: Record<string, string> };
    server.objects.set(key, { bytes: Buffer.from(bytes).fill(1, 50, 60), metadata });
    const { code, error } = await train(await runFolder(), "--workers", "2", `data.path=${place}`);
    expect(code).toBe(2);
    expect(error).toMatch(/train-00004\.shard' was altered: its sha256 is [0-9a-f]{64}, the manifest says [0-9a-f]{64}/);
    expect(server.count("GET", key)).toBeGreaterThanOrEqual(2);
    server.objects.delete(key);
    const missing = await train(await runFolder(), `data.path=${place}`);
    expect(missing).toMatchObject({ code: 2, error: expect.stringContaining("train-00004.shard' is missing") });
    expect(missing.error).toContain("isoerg data publish");
  });
});

describe("checkpoints in a bucket", () => {
  const kept = `checkpoint.path=s3://${BUCKET}/runs/one`;
  const checkpoints = (): string[] => [
    ...new Set([...server.objects.keys()].filter((key) => key.endsWith("manifest.json")).map((key) => key.split("/").at(-2) as string)),
  ];

  test("resume a run to the bits of an undisturbed one, also where the run's folder was lost", async () => {
    const [undisturbed, first, second] = [await runFolder(), await runFolder(), await runFolder()];
    expect(await train(undisturbed)).toMatchObject({ code: 0 });
    const begun = isoergWith(env, "train", experiment, "--run", first, ...quick, kept, "checkpoint.everySteps=5");
    await statusWhen(await addressOf(first), ({ step }) => step >= 12);
    begun.process.kill("SIGTERM");
    expect(await begun.ended).toMatchObject({ code: 143 });
    expect(checkpoints().length).toBeGreaterThan(1);
    expect(await readdir(first)).not.toContain("checkpoints");

    const refused = await train(second, kept, "checkpoint.everySteps=5");
    expect(refused).toMatchObject({ code: 2, error: expect.stringContaining("holds checkpoints already") });
    const other = await train(second, kept, "checkpoint.everySteps=5", "optimizer.lr=0.02", "--resume");
    expect(other).toMatchObject({ code: 2, error: expect.stringContaining("optimizer.lr") });
    expect(await train(second, kept, "checkpoint.everySteps=5", "--resume")).toMatchObject({ code: 0 });
    const read = async (run: string): Promise<unknown[]> =>
      (await readJournal(run)).lines.flatMap((line) => (line.event === "commit" ? [line.checksum] : []));
    const all = await read(undisturbed);
    const rest = await read(second);
    expect(rest.length).toBeLessThan(STEPS);
    expect(rest).toEqual(all.slice(-rest.length));
    const file = join(folder, "weights.safetensors");
    expect(await isoergWith(env, "export", second, "--format", "safetensors", "--out", file).ended).toMatchObject({ code: 0 });
    expect((await readFile(file)).length).toBeGreaterThan(100);
  });
});
