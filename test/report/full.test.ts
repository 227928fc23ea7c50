/** The page of a run that has everything: each section is there, each picture is full, each figure is that of its file. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { analyzeCommand } from "../../src/cli/analyze.js";
import { evaluateCommand } from "../../src/cli/evaluate.js";
import { renderReport } from "../../src/report/report.js";
import { readRunRecord } from "../../src/report/run-record.js";
import type { DomDocument } from "../kit/dom.js";
import { writeFullRun } from "../kit/report-full.js";
import { expectAlone, expectCited, expectFullPictures, open } from "../kit/report-page.js";
import { writeReportRun } from "../kit/report-run.js";

let folder: string;
let joint: string;
let standard: string;
const options = { now: new Date("2026-01-02T03:04:00Z"), isoergVersion: "0.1.0" };

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-report-full-"));
  joint = writeFullRun(join(folder, "joint"), { name: "quickstart", kind: "joint", numSteps: 60 });
  standard = writeFullRun(join(folder, "standard"), { name: "standard", kind: "standard", numSteps: 60 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const headings = (document: DomDocument): (string | null)[] => [...document.querySelectorAll("h2")].map(({ textContent }) => textContent);

describe("a report of a run with everything", () => {
  it("shows every section; no picture is empty; every figure is that of its file", async () => {
    const page = renderReport([await readRunRecord(joint)], options);
    expectAlone(page);
    const document = open(page);
    expect(headings(document)).toEqual([
      "In words",
      "Energies",
      "Figures",
      "Robustness",
      "Which mistakes",
      "Energies of every kind of image",
      "Unknown images",
      "Confidence",
      "Quality of generated images",
      "Generated samples",
      "Training",
      "Settings and origin",
    ]);
    // Energies (2), budget and certificate (2), six sets by two energies (12), reliability (2), curves (6).
    expectFullPictures(document, 2 + 2 + 12 + 2 + 6);
    expect(expectCited(document, { quickstart: joint })).toBeGreaterThan(150);
  });

  it("shows the attacks one after the other, the checklist's doubts, the guard's alarms and every decision", async () => {
    const record = await readRunRecord(joint);
    const document = open(renderReport([record], options));
    const text = (document.body.textContent ?? "").replaceAll(/\s+/g, " ");
    const { robustness, trained } = record.evaluation ?? {};
    for (const attack of robustness?.attacks ?? []) expect(text).toContain(attack.title);
    expect(text).toContain("1 check is suspicious");
    expect(text).toContain("energy-growth");
    expect(text).toContain("right under AutoAttack, standard version, Linf 8/255");
    const tables = [...document.querySelectorAll("table.confusion")];
    expect(tables).toHaveLength(3);
    const sums = tables.map((table) => [...table.querySelectorAll("td")].reduce((sum, cell) => sum + Number(cell.textContent), 0));
    const right = tables.map((table) => [...table.querySelectorAll("td.right")].reduce((sum, cell) => sum + Number(cell.textContent), 0));
    expect(sums).toEqual([10_000, 1000, 1000]);
    expect(right).toEqual([trained?.clean.correct, ...(trained?.attacks ?? []).map(({ accuracy }) => accuracy.correct)]);
  });

  it("would notice a figure that differs from its file", async () => {
    const page = renderReport([await readRunRecord(joint)], options);
    const other = page.replace(/(<data value="[^"]*"[^>]*data-source="evaluation.json#\/robustness\/robust\/accuracy">)[^<]*/, "$199.9 %");
    expect(other).not.toBe(page);
    expect(() => expectCited(open(other), { quickstart: joint })).toThrow(/robust\/accuracy/);
    const wrong = page.replace(
      'data-source="evaluation.json#/robustness/clean/accuracy"',
      'data-source="evaluation.json#/robustness/robust/accuracy"',
    );
    expect(() => expectCited(open(wrong), { quickstart: joint })).toThrow();
  });

  it("puts two runs side by side, and cites each from its own files", async () => {
    const page = renderReport([await readRunRecord(joint), await readRunRecord(standard)], options);
    expectAlone(page);
    const document = open(page);
    expectFullPictures(document, 3 + 2 * (2 + 12 + 2) + 6 + 5);
    expect(expectCited(document, { quickstart: joint, standard })).toBeGreaterThan(300);
  });
});

describe("a report of a bare run", () => {
  it("leaves out what is not there, and names commands that would fill it", async () => {
    const bare = writeReportRun(join(folder, "bare"), { name: "bare", kind: "joint", numSteps: 1 });
    for (const file of ["evaluation.json", "environment.json", "samples"]) rmSync(join(bare, file), { recursive: true });
    const document = open(renderReport([await readRunRecord(bare)], options));
    expectFullPictures(document, 0);
    expect(headings(document)).toEqual(["Figures", "Training", "Settings and origin", "Not in this report"]);
    const commands = [...document.querySelectorAll("section:last-of-type li code")].map(({ textContent }) => textContent ?? "");
    expect(commands.length).toBeGreaterThan(6);
    const known = [evaluateCommand(), analyzeCommand()].flatMap((command) =>
      command.options.map(({ long }) => `${command.name()} ${long}`),
    );
    for (const command of commands) {
      const [, verb, ...rest] = command.split(" ");
      for (const flag of rest.filter((word) => word.startsWith("--"))) expect(known).toContain(`${verb} ${flag}`);
    }
  });

  it("refuses an analysis that is none", async () => {
    const torn = writeReportRun(join(folder, "torn"), { name: "torn", kind: "joint", numSteps: 2 });
    writeFileSync(join(torn, "analysis.json"), readFileSync(join(joint, "analysis.json"), "utf8").slice(0, 100));
    await expect(readRunRecord(torn)).rejects.toMatchObject({ code: "DATA", message: expect.stringContaining("analysis.json") });
  });
});
