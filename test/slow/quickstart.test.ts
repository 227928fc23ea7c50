/**
 * The quickstart as a person runs it, on a small budget: the real CIFAR-10 from wherever it can be reached, two trainings with
 * two workers each, evaluation, report; and a second run, which finds everything done.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { readEvaluation } from "../../src/evaluate/evaluation.js";
import { packageRoot } from "../../src/util/package.js";

const folder = mkdtempSync(join(tmpdir(), "isoerg-quickstart-"));
const runs = join(folder, "runs");
const data = process.env.ISOERG_TEST_CIFAR10 ?? join(folder, "cifar10");
const budget = ["epochs=0.05", "evaluate.samples=64", "evaluate.generated=20", "evaluate.freshSteps=20"];

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function quickstart(...more: string[]): Promise<string> {
  const program = join(packageRoot, "dist", "src", "main.js");
  const words = [program, "quickstart", `data.path=${data}`, ...budget, ...more, "--out", runs];
  const { stdout } = await promisify(execFile)(process.execPath, words, { cwd: folder, maxBuffer: 1 << 26 });
  return stdout;
}

describe("the quickstart", () => {
  it("ends with the figures of joint, standard and no training, and a report", { timeout: 900_000 }, async () => {
    const out = await quickstart();
    expect(out).toMatch(/joint +standard +untrained/);
    expect(out).toMatch(/clean accuracy, 10,000 test images( +\d+\.\d %){3}/);
    expect(out).toMatch(/PGD-20.*Linf 8\/255, 64( +\d+\.\d %){3}/);
    const report = join(runs, "quickstart", "report.html");
    expect(readFileSync(report, "utf8")).toContain("<html");
    const joint = await readEvaluation(join(runs, "quickstart", "evaluation.json"));
    expect(joint?.trained.attacks[0]?.largestDistance).toBeLessThanOrEqual(8 / 255 + 1e-6);
    expect(joint?.untrained?.clean.total).toBe(10_000);
  });

  it("uses again what is finished", { timeout: 120_000 }, async () => {
    const { mtimeMs } = statSync(join(runs, "quickstart", "evaluation.json"));
    const out = await quickstart();
    expect(out.match(/trained before, \d+ steps/g)).toHaveLength(2);
    expect(out.match(/evaluated before/g)).toHaveLength(2);
    expect(statSync(join(runs, "quickstart", "evaluation.json")).mtimeMs).toBe(mtimeMs);
  });

  it("moves a run with other settings aside", { timeout: 900_000 }, async () => {
    const out = await quickstart("seed=2", "evaluate.generated=0");
    expect(out).toContain("holds a run with other settings; it is now");
    expect(existsSync(join(runs, "quickstart.1", "evaluation.json"))).toBe(true);
    expect((await readEvaluation(join(runs, "quickstart", "evaluation.json")))?.seed).toBe(2);
  });
});
