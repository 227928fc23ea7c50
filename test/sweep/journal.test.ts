import { mkdtempSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decide } from "../../src/sweep/decide.js";
import type { Job } from "../../src/sweep/job.js";
import { openStudy } from "../../src/sweep/journal.js";
import { createStrategy, readSweep, sweepSchema } from "../../src/sweep/spec.js";
import { valued } from "./simulate.js";

const spec = sweepSchema.parse({
  experiment: "quickstart",
  space: { a: { uniform: [0, 1] } },
  search: { kind: "tpe", trials: 12, startup: 4 },
  schedule: { kind: "asha", min: 1 },
});
const begun = { sweep: "sweep.yaml", digest: "d1", now: () => new Date(0) };
const newFolder = () => mkdtempSync(join(tmpdir(), "isoerg-study-"));

/** Goes on with the study in the folder for so many events, or to its end. */
function work(folder: string, maxEvents = Number.POSITIVE_INFINITY): readonly Job[] {
  const study = openStudy(folder, begun);
  const strategy = createStrategy(spec, 9);
  for (let events = 0; events < maxEvents; events++) {
    const unfinished = study.jobs.find((job) => job.result === null);
    if (unfinished) {
      study.finished(unfinished.index, valued(unfinished.point.a as number));
      continue;
    }
    const next = decide(study.jobs, { ...strategy, parallel: 1 });
    if (next.kind !== "run") break;
    study.decided(next.job, next.reason);
  }
  study.close();
  return study.jobs;
}

describe("a study's journal", () => {
  it("gives the same study back, killed after any event", () => {
    const whole = work(newFolder());
    expect(whole.length).toBeGreaterThan(14);
    const folder = newFolder();
    for (let i = 0; i < 100; i++) work(folder, 1);
    expect(work(folder)).toEqual(whole);
  });

  it("goes on after a line torn at any byte, with no job lost or run twice", () => {
    const whole = work(newFolder());
    const source = newFolder();
    work(source, 9);
    const text = readFileSync(join(source, "study.jsonl"), "utf8");
    const lastLine = text.lastIndexOf("\n", text.length - 2) + 1;
    for (let cut = lastLine; cut <= text.length; cut += 7) {
      const folder = newFolder();
      writeFileSync(join(folder, "study.jsonl"), text);
      truncateSync(join(folder, "study.jsonl"), cut);
      expect(work(folder)).toEqual(whole);
    }
  });

  it("refuses the study of another sweep", () => {
    const folder = newFolder();
    work(folder, 3);
    expect(() => openStudy(folder, { ...begun, digest: "d2" })).toThrow(/study of another sweep/);
  });
});

describe("a sweep file", () => {
  const written = (text: string): string => {
    const file = join(newFolder(), "sweep.yaml");
    writeFileSync(file, text);
    return file;
  };

  it("is read, and mistakes are told with their place", () => {
    const good = "experiment: quickstart\nspace:\n  optimizer.lr: { log-uniform: [0.001, 0.01] }\nsearch: { kind: random, trials: 4 }\n";
    expect(readSweep(written(good))).toMatchObject({ experiment: "quickstart", parallel: 2 });
    expect(() => readSweep(written(good.replace("search:", "serch:")))).toThrow(
      /sweep\.yaml:4:1: unknown key 'serch'; did you mean 'search'/,
    );
    expect(() => readSweep(written(good.replace("[0.001, 0.01]", "[0.01, 0.001]")))).toThrow(/sweep\.yaml:3/);
    expect(() => readSweep("/nowhere/sweep.yaml")).toThrow(/can't be read/);
  });
});
