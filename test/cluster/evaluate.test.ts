/** `isoerg evaluate --workers N` as people run it: real processes, one of them killed, figures that do not care. */

import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import { parseEvaluation } from "../../src/evaluate/evaluation.js";
import type { Robustness } from "../../src/evaluate/robustness/robustness.js";
import { isoerg, type RunningProgram } from "../kit/cluster.js";
import { trainSmallRun } from "../kit/trained-run.js";

let folder: string;
let original: string;

beforeAll(async () => {
  await startCpu();
  folder = mkdtempSync(join(tmpdir(), "isoerg-workers-"));
  original = (await trainSmallRun(folder, { overrides: { epochs: 4 } })).runFolder;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function copyOfRun(name: string): string {
  const run = join(folder, name);
  cpSync(original, run, { recursive: true });
  return run;
}

/** Three classes: AutoAttack's untargeted DLR stands in for the targeted one. 14 samples in chunks of 4. */
function evaluate(run: string, ...words: string[]): RunningProgram {
  const fixed = ["--engine", "cpu", "--threads", "1", "--no-untrained", "--samples", "14", "--batch-size", "4"];
  const effort = [
    "--steps",
    "8",
    "--queries",
    "40",
    "--probes",
    "8",
    "--certify",
    "0.25",
    "--certify-samples",
    "5",
    "--certify-draws",
    "60",
  ];
  return isoerg("evaluate", run, "--attacks", "standard,pgd,energy-evading", ...fixed, ...effort, ...words);
}

/** All but when and how long. */
function figuresOf(run: string): Omit<Robustness, "evaluatedAt" | "computeMs"> {
  const file = join(run, "evaluation.json");
  const { robustness } = parseEvaluation(readFileSync(file, "utf8"), file);
  if (!robustness) throw new Error("no robustness in the evaluation");
  const { evaluatedAt: _when, computeMs: _long, ...figures } = robustness;
  return figures;
}

const chunksIn = (run: string): string[] => {
  const place = join(run, "robustness");
  if (!existsSync(place)) return [];
  return readdirSync(place).flatMap((name) => readdirSync(join(place, name)).filter((file) => /^samples-\d+\.json$/.test(file)));
};

/** Waits until so many chunks have been begun. */
async function chunksBegun(run: string, count: number): Promise<void> {
  const watcher = watch(run, { recursive: true });
  try {
    while (chunksIn(run).length < count) await once(watcher, "change");
  } finally {
    watcher.close();
  }
}

// Each test starts one to six processes; on a busy machine that takes its time.
describe("isoerg evaluate --workers", { timeout: 120_000 }, () => {
  let one: ReturnType<typeof figuresOf>;

  it("measures all of it with one process, and shows it", async () => {
    const run = copyOfRun("one");
    const { code, out, error } = await evaluate(run, "--workers", "1").ended;
    expect({ code, error: code === 0 ? "" : error }).toEqual({ code: 0, error: "" });
    one = figuresOf(run);
    expect(one).toMatchObject({ norm: "linf", samples: 14, standard: false });
    expect(one.eps).toBeCloseTo(8 / 255, 9);
    expect(one.attacks.map(({ name }) => name)).toEqual(["apgd-ce", "apgd-dlr", "fab-t", "square", "pgd", "energy-evading"]);
    expect(one.perSample.clean).toHaveLength(14);
    expect(one.certification).toMatchObject({ sigma: 0.25, estimate: 60, every: 2, total: 7 });
    expect(one.checklist?.checks).toHaveLength(13);
    expect(out).toContain("Robustness, Linf 8/255 in pixels, 14 test samples (95 % confidence)");
    expect(out).toContain("Signs of gradient masking");
    expect(out).toContain("Certified by randomised smoothing, L2, sigma 0.250");
    expect(out).not.toContain("NaN");
  });

  it.each(["2", "3"])("comes to the same with %s processes", async (workers) => {
    const run = copyOfRun(`workers-${workers}`);
    const { code, error } = await evaluate(run, "--workers", workers).ended;
    expect({ code, error: code === 0 ? "" : error }).toEqual({ code: 0, error: "" });
    expect(figuresOf(run)).toEqual(one);
  });

  it("comes to the same when it is killed half-way and started again", async () => {
    const run = copyOfRun("killed");
    const first = evaluate(run, "--workers", "2");
    await chunksBegun(run, 3);
    first.process.kill("SIGKILL");
    expect((await first.ended).code).toBeNull();
    expect(existsSync(join(run, "robustness"))).toBe(true);
    const { code, error } = await evaluate(run, "--workers", "1").ended;
    expect({ code, error: code === 0 ? "" : error }).toEqual({ code: 0, error: "" });
    expect(figuresOf(run)).toEqual(one);
  });

  it("keeps what attacks have found when the rest is evaluated again", async () => {
    const run = join(folder, "one");
    const { code } = await isoerg("evaluate", run, "--engine", "cpu", "--no-untrained", "--samples", "10").ended;
    expect(code).toBe(0);
    expect(figuresOf(run)).toEqual(one);
  });

  it("attacks an export of the run as it attacks the run", async () => {
    const file = join(folder, "exported.safetensors");
    expect((await isoerg("export", original, "--out", file).ended).code).toBe(0);
    const json = join(folder, "exported.json");
    const { code, error, out } = await evaluate(file, "--data", join(folder, "data"), "--json", json).ended;
    expect({ code, error: code === 0 ? "" : error }).toEqual({ code: 0, error: "" });
    const { robustness } = JSON.parse(readFileSync(json, "utf8")) as { robustness: Robustness };
    expect(robustness.attacks).toEqual(one.attacks);
    expect(robustness.perSample).toEqual(one.perSample);
    expect(out).toContain("Signs of gradient masking");
  });

  it.each([
    [["--attacks", "standrad"], "did you mean 'standard'?"],
    [["--attacks", "apgd-t"], "apgd-t needs 4 classes, the data set has 3"],
    [["--certify", "0"], "noise of standard deviation 0"],
    [["--attacks", "square", "--weights", "best"], "unknown weights 'best'"],
  ])("refuses %j with 2", async (words, message) => {
    const { code, error } = await isoerg("evaluate", original, "--engine", "cpu", "--no-untrained", "--samples", "5", ...words).ended;
    expect(error).toContain(message);
    expect(code).toBe(2);
  });
});
