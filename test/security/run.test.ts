/**
 * Runs of real processes with certificates and a token: they train as without, strangers hear why they are not let in, and nothing
 * secret is found in what the run leaves behind.
 */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { auditJournal } from "../../src/coordinator/audit.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { addressOf, isoerg, prepareExperiment } from "../kit/cluster.js";

vi.setConfig({ testTimeout: 300_000 }); // seconds of work, in processes that others may crowd out

let folder: string;
let experiment: string;
let certs: string;
let tokenFile: string;
let secured: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isoerg-secured-"));
  experiment = await prepareExperiment(folder, { epochs: 1 });
  certs = join(folder, "certs");
  tokenFile = join(certs, "token");
  const made = await isoerg("certs", "make", "--out", certs, "--host", "first-machine", "10.0.0.5").ended;
  expect(made).toMatchObject({ code: 0 });
  expect(await isoerg("certs", "token", tokenFile).ended).toMatchObject({ code: 0 });
  secured = ["--tls", certs, "--token-file", tokenFile];
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function filesBelow(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

describe("isoerg certs", () => {
  test("makes keys that only their owner reads, and shows what it made", async () => {
    for (const name of ["ca-key.pem", "coordinator-key.pem", "worker-key.pem", "token"]) {
      expect((await stat(join(certs, name))).mode & 0o777, name).toBe(0o600);
    }
    const { code, out } = await isoerg("certs", "show", certs).ended;
    expect(code).toBe(0);
    expect(out).toMatch(/coordinator\.pem +CN=isoerg coordinator +valid until \d{4}-\d\d-\d\d +first-machine, 10\.0\.0\.5, localhost/);
    expect(out).not.toContain("PRIVATE");
  });

  test("renews with the same authority, and does not touch a folder that it can't sign for", async () => {
    const again = join(folder, "again");
    expect(await isoerg("certs", "make", "--out", again).ended).toMatchObject({ code: 0 });
    const before = await readFile(join(again, "ca.pem"), "utf8");
    expect(await isoerg("certs", "make", "--out", again, "--host", "other", "--days", "30").ended).toMatchObject({ code: 0 });
    expect(await readFile(join(again, "ca.pem"), "utf8")).toBe(before);
    await rm(join(again, "ca-key.pem"));
    const refused = await isoerg("certs", "make", "--out", again).ended;
    expect(refused).toMatchObject({ code: 2, error: expect.stringContaining("not both of ca.pem and ca-key.pem") });
  });
});

describe("a run with certificates and a token", () => {
  test("trains, refuses strangers, and leaves no secret behind", async () => {
    const run = join(folder, "run");
    const coordinator = isoerg("coordinator", experiment, "--run", run, "--listen", "127.0.0.1:0", "--workers", "2", ...secured);
    const address = await addressOf(run);
    const worker = (id: string, ...words: string[]) =>
      isoerg(
        "worker",
        "--coordinator",
        address,
        "--id",
        id,
        "--engine",
        "cpu",
        "--threads",
        "1",
        "--log",
        join(run, "logs", `${id}.jsonl`),
        ...words,
      );

    const other = join(folder, "other");
    expect(await isoerg("certs", "make", "--out", other).ended).toMatchObject({ code: 0 });
    const wrongToken = join(folder, "wrong-token");
    await writeFile(wrongToken, "not the token of this run\n".replaceAll(" ", "-"));
    const [plain, tokenless, mistaken, foreign, asking] = await Promise.all([
      worker("plain", "--connect-timeout", "3").ended,
      worker("tokenless", "--tls", certs).ended,
      worker("mistaken", "--tls", certs, "--token-file", wrongToken).ended,
      worker("foreign", "--tls", other, "--token-file", tokenFile).ended,
      isoerg("status", "--run", run, ...secured).ended,
    ]);
    expect(plain).toMatchObject({ code: 1, error: expect.stringContaining("speaks TLS, and this process was given no certificates") });
    expect(tokenless).toMatchObject({ code: 1, error: expect.stringContaining("asks for a join token: give --token-file") });
    expect(mistaken).toMatchObject({ code: 1, error: expect.stringContaining("the join token is not that of this run") });
    expect(foreign).toMatchObject({ code: 1, error: expect.stringContaining("signed by another authority") });
    expect(asking).toMatchObject({ code: 0, out: expect.stringContaining("waiting") });

    const workers = [worker("a", ...secured), worker("b", ...secured)];
    const ends = await Promise.all([coordinator.ended, ...workers.map(({ ended }) => ended)]);
    expect(ends.map(({ code, error }) => ({ code, error: code === 0 ? "" : error }))).toEqual(ends.map(() => ({ code: 0, error: "" })));
    const { lines } = await readJournal(run);
    expect(auditJournal(lines)).toMatchObject({ faults: [] });
    expect(lines.filter(({ event }) => event === "join").map((line) => "worker" in line && line.worker)).toEqual(
      expect.arrayContaining(["a", "b"]),
    );

    const secrets = [
      (await readFile(tokenFile, "utf8")).trim(),
      (await readFile(wrongToken, "utf8")).trim(),
      ...(await Promise.all(["ca", "coordinator", "worker"].map(async (name) => keyLine(join(certs, `${name}-key.pem`))))),
    ];
    const files = await filesBelow(run);
    expect(files.length).toBeGreaterThan(8);
    for (const file of files) {
      const bytes = await readFile(file);
      for (const secret of secrets) expect(bytes.includes(secret), `${file} holds a secret`).toBe(false);
    }
    for (const { out, error } of [...ends, plain, tokenless, mistaken, foreign, asking]) {
      for (const secret of secrets) expect(out + error).not.toContain(secret);
    }
    expect(await readFile(join(run, "environment.json"), "utf8")).toContain('"[redacted]"');
  });

  test("starts its own workers with them", async () => {
    const run = join(folder, "train");
    const words = ["--engine", "cpu", "--threads", "1", "--workers", "2", "--run", run];
    expect(await isoerg("train", experiment, ...words, ...secured).ended).toMatchObject({ code: 0 });
    expect(auditJournal((await readJournal(run)).lines).faults).toEqual([]);
    expect(await readFile(join(run, "logs", "worker-local-0.jsonl"), "utf8")).toContain("generation");
  });
});

describe("without certificates", () => {
  test("nothing listens beyond this machine, and no worker goes there, unless asked", async () => {
    const away = ["--listen", "0.0.0.0:0", "--run", join(folder, "away")];
    for (const words of [
      ["coordinator", experiment, ...away],
      ["train", experiment, ...away],
      ["worker", "--coordinator", "10.255.255.1:7"],
      ["worker", "--coordinator", "127.0.0.1:7", "--ring-host", "10.255.255.1"],
      ["status", "--coordinator", "10.255.255.1:7"],
    ]) {
      const { code, error } = await isoerg(...words).ended;
      expect({ words, code, error }).toMatchObject({ code: 2, error: expect.stringMatching(/without TLS[\s\S]*--insecure/) });
    }
    expect(await readdir(folder)).not.toContain("away");
  });

  test("a folder or token that can't be used is told before anything begins", async () => {
    const none = await isoerg("train", experiment, "--run", join(folder, "none"), "--tls", join(folder, "nowhere")).ended;
    expect(none).toMatchObject({ code: 2, error: expect.stringContaining("ca.pem") });
    const tokenless = await isoerg("worker", "--coordinator", "127.0.0.1:7", "--token-file", join(folder, "nowhere")).ended;
    expect(tokenless).toMatchObject({ code: 2, error: expect.stringContaining("token file") });
  });
});

/** A line of the key itself. */
async function keyLine(file: string): Promise<string> {
  return (await readFile(file, "utf8")).split("\n")[1] as string;
}
