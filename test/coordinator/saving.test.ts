/** Checkpoints that come faster than a store takes them: one is written, one waits, and the run's memory holds no more. */
import { describe, expect, it } from "vitest";
import type { CheckpointStore } from "../../src/checkpoint/store.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import { Checkpoints } from "../../src/coordinator/checkpoints.js";
import type { JournalEntry } from "../../src/coordinator/journal.js";
import type { SavingResult } from "../../src/coordinator/saving.js";
import { HeldStore, NUM_STEPS, reference, settle, setUp } from "./kit.js";

const head = { generation: 1, rank: 0, file: "", tensor: "", dtype: "", shape: [], offset: 0, data: new Uint8Array(0) };

describe("checkpoints while the store is slow", () => {
  it("give up the one that waits for one that is newer, and carry through what was begun", async () => {
    const begun: number[] = [];
    const ends: ((error?: Error) => void)[] = [];
    const store = {
      save: (step: number) => {
        begun.push(step);
        return new Promise<string>((resolve, reject) => {
          ends.push((error) => (error ? reject(error) : resolve(`saved ${step}`)));
        });
      },
    } as unknown as CheckpointStore;
    const lines: JournalEntry[] = [];
    const results: SavingResult[] = [];
    const checkpoints = new Checkpoints({
      store,
      describeState: () => ({}),
      lastStep: null,
      schedule: { everySteps: 1, priorMtbfMs: 1 },
      now: () => 0,
      record: (entry) => lines.push(entry),
      onEvent: () => {},
      onEnd: (result) => results.push(result),
    });
    const save = (step: number): void => {
      checkpoints.begin({ step, generation: 1, worldSize: 1, metrics: {} });
      checkpoints.complete({ ...head, step });
    };
    save(1);
    await Promise.resolve();
    await Promise.resolve();
    expect(begun).toEqual([1]);
    for (const step of [2, 3, 4]) save(step);
    expect(lines).toMatchObject([
      { event: "checkpointFailed", step: 2, reason: "the checkpoint of step 3 is due already" },
      { event: "checkpointFailed", step: 3, reason: "the checkpoint of step 4 is due already" },
    ]);
    ends[0]?.(new Error("503 SlowDown"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(begun).toEqual([1, 4]);
    ends[1]?.();
    await checkpoints.settled;
    expect(checkpoints.lastStep).toBe(4);
    expect(lines.slice(2)).toMatchObject([
      { event: "checkpointFailed", step: 1, reason: "503 SlowDown" },
      { event: "checkpoint", step: 4, path: "saved 4" },
    ]);
    expect(results).toMatchObject([{ kind: "saved", path: "saved 4" }]); // of the one begun last
  });
});

describe("a run that nobody holds the state of any more, while a newer checkpoint is being written", () => {
  /** Two workers that get to step 8, checkpoints of steps 3 and 6 begun, the second still at the store; then both die, and two others come. */
  async function died(save: (written: Promise<string>) => Promise<string>) {
    class Store extends HeldStore {
      override save(...what: Parameters<CheckpointStore["save"]>): Promise<string> {
        return what[0] === 6 ? save(super.save(...what)) : super.save(...what);
      }
    }
    const store = new Store();
    const run = setUp({ workers: 2, everySteps: 3, store, rejoinTimeoutMs: 1e9 });
    const first = [run.join("a"), run.join("b")];
    await run.drain(() => run.run.status().step === 8);
    for (const worker of first) worker.kill();
    const second = [run.join("c"), run.join("d")];
    return { ...run, second };
  }
  const generations = ({ journal }: { journal: { lines: readonly JournalEntry[] } }) =>
    journal.lines.flatMap((line) => (line.event === "generation" ? [line.step] : []));

  it("waits for that one: fewer steps are taken back, and none is left out", async () => {
    let written: () => void = () => {};
    const run = await died(async (saved) => {
      await new Promise<void>((resolve) => {
        written = resolve;
      });
      return saved;
    });
    await run.drain();
    expect(generations(run)).toEqual([0, 8]); // not back to step 3
    written();
    await settle();
    await run.drain();
    expect(generations(run)[2]).toBe(6);
    expect(run.outcome()).toMatchObject({ kind: "finished", step: NUM_STEPS });
    expect(auditJournal(run.journal.lines)).toMatchObject({ faults: [], numTakenBack: 2 });
    for (const worker of run.second) expect(worker.parameters).toBe(reference(NUM_STEPS));
  });

  it("goes back further where it could not be written", async () => {
    let fail: (() => void) | undefined;
    const run = await died(async (saved) => {
      if (fail) return saved; // the disk has room again
      await new Promise<void>((resolve) => {
        fail = resolve;
      });
      throw new Error("no space left on device");
    });
    await run.drain();
    expect(generations(run)).toEqual([0, 8]);
    fail?.();
    await settle();
    await run.drain();
    expect(generations(run)[2]).toBe(3);
    expect(run.outcome()).toMatchObject({ kind: "finished", step: NUM_STEPS });
    expect(auditJournal(run.journal.lines)).toMatchObject({ faults: [], numTakenBack: 5 });
    for (const worker of run.second) expect(worker.parameters).toBe(reference(NUM_STEPS));
  });
});
