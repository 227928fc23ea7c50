/** The page of a run that has everything: each section is there, each picture is full, each figure is that of its file. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { analyzeCommand } from "../../src/cli/analyze.js";
import { evaluateCommand } from "../../src/cli/evaluate.js";
import { reportCommand } from "../../src/cli/report.js";
import { parseCosts } from "../../src/evaluate/decision/costs.js";
import type { Decisions } from "../../src/evaluate/decision/decisions.js";
import type { Evaluation } from "../../src/evaluate/evaluation.js";
import { valueAt } from "../../src/report/cite.js";
import { renderModelCard, TO_FILL_IN } from "../../src/report/model-card.js";
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
      "Not in this report",
    ]);
    // Energies (2), budget, certificate and surfaces (3), six sets by two energies (12), reliability (2), curves (6).
    expectFullPictures(document, 2 + 3 + 12 + 2 + 7);
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
    // Of both: budget, certificate, accuracy on training batches.
    expectFullPictures(document, 3 + 3 + 2 * (3 + 12 + 2) + 7 + 6);
    expect(expectCited(document, { quickstart: joint, standard })).toBeGreaterThan(300);
  });
});

describe("the costs of decisions", () => {
  const file = `currency: EUR
attackRate: 0.1
mistakes: { default: 1, classes: { truck: { automobile: 0.5, default: 20 } } }
abstain: { below: 0.3, cost: 0.25 }
compute: { default: 2, runs: { quickstart: 7 } }
`;

  it("stand in the page as the decisions in evaluation.json give them", async () => {
    const records = [await readRunRecord(joint), await readRunRecord(standard)];
    const costs = parseCosts(file, "costs.yaml");
    const page = renderReport(records, { ...options, costs });
    expectAlone(page);
    const document = open(page);
    expectFullPictures(document, 3 + 3 + 1 + 2 * (3 + 12 + 2) + 7 + 6);
    expectCited(document, { quickstart: joint, standard });
    const rows = [...document.querySelectorAll('[aria-label="Expected costs"] tbody tr')].map((row) =>
      [...row.querySelectorAll("td b")].map(({ textContent }) => Number((textContent ?? "").replaceAll(",", ""))),
    );
    // Computed anew from the file, cell by cell.
    const byHand = records.map(({ evaluation, name }) => {
      const names = evaluation?.data.classes ?? [];
      const cost = ({ cells }: Decisions): number => {
        let [sum, n] = [0, 0];
        for (const [truth, decided, band, count] of cells) {
          const wrong = names[truth] === "truck" ? (names[decided] === "automobile" ? 0.5 : 20) : 1;
          sum += count * (band < 6 ? 0.25 : truth === decided ? 0 : wrong);
          n += count;
        }
        return sum / n;
      };
      const compute = name === "quickstart" ? 7 : 2;
      const clean = cost(evaluation?.trained.decisions as Decisions);
      const attacked = Math.max(...(evaluation?.trained.attacks ?? []).map(({ decisions }) => cost(decisions as Decisions)));
      return [1000 * (0.9 * clean + 0.1 * attacked) + compute, 1000 * clean + compute, 1000 * attacked + compute];
    });
    expect(rows).toHaveLength(2);
    for (const [i, row] of rows.entries())
      for (const [k, shown] of row.entries()) expect(Math.abs(shown - (byHand[i]?.[k] ?? 0))).toBeLessThan(1);
    const text = (document.body.textContent ?? "").replaceAll(/\s+/g, " ");
    expect(text).toContain("With quickstart, 1,000 decisions are expected to cost");
    // AutoAttack fools more samples than the attack that the costs rest on: the page says so.
    expect(text).toMatch(
      /AutoAttack, standard version leaves 29\.2 % right, PGD-20, margin 33\.0 %: against such an attacker the cost is higher/,
    );
    expect(text).toMatch(/break even at an attack rate of|is cheaper at every attack rate/);
  });

  it("says which run's decisions were not counted", async () => {
    const old = writeReportRun(join(folder, "old"), { name: "old", kind: "joint", numSteps: 2 });
    const page = renderReport([await readRunRecord(old)], { ...options, costs: parseCosts(file, "costs.yaml") });
    expect(page).toContain("The decisions of old were not counted yet");
  });
});

describe("the model card", () => {
  it("holds every figure with its place in the files, the known limits, and marked places for the owner", async () => {
    const record = await readRunRecord(joint);
    const card = renderModelCard(record, options);
    const rows = [...card.matchAll(/^\| (.*) \| (.*) \| (.*) \| `(.*)#(.*)` \|$/gm)];
    expect(rows.length).toBeGreaterThan(20);
    for (const [, , value = "", , file = "", pointer = ""] of rows) {
      const found = valueAt(JSON.parse(readFileSync(join(joint, file), "utf8")), pointer) as number;
      const [shown] = /[-+]?[\d.]+/.exec(value) ?? [];
      expect(Math.abs(Math.abs(Number(shown)) - Math.abs(value.includes("%") ? 100 * found : found)), `${pointer}: ${value}`).toBeLessThan(
        0.051,
      );
    }
    expect(card).toContain(
      createHash("sha256")
        .update(readFileSync(join(joint, "config.yaml")))
        .digest("hex"),
    );
    expect(card).toContain(record.evaluation?.data.digest);
    expect(card).toContain("AutoAttack was run in its standard version");
    expect(card).toContain("**Suspicious**: the checklist against gradient masking expects that five times the iterations change little");
    expect(card).toMatch(/On digits its energy (takes them for more typical|hardly tells them)/);
    expect(card).toContain("The stability guard took the training back 1 time");
    expect(card.split(TO_FILL_IN).length - 1).toBeGreaterThanOrEqual(6);
  });

  it("of a bare run names no figure, and says what was not measured", async () => {
    const bare = writeReportRun(join(folder, "card"), { name: "bare", kind: "joint", numSteps: 1 });
    rmSync(join(bare, "evaluation.json"));
    const card = renderModelCard({ ...(await readRunRecord(bare)), name: "a|b <i>" }, options);
    expect(card).toContain("# Model card: a\\|b \\<i\\>");
    expect(card).toContain("Nothing was measured yet");
    expect(card).toContain("Accuracy and robustness were not evaluated");
    expect(card).not.toMatch(/\d %/);
  });

  it("and the page say when the analysis is of another checkpoint", async () => {
    const record = await readRunRecord(joint);
    const later = { ...record, evaluation: { ...(record.evaluation as Evaluation), step: 61 } };
    expect(renderModelCard(later, options)).toContain("analysis.json is of step 60, evaluation.json of step 61");
    expect(renderReport([later], options)).toContain("analysis.json is of step 60, evaluation.json of step 61");
    expect(renderReport([record], options)).not.toContain("analysis.json is of step");
  });
});

describe("isoerg report", () => {
  it("writes page and card where it is told, and refuses costs that it can't understand", async () => {
    const printed = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    const [out, card, file] = ["page.html", "CARD.md", "costs.yaml"].map((name) => join(folder, name)) as [string, string, string];
    writeFileSync(file, "attackRate: 0.1\nmistakes: { default: 1 }\n");
    const words = [joint, standard, "--out", out, "--card", card, "--costs", file];
    await reportCommand().parseAsync(words, { from: "user" });
    printed.mockRestore();
    expect(readFileSync(out, "utf8")).toContain("What it costs");
    expect(readFileSync(card, "utf8")).toContain("# Model card: quickstart");
    writeFileSync(file, "attackRate: 0.1\nmistakes: { default: 1, classes: { lorry: { default: 2 } } }\n");
    await expect(reportCommand().parseAsync(words, { from: "user" })).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("lorry"),
    });
    await expect(reportCommand().parseAsync([joint, "--costs", join(folder, "none.yaml")], { from: "user" })).rejects.toMatchObject({
      code: "USAGE",
    });
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
    const known = [evaluateCommand(), analyzeCommand(), reportCommand()].flatMap((command) =>
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
