/** Checkpoints that come faster than a store takes them: one is written, one waits, and the run's memory holds no more. */
import { describe, expect, it } from "vitest";
import type { CheckpointStore } from "../../src/checkpoint/store.js";
import { Checkpoints } from "../../src/coordinator/checkpoints.js";
import type { JournalEntry } from "../../src/coordinator/journal.js";
import type { SavingResult } from "../../src/coordinator/saving.js";

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
