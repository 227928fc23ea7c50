/** `isoerg train` as people run it: processes, signals, exit codes, and what is left in the run's folder. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Audit, auditJournal } from "../../src/coordinator/audit.js";
import { type JournalLine, readJournal } from "../../src/coordinator/journal.js";
import { addressOf, type Ended, isoerg, pidOf, prepareExperiment, type RunningProgram, statusWhen, whenGone } from "../kit/cluster.js";

vi.setConfig({ testTimeout: 300_000 }); // seconds of work, in processes that others may crowd out

const NUM_STEPS = 36;
let folder: string;
let experiment: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isoerg-cluster-"));
  experiment = await prepareExperiment(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const run = (name: string): string => join(folder, name);

function train(name: string, ...words: string[]): RunningProgram {
  return isoerg("train", experiment, "--engine", "cpu", "--threads", "1", "--run", run(name), ...words);
}

async function journalOf(name: string): Promise<{ lines: JournalLine[]; audit: Audit }> {
  const { lines } = await readJournal(run(name));
  return { lines, audit: auditJournal(lines) };
}

/** Digests of the last checkpoint's files. */
async function lastState(name: string): Promise<string[]> {
  const latest = (await readFile(join(run(name), "checkpoints", "latest"), "utf8")).trim();
  const files = ["buffer", "model", "optimizer"].map((file) => join(run(name), "checkpoints", latest, `${file}.safetensors`));
  return [
    latest,
    ...(await Promise.all(
      files.map(async (file) =>
        createHash("sha256")
          .update(await readFile(file))
          .digest("hex"),
      ),
    )),
  ];
}

async function untilStep(name: string, step: number): Promise<string> {
  const address = await addressOf(run(name));
  await statusWhen(address, (status) => status.step >= step);
  return address;
}

function expectSuccess({ code, error }: Ended): void {
  expect({ code, error }).toMatchObject({ code: 0 });
}

describe("isoerg train", () => {
  test("two workers finish; the folder holds the whole run", async () => {
    expectSuccess(await train("whole", "--workers", "2", "--json", run("whole.json")).ended);
    const { lines, audit } = await journalOf("whole");
    expect(audit).toMatchObject({ faults: [], numTakenBack: 0 });
    expect(audit.commits).toHaveLength(NUM_STEPS);
    expect(lines.at(-1)).toMatchObject({ event: "end", outcome: "finished" });
    const names = (await readdir(run("whole"))).map((name) => name.replace(/^(events\.out\.tfevents)\..*/, "$1")).sort();
    expect(names).toEqual([
      "checkpoints",
      "config.yaml",
      "environment.json",
      "events.out.tfevents",
      "journal.jsonl",
      "logs",
      "metrics.jsonl",
    ]);
    expect((await readdir(join(run("whole"), "logs"))).sort()).toEqual([
      "coordinator.jsonl",
      "worker-local-0.jsonl",
      "worker-local-1.jsonl",
    ]);
    expect(JSON.parse(await readFile(run("whole.json"), "utf8"))).toMatchObject({
      outcome: "finished",
      step: NUM_STEPS,
      checkpointStep: NUM_STEPS,
    });
  });

  test.each([
    { mistake: "data.path=/nowhere", says: "no data set in '/nowhere'" },
    { mistake: "data.augment.shift=40", says: "can't be reflected that far" },
    { mistake: "model.input.mean=[0.5,0.5]", says: "channels" },
    { mistake: "data.subset=100000", says: "a subset of samples" },
  ])("$mistake is told with exit 2 and leaves nothing behind", async ({ mistake, says }) => {
    const { code, error } = await train("mistaken", mistake).ended;
    expect({ code, error }).toMatchObject({ code: 2, error: expect.stringContaining(says) });
    expect(existsSync(run("mistaken"))).toBe(false);
  });

  test("a shard that was altered is named, with exit 2", async () => {
    const data = join(folder, "altered");
    await cp(join(folder, "data"), data, { recursive: true });
    const shard = join(data, "train-00000.shard");
    const bytes = await readFile(shard);
    bytes[100] = (bytes[100] as number) ^ 1;
    await writeFile(shard, bytes);
    const { code, error } = await train("altered-run", `data.path=${data}`).ended;
    expect({ code, error }).toMatchObject({ code: 2, error: expect.stringMatching(/train-00000\.shard' was altered/) });
  });

  test("a finished run is left as it is: exit 2, or 0 with --resume", async () => {
    const before = await lastState("whole");
    const again = await train("whole", "--workers", "2").ended;
    expect(again.code).toBe(2);
    expect(again.error).toContain("holds a finished run of this configuration (36 steps)");
    expectSuccess(await train("whole", "--workers", "2", "--resume").ended);
    const other = await train("whole", "seed=7").ended;
    expect(other.code).toBe(2);
    expect(other.error).toContain("seed is 1 there and 7 here");
    expect(await lastState("whole")).toEqual(before);
  });

  test("Ctrl-C saves and ends; the same command goes on, to the bits of an undisturbed run", async () => {
    const first = train("interrupted", "--workers", "2");
    await untilStep("interrupted", 7);
    first.process.kill("SIGINT");
    expectSuccess(await first.ended);
    const { lines } = await journalOf("interrupted");
    const end = lines.at(-1);
    expect(end).toMatchObject({ event: "end", outcome: "asked", reason: "SIGINT" });
    expect(lines.findLast((line) => line.event === "checkpoint")).toMatchObject({ step: end?.event === "end" ? end.step : -1 });
    expectSuccess(await train("interrupted", "--workers", "2").ended);
    expect((await journalOf("interrupted")).audit).toMatchObject({ faults: [], numTakenBack: 0 });
    expect(await lastState("interrupted")).toEqual(await lastState("whole"));
  });

  test("one of three workers killed with -9: the others go on and every step counts once", async () => {
    const training = train("killed", "--workers", "3");
    await untilStep("killed", 5);
    process.kill(await pidOf(run("killed"), "local-1"), "SIGKILL");
    expectSuccess(await training.ended);
    const { lines, audit } = await journalOf("killed");
    expect(audit).toMatchObject({ faults: [], numTakenBack: 0 });
    expect(audit.commits).toHaveLength(NUM_STEPS);
    expect(lines.filter((line) => line.event === "generation").at(-1)).toMatchObject({ workers: ["local-0", "local-2"], restore: "keep" });
  });

  test("below the minimum it saves and ends with 75; the same command goes on from there", async () => {
    const training = train("below", "--workers", "2:2");
    await untilStep("below", 12);
    process.kill(await pidOf(run("below"), "local-0"), "SIGKILL");
    const ended = await training.ended;
    expect({ code: ended.code, error: ended.error }).toMatchObject({ code: 75, error: expect.stringMatching(/the minimum is 2/) });
    const { lines } = await journalOf("below");
    const end = lines.at(-1);
    expect(end).toMatchObject({ event: "end", outcome: "failed", code: "BELOW_MINIMUM" });
    expect(lines.findLast((line) => line.event === "checkpoint")).toMatchObject({ step: end?.event === "end" ? end.step : -1 });
    expectSuccess(await train("below", "--workers", "2:2").ended);
    expect((await journalOf("below")).audit).toMatchObject({ faults: [], numTakenBack: 0 });
  });

  test("the coordinator killed with -9: its workers end, and the same command goes on", async () => {
    const training = train("orphaned", "--workers", "2");
    await untilStep("orphaned", 12);
    const pids = await Promise.all(["local-0", "local-1"].map((id) => pidOf(run("orphaned"), id)));
    training.process.kill("SIGKILL");
    await training.ended;
    await Promise.all(pids.map(whenGone));
    expectSuccess(await train("orphaned", "--workers", "2").ended);
    expect((await journalOf("orphaned")).audit.faults).toEqual([]);
    expect(await lastState("orphaned")).toEqual(await lastState("whole"));
  });

  test("a second run in the same folder is refused while the first goes on; isoerg status and stop speak to it", async () => {
    const training = train("busy", "epochs=30", "--workers", "1"); // still going when three programs after each other have started
    await untilStep("busy", 2);
    const second = await train("busy", "epochs=30", "--workers", "1").ended;
    expect(second.code).toBe(2);
    expect(second.error).toContain("is going on: process");
    const status = await isoerg("status", "--run", run("busy")).ended;
    expectSuccess(status);
    expect(status.out).toMatch(/rank 0 +local-0/);
    expectSuccess(await isoerg("stop", "--run", run("busy"), "--reason", "enough").ended);
    expectSuccess(await training.ended);
    expect((await journalOf("busy")).lines.at(-1)).toMatchObject({ event: "end", outcome: "asked", reason: "enough" });
  });
});

describe("isoerg coordinator and isoerg worker", () => {
  test("workers started apart find their coordinator and end with it", async () => {
    const coordinator = isoerg("coordinator", experiment, "epochs=1", "--listen", "127.0.0.1:0", "--workers", "2", "--run", run("apart"));
    const address = await addressOf(run("apart"));
    const workers = ["a", "b"].map((id) => isoerg("worker", "--coordinator", address, "--id", id, "--engine", "cpu", "--threads", "1"));
    expectSuccess(await coordinator.ended);
    for (const worker of workers) expectSuccess(await worker.ended);
    expect((await journalOf("apart")).audit).toMatchObject({ faults: [] });
  });

  test("SIGTERM: a worker leaves in order, a coordinator saves; the next one goes on with the worker that waits for it", async () => {
    const worker = (id: string) => isoerg("worker", "--run", run("handed"), "--id", id, "--engine", "cpu", "--threads", "1");
    const first = isoerg("coordinator", experiment, "epochs=30", "--workers", "2", "--run", run("handed"));
    await untilStep("handed", 0);
    const [a, b] = [worker("a"), worker("b")];
    await untilStep("handed", 4);
    a.process.kill("SIGTERM");
    expect((await a.ended).code).toBe(143);
    await untilStep("handed", 8);
    first.process.kill("SIGTERM");
    const ended = await first.ended;
    expect(ended).toMatchObject({ code: 143, error: expect.stringMatching(/step \d+ is saved/) });
    const { lines } = await journalOf("handed");
    expect(lines.at(-1)).toMatchObject({ event: "end", outcome: "asked", code: "TERMINATED" });

    const second = isoerg("coordinator", "--run", run("handed"), "--resume");
    const address = await untilStep("handed", 12);
    const status = await statusWhen(address, ({ members }) => members.length === 1);
    expect(status.members).toMatchObject([{ workerId: "b" }]);
    expectSuccess(await isoerg("stop", "--run", run("handed")).ended);
    expectSuccess(await second.ended);
    expectSuccess(await b.ended);
    const audit = await journalOf("handed");
    expect(audit.audit).toMatchObject({ faults: [], numTakenBack: 0 });
    expect(audit.lines.filter((line) => line.event === "generation").map(({ restore }) => restore)).toEqual(["fresh", "keep", "keep"]);
    expect(audit.lines.findLast((line) => line.event === "chains")).toMatchObject({ moved: 3, restored: 0, startedAnew: 0 });
  });

  test("a port in use is the command line's mistake: exit 2", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const { code, error } = await train("taken", "--listen", `127.0.0.1:${port}`).ended;
    server.close();
    expect(code).toBe(2);
    expect(error).toContain(`port in use: another program listens on 127.0.0.1:${port}`);
  });

  test("an engine that can't start is told with its reason: exit 1", async () => {
    const { code, error } = await isoerg("train", experiment, "--engine", "cpu", "--device", "cuda:0", "--run", run("no-device")).ended;
    expect(code).toBe(1);
    expect(error).toContain("engine cpu computes on the cpu only");
  });
});
