/** The page by the rules of others: html-validate's for HTML, axe's for people who can't see or point, WCAG's for contrast. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HtmlValidate } from "html-validate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { costsSchema } from "../../src/evaluate/decision/costs.js";
import { renderReport } from "../../src/report/report.js";
import { readRunRecord } from "../../src/report/run-record.js";
import { readStudyRecord } from "../../src/report/study/study-record.js";
import { renderStudyReport } from "../../src/report/study/study-report.js";
import { DEPTH_PERCENT, FIFTHS, STYLE } from "../../src/report/style.js";
import { openPage } from "../kit/dom.js";
import { writeFullRun } from "../kit/report-full.js";
import { writeReportRun } from "../kit/report-run.js";
import { writeStudy } from "../kit/study.js";

const options = { now: new Date("2026-01-02T03:04:00Z"), isoergVersion: "0.1.0" };
const costs = costsSchema.parse({
  attackRate: 0.05,
  mistakes: { default: 1, classes: { truck: { default: 9 } } },
  abstain: { below: 0.3, cost: 0.2 },
});
let folder: string;
const pages = new Map<string, string>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-report-valid-"));
  const full = await readRunRecord(writeFullRun(join(folder, "full"), { name: "quickstart", kind: "joint", numSteps: 40 }));
  const other = await readRunRecord(writeFullRun(join(folder, "other"), { name: "standard", kind: "standard", numSteps: 40 }));
  const bare = writeReportRun(join(folder, "bare"), { name: "bare", kind: "joint", numSteps: 1 });
  for (const file of ["evaluation.json", "environment.json", "samples"]) rmSync(join(bare, file), { recursive: true });
  pages.set("full", renderReport([full], { ...options, costs }));
  pages.set("comparison", renderReport([full, other], { ...options, costs }));
  const study = writeStudy(join(folder, "study"), { schedule: "asha", trials: 24, seeds: 2 });
  pages.set("study", renderStudyReport(await readStudyRecord(study), options));
  pages.set("bare", renderReport([await readRunRecord(bare)], options));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(["full", "comparison", "bare", "study"])("the page of a %s report", (name) => {
  it("is valid HTML", async () => {
    const validator = new HtmlValidate({
      extends: ["html-validate:recommended", "html-validate:a11y"],
      rules: { "long-title": "off", "no-trailing-whitespace": "off", "void-style": "off", "doctype-style": "off" },
    });
    const report = await validator.validateString(pages.get(name) as string);
    const found = report.results.flatMap(({ messages }) => messages.map(({ ruleId, message, line }) => `${line}: ${ruleId}: ${message}`));
    expect(found.slice(0, 10)).toEqual([]);
  });

  // The comparison is made of the same parts, and axe needs seconds for each page.
  it.skipIf(name === "comparison")(
    "has nothing that axe objects to",
    async () => {
      const window = openPage(pages.get(name) as string, { scripts: true });
      window.eval(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
      // jsdom lays nothing out, so contrast and sizes are not axe's to judge here; contrast is computed below.
      const run = window.eval(
        `axe.run(document, { rules: { "color-contrast": { enabled: false }, "target-size": { enabled: false } }, resultTypes: ["violations"] })`,
      ) as Promise<{ violations: { id: string; nodes: { html: string }[] }[]; passes: unknown[] }>;
      const { violations, passes } = await run;
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 200)}`)).toEqual([]);
      expect(passes.length).toBeGreaterThan(15);
      window.close();
    },
    60_000,
  );
});

it("the validator and axe do object where there is cause", async () => {
  const broken = (pages.get("bare") as string)
    .replace("</h1>", '</h1><img src="data:,"><b><p>x</p></b>')
    .replace('<html lang="en">', "<html>");
  const report = await new HtmlValidate({ extends: ["html-validate:recommended"] }).validateString(broken);
  expect(report.valid).toBe(false);
  const window = openPage(broken, { scripts: true });
  window.eval(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = (await window.eval(`axe.run(document, { runOnly: ["html-has-lang", "image-alt"] })`)) as {
    violations: { id: string }[];
  };
  expect(violations.map(({ id }) => id)).toEqual(expect.arrayContaining(["html-has-lang", "image-alt"]));
  window.close();
});

describe("contrast, by WCAG 2.2", () => {
  type Theme = ReadonlyMap<string, string>;
  const block = (pattern: RegExp): Theme =>
    new Map([...(pattern.exec(STYLE)?.[1] ?? "").matchAll(/--([\w-]+): (#[0-9a-f]{3,6});/g)].map((m) => [m[1] as string, m[2] as string]));
  const light = block(/^:root \{([\s\S]*?)\}/);
  const dark = block(/prefers-color-scheme: dark\) \{ :root \{([\s\S]*?)\}/);
  const print = block(/@media print \{ :root \{([\s\S]*?)\}/);

  it.each([
    ["light", light],
    ["dark", dark],
    ["print", print],
  ] as const)("%s: texts 4.5 to 1, lines 3 to 1, on each ground that they stand on", (_, theme) => {
    const grounds = ["page", "panel"].map((name) => rgb(theme.get(name) ?? "none"));
    for (const ground of grounds) {
      for (const name of ["ink", "soft", "good", "fair", "weak"])
        expect(contrast(rgb(theme.get(name) ?? name), ground), name).toBeGreaterThanOrEqual(4.5);
      for (const name of ["clean", "adversarial", "generated", "buffer", "plain", "second"]) {
        expect(contrast(rgb(theme.get(name) ?? name), ground), name).toBeGreaterThanOrEqual(3);
      }
    }
    for (const fifth of FIFTHS) {
      const [good, bad] = [rgb(theme.get("clean") ?? "none"), rgb(theme.get("adversarial") ?? "none")];
      const mixed = good.map((value, i) => (fifth * value + (100 - fifth) * (bad[i] as number)) / 100);
      for (const ground of grounds) expect(contrast(mixed, ground), `fifth ${fifth}`).toBeGreaterThanOrEqual(3);
    }
    for (const kind of ["right", "wrong"]) {
      for (let depth = 1; depth <= 9; depth++) {
        const share = (depth * DEPTH_PERCENT) / 100;
        const [over, under] = [rgb(theme.get(`heat-${kind}`) ?? kind), rgb(theme.get("page") ?? "page")];
        const ground = over.map((value, i) => share * value + (1 - share) * (under[i] as number));
        expect(contrast(rgb(theme.get("ink") ?? "ink"), ground), `${kind} ${depth}`).toBeGreaterThanOrEqual(4.5);
      }
    }
  });

  it("is what WCAG says it is", () => {
    expect(contrast(rgb("#000"), rgb("#fff"))).toBeCloseTo(21, 10);
    expect(contrast(rgb("#777777"), rgb("#fff"))).toBeCloseTo(4.48, 2);
  });
});

function rgb(colour: string): number[] {
  const digits = colour.slice(1);
  expect(digits, colour).toMatch(/^([0-9a-f]{3}|[0-9a-f]{6})$/);
  const width = digits.length / 3;
  return [0, 1, 2].map((i) => Number.parseInt(digits.slice(i * width, (i + 1) * width).repeat(width === 1 ? 2 : 1), 16));
}

/** Relative luminance and contrast ratio, WCAG 2.2. */
function contrast(a: readonly number[], b: readonly number[]): number {
  const luminance = (colour: readonly number[]): number => {
    const [red = 0, green = 0, blue = 0] = colour.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}
