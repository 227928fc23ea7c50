/**
 * A coordinator's server and workers' links over loopback, with real gRPC and a real ring: what a training loop gets through
 * them is the plan's batch, the sum over all workers, one verdict, and the state that was saved.
 */
import { once } from "node:events";
import { watch } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryCheckpointStore } from "../../src/checkpoint/store.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import { type Coordinator, createCoordinator } from "../../src/coordinator/coordinator.js";
import type { RunEvent } from "../../src/coordinator/events.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { createMemorySamples } from "../../src/data/samples.js";
import { callUnary, openClient } from "../../src/wire/client.js";
import { runControl } from "../../src/wire/proto.js";
import type { WorkerLink } from "../../src/worker/worker-link.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "../kit/small-run.js";
import { trainOverLink } from "./kit.js";

const NUM_SAMPLES = 53;
const NUM_PARAMETERS = 300;
const IMAGE_BYTES = SHAPE.height * SHAPE.width * SHAPE.channels;
const log = pino({ enabled: false });
const samples = smallSamples(NUM_SAMPLES);
const source = createMemorySamples({ shape: SHAPE, numClasses: NUM_CLASSES, samples });
const config = smallConfig({ epochs: 2, checkpoint: { everySteps: 4 }, data: { path: "unused", batchSize: 10, shuffleBlock: 8 } });

let runFolder: string;
beforeEach(async () => {
  runFolder = await mkdtemp(join(tmpdir(), "isoerg-link-"));
});
afterEach(() => rm(runFolder, { recursive: true }));

function coordinate(workers: number, over: Partial<Parameters<typeof createCoordinator>[0]> = {}): Promise<Coordinator> {
  const store = createMemoryCheckpointStore({ keepLast: 10 });
  return createCoordinator({ config, source, manifest: { name: "memory" }, runFolder, store, workers, resume: false, log, ...over });
}

/** Waits until the journal says that a worker has come. */
async function untilJoined(name: string): Promise<void> {
  const watcher = watch(join(runFolder, "journal.jsonl"));
  try {
    for (;;) {
      const changed = once(watcher, "change"); // before looking, so that no line is missed
      const { lines } = await readJournal(runFolder);
      if (lines.some((line) => line.event === "join" && line.worker === name)) return;
      await changed;
    }
  } finally {
    watcher.close();
  }
}

interface TrainerOptions {
  /** Whom it finds, whenever it looks. */
  readonly coordinator: () => Coordinator;
  readonly name: string;
  readonly reconnectMs?: number;
  /** Before its ballot of each step. */
  readonly onStep?: (step: number, link: WorkerLink) => void | Promise<void>;
  readonly onAhead?: (step: number) => void;
}

/** Each sample adds to a place of the parameters that its id names. */
function trainOver({
  coordinator,
  name,
  onStep,
  onAhead,
  reconnectMs = 0,
}: TrainerOptions): Promise<{ parameters: Float32Array; outcome: string }> {
  return trainOverLink({
    address: () => coordinator().address,
    workerId: name,
    incarnation: `${name}-1`,
    numParameters: NUM_PARAMETERS,
    gradientOf({ step, ids, labels, images }, gradient) {
      for (const [i, id] of ids.entries()) {
        expect(labels[i]).toBe(samples.labels[id]);
        expect(images[i * IMAGE_BYTES + 5]).toBe(samples.images[id * IMAGE_BYTES + 5]);
        gradient[id] = step + 1;
      }
    },
    update: (parameter, gradient) => parameter + gradient,
    cuts: [7], // two buckets
    connectMs: 5_000,
    reconnectMs,
    log,
    ...(onStep && { onStep }),
    ...(onAhead && { onAhead }),
  });
}

describe("training over the wire", () => {
  test.each([1, 2, 4])("with %d workers: every sample once in every epoch, one model, its checkpoint", async (workers) => {
    const coordinator = await coordinate(workers);
    const ids: number[][] = [[], []];
    coordinator.events.on("event", (event: RunEvent) => {
      if (event.kind === "commit") ids[Math.floor(event.step / 6)]?.push(...event.ids);
    });
    const ends = await Promise.all(Array.from({ length: workers }, (_, i) => trainOver({ coordinator: () => coordinator, name: `w${i}` })));
    expect(await coordinator.finished).toMatchObject({ kind: "finished", step: 12, checkpointStep: 12 });
    for (const epoch of ids) expect(epoch.sort((a, b) => a - b)).toEqual(Array.from({ length: NUM_SAMPLES }, (_, id) => id));
    for (const { parameters, outcome } of ends) {
      expect(outcome).toBe("finished");
      expect(parameters).toEqual(ends[0]?.parameters);
    }
    const { lines } = await readJournal(runFolder);
    expect(auditJournal(lines)).toMatchObject({ faults: [], numTakenBack: 0 });
    const metrics = (await readFile(join(runFolder, "metrics.jsonl"), "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(metrics.map(({ step, worldSize, batchSize }) => [step, worldSize, batchSize])).toEqual(
      Array.from({ length: 12 }, (_, step) => [step, workers, step % 6 === 5 ? 3 : 10]),
    );
  });

  test("a worker that joins late takes the model from the other, not from a checkpoint", async () => {
    const coordinator = await coordinate(1);
    let late: ReturnType<typeof trainOver> | undefined;
    const first = trainOver({
      coordinator: () => coordinator,
      name: "a",
      async onStep(step) {
        if (step !== 1 || late) return;
        late = trainOver({ coordinator: () => coordinator, name: "b" });
        await untilJoined("b"); // the steps that are left may take less time than its way here
      },
    });
    expect((await coordinator.finished).kind).toBe("finished");
    expect((await first).parameters).toEqual((await late)?.parameters);
    const { lines } = await readJournal(runFolder);
    expect(auditJournal(lines).faults).toEqual([]);
    expect(lines.findLast((line) => line.event === "generation")).toMatchObject({ workers: ["a", "b"], restore: "keep" });
  });

  test("stopped and resumed, it ends with the model of an undisturbed run", async () => {
    const whole = await coordinate(2);
    const [reference] = await Promise.all(["a", "b"].map((name) => trainOver({ coordinator: () => whole, name })));
    await whole.finished;
    await rm(join(runFolder, "journal.jsonl"));

    const store = createMemoryCheckpointStore({ keepLast: 10 });
    const first = await coordinate(2, { store });
    const onStep = (step: number): void => {
      if (step === 6) first.stop("enough for today");
    };
    await Promise.all(["a", "b"].map((name) => trainOver({ coordinator: () => first, name, onStep })));
    const stopped = await first.finished;
    expect(stopped).toMatchObject({ kind: "asked", reason: "enough for today" });
    expect(stopped.checkpointStep).toBe(stopped.step);

    const second = await coordinate(1, { store, resume: true });
    expect(second.startStep).toBe(stopped.step);
    const { parameters } = await trainOver({ coordinator: () => second, name: "a" });
    expect((await second.finished).kind).toBe("finished");
    expect(parameters).toEqual(reference?.parameters);
    expect(auditJournal((await readJournal(runFolder)).lines)).toMatchObject({ faults: [], numTakenBack: 0 });
  });

  test("a run whose last step is saved is finished when it is taken up again", async () => {
    const store = createMemoryCheckpointStore({ keepLast: 10 });
    const first = await coordinate(1, { store });
    await trainOver({ coordinator: () => first, name: "a" });
    await first.finished;
    const again = await coordinate(1, { store, resume: true });
    expect(await again.finished).toEqual({
      kind: "finished",
      reason: "all 12 steps were done before",
      code: null,
      step: 12,
      checkpointStep: 12,
    });
  });

  test("a checkpoint of other data is not resumed", async () => {
    const store = createMemoryCheckpointStore({ keepLast: 10 });
    const first = await coordinate(1, { store });
    await trainOver({ coordinator: () => first, name: "a" });
    await first.finished;
    await expect(coordinate(1, { store, resume: true, manifest: { name: "other" } })).rejects.toThrow(/was trained on other data/);
  });

  test("when the coordinator fails the run, every worker's wait ends", async () => {
    const coordinator = await coordinate(2);
    const onStep = (step: number): void => {
      if (step === 3) coordinator.fail("the test says so");
    };
    const ends = await Promise.all(["a", "b"].map((name) => trainOver({ coordinator: () => coordinator, name, onStep })));
    expect(ends.map(({ outcome }) => outcome)).toEqual(["failed", "failed"]);
    expect(await coordinator.finished).toMatchObject({ kind: "failed", reason: "the test says so" });
  });

  test("a worker whose training breaks is let go; one alone ends the run with its reason", async () => {
    const coordinator = await coordinate(2);
    const onStep = (step: number, link: WorkerLink): void => void (step === 2 && link.fail("out of memory"));
    const broken = trainOver({ coordinator: () => coordinator, name: "a", onStep });
    const other = trainOver({ coordinator: () => coordinator, name: "b" });
    expect(await coordinator.finished).toMatchObject({ kind: "finished" });
    expect((await broken).outcome).toBe("failed");
    expect((await other).outcome).toBe("finished");

    await rm(join(runFolder, "journal.jsonl"));
    const alone = await coordinate(1, { timeouts: { rejoinMs: 0 } });
    const last = trainOver({ coordinator: () => alone, name: "a", onStep });
    expect(await alone.finished).toMatchObject({
      kind: "failed",
      code: "ENGINE",
      reason: expect.stringMatching(/^worker a, step 2: out of memory; no worker is left/),
    });
    await last;
  });

  /** Two trainings; b comes to its vote on step 3 once a has been given step 4 to begin. */
  const oneAhead = (coordinator: Coordinator, vote: (link: WorkerLink) => void) => {
    let hasBegun = (): void => {};
    const begun = new Promise<void>((resolve) => {
      hasBegun = resolve;
    });
    const steps: number[] = [];
    const a = trainOver({
      coordinator: () => coordinator,
      name: "a",
      onStep: (step) => void steps.push(step),
      onAhead: (step) => step === 4 && hasBegun(),
    });
    const b = trainOver({
      coordinator: () => coordinator,
      name: "b",
      async onStep(step, link) {
        if (step !== 3) return;
        await begun;
        vote(link);
      },
    });
    return { a, b, steps };
  };

  test("a worker begins the next step while another has yet to vote on this one", async () => {
    const coordinator = await coordinate(2);
    const { a, b, steps } = oneAhead(coordinator, () => {});
    expect(await coordinator.finished).toMatchObject({ kind: "finished" });
    expect((await a).parameters).toEqual((await b).parameters);
    expect(steps).toEqual(Array.from({ length: 12 }, (_, step) => step));
  });

  test("what was begun is void when that vote never comes: the step comes again, and counts once", async () => {
    const whole = await coordinate(1);
    const reference = await trainOver({ coordinator: () => whole, name: "a" });
    await whole.finished;
    await rm(join(runFolder, "journal.jsonl"));

    const coordinator = await coordinate(2);
    const { a, b, steps } = oneAhead(coordinator, (link) => void link.fail("it broke before it could vote"));
    expect(await coordinator.finished).toMatchObject({ kind: "finished" });
    expect((await b).outcome).toBe("failed");
    expect((await a).parameters).toEqual(reference.parameters);
    expect(steps).toEqual([0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(auditJournal((await readJournal(runFolder)).lines).faults).toEqual([]);
  });

  test("a coordinator that is replaced, on another port, finds its workers again: no step is taken back", async () => {
    const store = createMemoryCheckpointStore({ keepLast: 10 });
    const timeouts = { returnMs: 5_000, goodbyeMs: 0 };
    let current = await coordinate(2, { store, timeouts });
    const first = current;
    let replaced: Promise<void> | undefined;
    const replace = async (): Promise<void> => {
      first.depose("the test says so");
      await first.finished;
      current = await coordinate(2, { store, resume: true, timeouts });
    };
    const onStep = (step: number): void => {
      if (step === 6) replaced ??= replace();
    };
    const both = ["a", "b"].map((name) => trainOver({ coordinator: () => current, name, onStep, reconnectMs: 20_000 }));
    const ends = await Promise.all(both);
    await replaced;
    expect(current).not.toBe(first);
    expect(await current.finished).toMatchObject({ kind: "finished", step: 12, checkpointStep: 12 });
    expect(ends.map(({ outcome }) => outcome)).toEqual(["finished", "finished"]);
    expect(ends[0]?.parameters).toEqual(ends[1]?.parameters);
    const { lines } = await readJournal(runFolder);
    expect(auditJournal(lines)).toMatchObject({ faults: [], numTakenBack: 0 });
    expect(lines.filter((line) => line.event === "generation").map(({ restore }) => restore)).toEqual(["fresh", "keep"]);
  });

  test("a worker that leaves in order is released, and the other goes on", async () => {
    const coordinator = await coordinate(2);
    const leaver = trainOver({
      coordinator: () => coordinator,
      name: "a",
      onStep: (step, link) => void (step === 3 && link.retire("SIGTERM")),
    });
    const other = trainOver({ coordinator: () => coordinator, name: "b" });
    expect(await coordinator.finished).toMatchObject({ kind: "finished" });
    expect((await leaver).outcome).toBe("failed");
    expect((await other).outcome).toBe("finished");
    const { lines } = await readJournal(runFolder);
    expect(auditJournal(lines)).toMatchObject({ faults: [], numTakenBack: 0 });
    expect(lines.filter((line) => line.event === "retry")).toEqual([]);
  });
});

describe("the coordinator's server", () => {
  test("a port that is taken is named, and what was opened is closed again", async () => {
    const coordinator = await coordinate(1);
    await expect(coordinate(1, { listen: coordinator.address })).rejects.toMatchObject({
      code: "NETWORK",
      message: `port in use: another program listens on ${coordinator.address}`,
    });
    coordinator.abort("done");
    await coordinator.finished;
  });

  test("status and stop answer while workers are awaited", async () => {
    const coordinator = await coordinate(2);
    const client = openClient(coordinator.address);
    const status = await callUnary(client, runControl.status, {});
    expect(status).toMatchObject({ name: "small", state: "waiting", step: 0, numSteps: 12, reason: "0 of 2 workers are here" });
    expect(await callUnary(client, runControl.stop, { reason: "never mind" })).toEqual({ step: 0 });
    client.close();
    expect(await coordinator.finished).toMatchObject({ kind: "asked", reason: "never mind", checkpointStep: null });
  });
});
