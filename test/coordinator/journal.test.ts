/** The journal survives a crash in the middle of a line, and proves afterwards that every step counted once. */
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { auditJournal } from "../../src/coordinator/audit.js";
import type { StepRecord } from "../../src/coordinator/events.js";
import { type JournalEntry, type JournalLine, openJournal, readJournal } from "../../src/coordinator/journal.js";
import { openMetricsLog } from "../../src/coordinator/metrics-log.js";

const now = () => new Date(0);
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isoerg-journal-"));
});
afterEach(() => rm(folder, { recursive: true }));

const generation = (number: number, step: number): JournalEntry => ({
  event: "generation",
  generation: number,
  step,
  workers: ["a"],
  restore: "keep",
  reason: "",
});
const commit = (number: number, step: number): JournalEntry => ({
  event: "commit",
  generation: number,
  step,
  samples: 4,
  ids: "00",
  checksum: "00",
});
const lines = (...entries: JournalEntry[]): JournalLine[] => entries.map((entry) => ({ time: "", ...entry }));

describe("the journal", () => {
  test("gives back what was appended, in order", async () => {
    const journal = openJournal(folder, now);
    for (const entry of [generation(1, 0), commit(1, 0), commit(1, 1)]) journal.append(entry);
    journal.close();
    const { lines: read, numTorn } = await readJournal(folder);
    expect(numTorn).toBe(0);
    expect(read.map(({ time: _, ...entry }) => entry)).toEqual([generation(1, 0), commit(1, 0), commit(1, 1)]);
  });

  test("a line torn by a crash is passed over, and what is appended later stands on lines of its own", async () => {
    const before = openJournal(folder, now);
    before.append(generation(1, 0));
    before.close();
    await appendFile(join(folder, "journal.jsonl"), '{"event":"commit","gener');
    expect((await readJournal(folder)).numTorn).toBe(1);

    const after = openJournal(folder, now);
    after.append(generation(2, 0));
    after.close();
    const { lines: read, numTorn } = await readJournal(folder);
    expect(numTorn).toBe(1);
    expect(read.map((line) => line.event === "generation" && line.generation)).toEqual([1, 2]);
  });

  test("cut anywhere, it gives back every whole line before the cut", async () => {
    const journal = openJournal(folder, now);
    for (let step = 0; step < 3; step++) journal.append(commit(1, step));
    journal.close();
    const text = await readFile(join(folder, "journal.jsonl"), "utf8");
    for (let cut = 0; cut <= text.length; cut++) {
      await writeFile(join(folder, "journal.jsonl"), text.slice(0, cut));
      const whole = text
        .slice(0, cut)
        .split("\n")
        .filter((line, i) => line === text.split("\n")[i] && line !== "").length;
      const { lines: read, numTorn } = await readJournal(folder);
      expect([read.length, numTorn]).toEqual([whole, cut > 0 && text[cut - 1] !== "\n" && text[cut] !== "\n" ? 1 : 0]);
    }
  });

  test("a process that was away while another one wrote is fenced, and leaves no line", async () => {
    const away = openJournal(folder, now);
    away.append(commit(1, 0));
    const successor = openJournal(folder, now);
    successor.append(commit(1, 0));
    expect(() => away.check?.()).toThrow(/another process writes to .*journal\.jsonl/);
    expect(() => away.append(commit(1, 0))).toThrow(expect.objectContaining({ code: "FENCED" }));
    successor.check?.();
    successor.append(commit(1, 0));
    away.close();
    successor.close();
    expect((await readJournal(folder)).lines).toHaveLength(3);
  });

  test("none is an empty one; what is no entry is named by line", async () => {
    expect(await readJournal(folder)).toEqual({ lines: [], numTorn: 0 });
    await writeFile(join(folder, "journal.jsonl"), '{"event":"of a later version"}\n[1]\n');
    await expect(readJournal(folder)).rejects.toThrow(/journal\.jsonl:2 is not a journal entry/);
    await writeFile(join(folder, "journal.jsonl"), '{"event":"retry","generation":1,"step":-1,"reason":""}\n');
    await expect(readJournal(folder)).rejects.toThrow(/journal\.jsonl:1 is not a journal entry: retry: step/);
  });
});

describe("the audit", () => {
  test("a run with a retry and a run taken back to a checkpoint are both whole", () => {
    const audit = auditJournal(
      lines(generation(1, 0), commit(1, 0), commit(1, 1), generation(2, 2), commit(2, 2), generation(3, 1), commit(3, 1)),
    );
    expect(audit.faults).toEqual([]);
    expect(audit.numTakenBack).toBe(2);
    expect(audit.commits.map(({ step, generation: by }) => [step, by])).toEqual([
      [0, 1],
      [1, 3],
    ]);
  });

  test.each([
    ["twice", [generation(1, 0), commit(1, 0), commit(1, 0)], "step 0 was committed twice"],
    ["left out", [generation(1, 0), commit(1, 1)], "step 0 was left out before step 1"],
    [
      "from an earlier generation",
      [generation(1, 0), generation(2, 0), commit(1, 0)],
      "step 0 was committed in generation 1 during generation 2",
    ],
    ["a generation number again", [generation(2, 0), generation(2, 0)], "generation 2 begins after generation 2"],
    ["a generation ahead", [generation(1, 0), generation(2, 3)], "generation 2 begins at step 3, and only 0 steps were committed"],
  ])("a step %s is found", (_name, entries, fault) => {
    expect(auditJournal(lines(...entries)).faults).toEqual([fault]);
  });
});

describe("metrics.jsonl", () => {
  const record = (step: number, generationNumber = 1): StepRecord => ({
    step,
    epoch: 0,
    generation: generationNumber,
    worldSize: 1,
    batchSize: 1,
    time: "",
    stepMs: 1,
    samplesPerSecond: 0,
    metrics: { loss: step },
    phasesMs: [{}],
  });
  const steps = async (): Promise<[number, number][]> =>
    (await readFile(join(folder, "metrics.jsonl"), "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as StepRecord)
      .map(({ step, generation: by }) => [step, by]);

  test("has each step once, also after the run was taken back and after a resume", async () => {
    const log = openMetricsLog(folder, 0);
    for (let step = 0; step < 4; step++) log.write(record(step));
    log.rewind(2);
    log.write(record(2, 2));
    log.close();
    expect(await steps()).toEqual([
      [0, 1],
      [1, 1],
      [2, 2],
    ]);

    await appendFile(join(folder, "metrics.jsonl"), '{"step": 3, "ep');
    const again = openMetricsLog(folder, 1);
    again.write(record(1, 3));
    again.close();
    expect(await steps()).toEqual([
      [0, 1],
      [1, 3],
    ]);
  });
});
