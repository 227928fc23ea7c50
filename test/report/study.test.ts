/** The page of a sweep's study: stands alone, shows every trial, tells the right settings, and is honest about what it can't tell. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { reportCommand } from "../../src/cli/report.js";
import { describeDomain, formatSetting, marksOf } from "../../src/report/study/axes.js";
import { comparedAt, standingOf } from "../../src/report/study/standing.js";
import { readStudyRecord } from "../../src/report/study/study-record.js";
import { renderStudyReport } from "../../src/report/study/study-report.js";
import type { Job } from "../../src/sweep/job.js";
import { halfInterval, summarise } from "../../src/sweep/summary.js";
import type { DomDocument } from "../kit/dom.js";
import { expectAlone, expectFullPictures, open } from "../kit/report-page.js";
import { type StudyOptions, studySpec, writeStudy } from "../kit/study.js";

const options = { now: new Date("2026-01-02T03:04:00Z"), isoergVersion: "0.1.0" };
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-study-page-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Made {
  readonly page: string;
  readonly document: DomDocument;
  readonly path: string;
}
const made = new Map<string, Promise<Made>>();

/** A page takes a forest or a thousand: the same one is made once. */
function pageOf(study: StudyOptions): Promise<Made> {
  const key = JSON.stringify(study);
  const known = made.get(key) ?? makePage(study);
  made.set(key, known);
  return known;
}

async function makePage(study: StudyOptions): Promise<Made> {
  const path = writeStudy(join(folder, `study-${made.size}`), study);
  const page = renderStudyReport(await readStudyRecord(path), options);
  return { page, document: open(page), path };
}

const textsOf = (document: DomDocument, selector: string): string[] =>
  [...document.querySelectorAll(selector)].map(({ textContent }) => (textContent ?? "").replaceAll(/\s+/g, " ").trim());

describe("the page of a study", () => {
  it.each([
    [
      "asha",
      { schedule: "asha", trials: 24 } as const,
      ["Every trial: its settings and what came of it", "Which settings decide", "On validation images", "While they trained"],
    ],
    ["full, several seeds", { schedule: "full", trials: 24, seeds: 3 } as const, ["Which settings decide", "While they trained"]],
    ["population-based", { schedule: "pbt", trials: 12 } as const, ["Which settings decide", "On validation images"]],
    ["a gap that is to be small", { schedule: "full", trials: 16, metric: "gap" } as const, ["Which settings decide"]],
  ])("%s: stands alone, and no picture is empty", async (_name, study, headings) => {
    const { page, document } = await pageOf(study);
    expectAlone(page);
    const charts = [...document.querySelectorAll("svg")].length;
    expect(charts).toBeGreaterThanOrEqual(2);
    expectFullPictures(document, charts);
    expect(textsOf(document, "h3")).toEqual(expect.arrayContaining([...headings]));
  });

  it("draws each trial once, the best thick and last, with a cross where one failed", async () => {
    const { document, path } = await pageOf({ schedule: "asha" });
    const { jobs } = await readStudyRecord(path);
    const [parallel] = [...document.querySelectorAll("svg")];
    const lines = [...(parallel?.querySelectorAll("path.trial") ?? [])];
    expect(lines).toHaveLength(24);
    expect(lines.at(-1)?.getAttribute("class")).toContain("best");
    expect(lines.filter((line) => (line.getAttribute("class") ?? "").includes("best"))).toHaveLength(1);
    const failed = new Set(jobs.filter(({ result }) => result?.kind === "failed").map(({ trial }) => trial));
    expect(failed.size).toBeGreaterThan(1);
    expect([...(parallel?.querySelectorAll("path.cross") ?? [])]).toHaveLength(failed.size);
    // The legend shows the best trial as the picture does.
    expect(document.querySelector(".key .swatch.best")?.getAttribute("class")).toBe(
      lines.at(-1)?.getAttribute("class")?.replace("trial", "swatch"),
    );
    expect(textsOf(document, ".key")[0]).toMatch(new RegExp(`${failed.size - 1} diverged, 1 broke`));
    expect(textsOf(document, "svg text.label").slice(0, 6)).toEqual([
      "optimizer.lr",
      "objective.align-adversarial",
      "attack.steps",
      "attack.start",
      "trained to, epochs",
      "accuracy under PGD-20, %, after 0.5 epochs",
    ]);
  });

  it("puts lines where their settings are: a logarithmic axis, the parts of a choice, colour by fifths", async () => {
    const { document, path } = await pageOf({ schedule: "full", trials: 24, seeds: 3 });
    const { jobs } = await readStudyRecord(path);
    const [parallel] = [...document.querySelectorAll("svg")];
    for (const line of parallel?.querySelectorAll("path.trial") ?? []) {
      const trial = Number(/^Trial (\d+)/.exec(line.querySelector("title")?.textContent ?? "")?.[1]);
      const { point, result } = jobs.find((job) => job.trial === trial) as Job;
      const [first = 0, , , start = 0] = (line.getAttribute("d") ?? "")
        .slice(1)
        .split("L")
        .map((place) => Number(place.split(" ")[0]));
      expect(first).toBeCloseTo(20 + (400 * Math.log(Number(point["optimizer.lr"]) / 1e-4)) / Math.log(1e3), 1);
      const part = ["uniform", "normal", "none"].indexOf(point["attack.start"] as string);
      expect(start > 20 + (400 * part) / 3 && start < 20 + (400 * (part + 1)) / 3).toBe(true);
      if (result?.kind === "failed") expect(line.getAttribute("class")).toBe("trial unscored");
    }
    const standing = standingOf(jobs);
    const scored = standing.trials.filter(({ score }) => score !== null);
    expect(scored.map(({ fifth }) => fifth)).toEqual([...scored.map(({ fifth }) => fifth)].sort());
    expect(scored.at(-1)?.fifth).toBe(5);
    expect(Math.max(...scored.map(({ score }) => score as number))).toBe(scored.at(-1)?.score);
  });

  it("names the setting that decides, and shows what it does", async () => {
    const { document } = await pageOf({ schedule: "full", trials: 40 });
    const headings = textsOf(document, "h3");
    expect(headings).toContain("What optimizer.lr does");
    expect(headings).not.toContain("What objective.align-adversarial does");
    const bars = textsOf(document, "svg text.label");
    expect(bars[bars.indexOf("accuracy under PGD-20, %, after 4.5 epochs") + 1]).toBe("optimizer.lr");
    expect(textsOf(document, "figcaption").join(" ")).toMatch(/The forest explains \d\d\.\d % of the differences/);
  });

  it("says that too few trials tell nothing", async () => {
    const { document } = await pageOf({ schedule: "full", trials: 5 });
    expect(textsOf(document, "figure").join(" ")).toMatch(/It can't be told yet: \d trials have a value, and it takes 8 to tell/);
  });

  it("lists every trial with its mean and interval over the seeds, failures with their reasons", async () => {
    const { document, path } = await pageOf({ schedule: "full", trials: 24, seeds: 3 });
    const { jobs, spec } = await readStudyRecord(path);
    const trials = summarise(jobs, spec);
    const rows = [...document.querySelectorAll("table.trials tbody tr")]
      .map((row) => textsOf(row as unknown as DomDocument, "th, td"))
      .slice(4);
    expect(rows).toHaveLength(24);
    for (const [i, { trial, metric, bySeed, failure }] of trials.entries()) {
      const row = rows[i] ?? [];
      expect(row.at(-1)).toBe(String(trial));
      expect(row[2]).toBe(metric === null ? "-" : `${(100 * (trials[i]?.measured.clean ?? 0)).toFixed(1)} %`);
      if (metric === null) expect(row[1]).toContain((failure ?? "").trim());
      else {
        const mean = bySeed.reduce((sum, value) => sum + value, 0) / 3;
        const half = halfInterval(bySeed);
        expect(row[1]).toBe(`${(100 * mean).toFixed(1)} %${(100 * (mean - half)).toFixed(1)} to ${(100 * (mean + half)).toFixed(1)}`);
      }
    }
    expect(textsOf(document, "summary")[0]).toBe("4 more trials");
  });

  it("marks ASHA's rungs with how many trials came to each", async () => {
    const { document, path } = await pageOf({ schedule: "asha" });
    const { jobs } = await readStudyRecord(path);
    const counts = [0.5, 1.5, 4.5].map((to) => jobs.filter((job) => job.to === to).length);
    expect(textsOf(document, "svg text.tick").filter((text) => text.endsWith(" trials"))).toEqual(counts.map((n) => `${n} trials`));
    expect(counts[0]).toBe(24);
  });

  it("of a study under way says so, and one that has only begun has a page", async () => {
    const { document } = await pageOf({ schedule: "asha", finished: 9 });
    expect(textsOf(document, "header p")[0]).toMatch(/\d+ jobs under way or left open/);
    expect(textsOf(document, "main")[0]).toContain("When the sweep is over it writes them as an experiment");
    const none = await pageOf({ schedule: "full", trials: 3, finished: 0 });
    expect(textsOf(none.document, "p.missing")).toEqual(["No trial of this study has a value yet."]);
    expectAlone(none.page);
    const bare = await pageOf({ schedule: "full", trials: 12, curves: "without" });
    expect(textsOf(bare.document, "h2")).not.toContain("Learning curves");
  });

  it("escapes what settings hold", async () => {
    const path = writeStudy(join(folder, "hostile"), { schedule: "full", trials: 4 });
    const file = join(path, "study.jsonl");
    writeFileSync(
      file,
      readFileSync(file, "utf8").replaceAll('"uniform"', '"<b>\\"x"').replace('{"<b>\\"x":[0,50]}', '{"uniform":[0,50]}'),
    );
    const page = renderStudyReport(await readStudyRecord(path), options);
    expect(page).not.toContain("<b>&quot;x");
    expect(page).toContain("&lt;b&gt;&quot;x");
  });
});

describe("how trials stand to each other", () => {
  const job = (trial: number, to: number, value: number | null): Job => ({
    index: 0,
    trial,
    point: {},
    from: 0,
    to,
    copyOf: null,
    result: value === null ? { kind: "failed", reason: "r" } : { kind: "value", value, bySeed: [value] },
  });

  it("is told after the training that most trials had", () => {
    const jobs = [job(0, 1, 5), job(1, 1, 3), job(2, 1, null), job(0, 3, 9)];
    expect(comparedAt(jobs, "most")).toBe(1);
    const { epochs, trials } = standingOf(jobs);
    expect(epochs).toBe(1);
    expect(trials.map(({ trial, score, epochs: reached }) => [trial, score, reached])).toEqual([
      [2, null, 1],
      [1, 3, 1],
      [0, 5, 3],
    ]);
    const population = [job(0, 1, 1), job(1, 1, 2), job(0, 2, 3), job(1, 2, 4)];
    expect([comparedAt(population, "least"), comparedAt(population, "most")]).toEqual([1, 2]);
    expect(standingOf([])).toEqual({ epochs: 0, trials: [] });
  });
});

describe("axes", () => {
  it("have round marks within their range, logarithmic ones in equal ratios", () => {
    expect(marksOf({ kind: "log-uniform", low: 1e-4, high: 1e-1 }).map(({ value, text }) => [Number(value.toFixed(6)), text])).toEqual([
      [0, "0.0001"],
      [0.333333, "0.001"],
      [0.666667, "0.01"],
      [1, "0.1"],
    ]);
    expect(marksOf({ kind: "log-uniform", low: 1e-3, high: 1e-2 }).map(({ text }) => text)).toEqual(["0.001", "0.002", "0.005", "0.01"]);
    expect(marksOf({ kind: "log-uniform", low: 3, high: 4 }).map(({ text }) => text)).toEqual(["3", "4"]);
    expect(marksOf({ kind: "int", low: 1, high: 4 })).toEqual([1, 2, 3, 4].map((n) => ({ value: (n - 0.5) / 4, text: String(n) })));
    expect(marksOf({ kind: "choice", values: [true, "a"] })).toEqual([
      { value: 0.25, text: "true" },
      { value: 0.75, text: "a" },
    ]);
    expect(marksOf({ kind: "uniform", low: 0, high: 2 }).map(({ value, text }) => [value, text])).toEqual([
      [0, "0"],
      [0.25, "0.5"],
      [0.5, "1.0"],
      [0.75, "1.5"],
      [1, "2.0"],
    ]);
    expect(describeDomain({ kind: "log-uniform", low: 1e-3, high: 0.1 })).toBe("0.001 to 0.1, logarithmic");
    expect(formatSetting(0.0034567)).toBe("0.00346");
  });
});

describe("isoerg report of a study", () => {
  it("writes its page into the folder", async () => {
    const path = writeStudy(join(folder, "by-command"), { schedule: "asha", trials: 9 });
    const said = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    try {
      await reportCommand().parseAsync([path], { from: "user" });
    } finally {
      said.mockRestore();
    }
    expect(readFileSync(join(path, "report.html"), "utf8")).toContain("Which settings decide");
  });

  it("refuses to mix it with runs, and a journal that does not tell its sweep", async () => {
    const path = writeStudy(join(folder, "refused"), { schedule: "full", trials: 3 });
    await expect(reportCommand().parseAsync([path, "elsewhere"], { from: "user" })).rejects.toMatchObject({ code: "USAGE" });
    await expect(reportCommand().parseAsync([path, "--card", "x.md"], { from: "user" })).rejects.toMatchObject({ code: "USAGE" });
    const file = join(path, "study.jsonl");
    const [head = "", ...rest] = readFileSync(file, "utf8").split("\n");
    const { spec, epochs: _, ...old } = JSON.parse(head) as Record<string, unknown>;
    writeFileSync(file, [JSON.stringify(old), ...rest].join("\n"));
    await expect(readStudyRecord(path)).rejects.toMatchObject({ code: "DATA", hint: expect.stringMatching("isoerg sweep") as unknown });
    writeFileSync(join(path, "study.json"), JSON.stringify({ spec, trials: [] }));
    expect((await readStudyRecord(path)).spec).toEqual(studySpec({ schedule: "full", trials: 3 }));
  });
});
