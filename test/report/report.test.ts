/** The page as a whole: it stands alone, is well-formed, and no picture in it is empty; then the command that writes it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { reportCommand } from "../../src/cli/report.js";
import { startCpu } from "../../src/engine/cpu.js";
import { evaluateRun, saveEvaluated } from "../../src/evaluate/evaluate-run.js";
import { renderReport } from "../../src/report/report.js";
import { readRunRecord } from "../../src/report/run-record.js";
import { expectAlone, expectFullPictures, open } from "../kit/report-page.js";
import { evaluationOf, writeReportRun } from "../kit/report-run.js";
import { trainSmallRun } from "../kit/trained-run.js";

let folder: string;
let joint: string;
let standard: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-report-"));
  joint = writeReportRun(join(folder, "joint"), { name: "quickstart", kind: "joint", numSteps: 300 });
  standard = writeReportRun(join(folder, "standard"), { name: "standard", kind: "standard", numSteps: 300 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = { now: new Date("2026-01-02T03:04:00Z"), isoergVersion: "0.1.0" };
const VOID = new Set(["meta", "img", "br", "link", "input", "hr"]);

/** Every tag is closed in order; every attribute is quoted. Good enough to find a template gone wrong. */
function expectWellFormed(page: string): void {
  const open: string[] = [];
  const body = page.replace(/<style>[\s\S]*?<\/style>/, "").replace("<!doctype html>", "");
  for (const [, closing, name, attributes, self] of body.matchAll(/<(\/?)([a-z0-9]+)((?:\s+[a-zA-Z0-9-]+(?:="[^"<]*")?)*)\s*(\/?)>/g)) {
    expect((attributes ?? "").replaceAll(/"[^"]*"/g, "")).not.toContain("<");
    if (closing) expect(open.pop()).toBe(name);
    else if (!self && !VOID.has(name as string)) open.push(name as string);
  }
  expect(open).toEqual([]);
  const texts = body.replaceAll(/<\/?[a-z0-9]+(?:\s+[a-zA-Z0-9-]+(?:="[^"<]*")?)*\s*\/?>/g, "");
  expect(/.{0,60}[<>].{0,60}/.exec(texts)?.[0]).toBeUndefined();
}

describe("a report of one run", () => {
  it("stands alone, is well-formed, and shows every figure and picture", async () => {
    const page = renderReport([await readRunRecord(joint)], options);
    expectAlone(page);
    expectWellFormed(page);
    expectFullPictures(open(page), 2 + 7);
    const { trained } = evaluationOf({ name: "quickstart", kind: "joint" });
    expect(page).toContain("60.3 %");
    expect(page).toContain("PGD-20, cross-entropy, Linf 8/255");
    expect(page).toContain(`>${(100 * (trained.worstCase?.accuracy as number)).toFixed(1)} %</data></b>`);
    expect(page).toContain("moved each pixel by up to 8/255 of its range");
    expect(page).toContain("data:image/png;base64,iVBOR");
    expect(page).toContain("Before training");
    expect(page).toContain("libtorch 1.13.1");
    expect(page).toContain("sampler.clampGradient");
  });

  it("says what is missing instead of showing nothing", async () => {
    const bare = writeReportRun(join(folder, "bare"), { name: "bare", kind: "joint", numSteps: 1 });
    for (const file of ["evaluation.json", "environment.json", "samples"]) rmSync(join(bare, file), { recursive: true });
    const page = renderReport([await readRunRecord(bare)], options);
    expectWellFormed(page);
    expectFullPictures(open(page), 0);
    expect(page).toContain("This run is not evaluated yet.");
    expect(page).toContain("There are no metrics of this run yet");
  });

  it("escapes whatever a name or a setting holds", async () => {
    const record = await readRunRecord(joint);
    const evil = `<img src=x onerror=alert(1)>"'&`;
    const page = renderReport([{ ...record, name: evil, environment: { [evil]: evil } }], options);
    expectWellFormed(page);
    expect(page).not.toContain("<img src=x");
  });

  it("reads metrics while they are written", async () => {
    writeFileSync(join(standard, "metrics.jsonl"), `${readFileSync(join(standard, "metrics.jsonl"), "utf8")}{"step":300,"epo`);
    expect((await readRunRecord(standard)).steps).toHaveLength(300);
  });
});

describe("a report of several runs", () => {
  it("puts them side by side, the untrained network last, and leaves out charts that a run has no figures for", async () => {
    const page = renderReport([await readRunRecord(joint), await readRunRecord(standard)], options);
    expectAlone(page);
    expectWellFormed(page);
    // Energies of two runs and of the untrained network; six curves of one run, five of the other (no gaps without attacks); one of both.
    expectFullPictures(open(page), 3 + 7 + 6 + 1);
    const head = /<thead>([\s\S]*?)<\/thead>/.exec(page)?.[1] as string;
    expect([...head.matchAll(/<th scope="col">([^<]*)</g)].map((match) => match[1])).toEqual([
      "Figure",
      "quickstart",
      "standard",
      "Before training",
    ]);
  });

  it("tells runs of one name apart by their folders", async () => {
    const page = renderReport([await readRunRecord(joint), { ...(await readRunRecord(standard)), name: "quickstart" }], options);
    expect(page).toContain("<h1>joint</h1>");
    expect(page).toContain("compared with standard");
  });
});

describe("isoerg report", () => {
  it("reports on a run that was really trained and evaluated", async () => {
    const engine = await startCpu();
    const { runFolder } = await trainSmallRun(join(folder, "trained"), { overrides: { epochs: 3 } });
    await saveEvaluated(await evaluateRun({ path: runFolder, engine, now: () => new Date(0), batchSize: 64 }));
    const printed = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    await reportCommand().parseAsync([runFolder], { from: "user" });
    expect(printed).toHaveBeenCalledWith(`wrote ${join(runFolder, "report.html")}\n`);
    printed.mockRestore();
    const page = readFileSync(join(runFolder, "report.html"), "utf8");
    expectAlone(page);
    expectWellFormed(page);
    expectFullPictures(open(page), 2 + 7);
  });

  it("refuses a folder that is no run, and an evaluation that is none", async () => {
    await expect(reportCommand().parseAsync([folder], { from: "user" })).rejects.toMatchObject({ code: "USAGE" });
    const torn = writeReportRun(join(folder, "torn"), { name: "torn", kind: "joint", numSteps: 2 });
    writeFileSync(join(torn, "evaluation.json"), "{}");
    await expect(reportCommand().parseAsync([torn], { from: "user" })).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringContaining("evaluation.json"),
    });
  });
});
