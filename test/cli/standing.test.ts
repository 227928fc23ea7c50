import { describe, expect, it } from "vitest";
import { decideStanding } from "../../src/cli/standing.js";
import { loadConfig } from "../../src/config/load.js";
import type { JournalEntry, JournalLine } from "../../src/coordinator/journal.js";

const { config } = loadConfig({ source: "quickstart", env: {} });
const start: JournalEntry = { event: "start", runId: "r", config: "c", dataset: "d", numSteps: 9, step: 0, reason: "" };
const saved: JournalEntry = { event: "checkpoint", step: 5, path: "step-000005", ms: 1 };
const end = (outcome: "finished" | "asked" | "failed"): JournalEntry => ({ event: "end", outcome, step: 9, reason: "" });
const journal = (...entries: JournalEntry[]): JournalLine[] => entries.map((entry) => ({ time: "", ...entry }));

describe("what the quickstart does with a run it finds", () => {
  it("uses a finished one again", () => {
    expect(decideStanding(config, config, journal(start, saved, end("finished")))).toEqual({ kind: "finished", step: 9 });
  });

  it("goes on with one that was stopped, that failed, or that broke off", () => {
    for (const last of [[end("asked")], [end("failed")], []]) {
      expect(decideStanding(config, config, journal(start, saved, ...last))).toEqual({ kind: "unfinished", step: 5 });
    }
    expect(decideStanding(config, config, journal(start))).toEqual({ kind: "unfinished", step: 0 });
    expect(decideStanding(config, config, journal(start, end("finished"), start))).toEqual({ kind: "unfinished", step: 0 });
  });

  it("leaves one with other settings alone", () => {
    expect(decideStanding({ ...config, seed: 2 }, config, journal(start, end("finished")))).toEqual({ kind: "other" });
  });
});
