/** `isoerg bench scaling` from end to end with real processes, at the smallest size. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ScalingResult } from "../../bench/scaling/result.js";
import { isoerg, prepareExperiment } from "../kit/cluster.js";

let folder = "";
let experiment = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-scaling-test-"));
  experiment = await prepareExperiment(folder);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("isoerg bench scaling", () => {
  it("measures, tests itself on the held-out points, and writes figures and a page", { timeout: 300_000 }, async () => {
    const [json, page] = [join(folder, "scaling.json"), join(folder, "scaling.html")];
    const words = ["--workers", "1,2", "--steps", "4", "--warmup", "2", "--rounds", "1", "--engine", "cpu", "--models", experiment];
    const { code, out, error } = await isoerg("bench", "scaling", experiment, ...words, "--json", json, "--page", page).ended;
    expect(error).toBe("");
    expect(code).toBe(0);
    expect(out).toContain("held out");
    const { measured, fitted, extrapolations } = JSON.parse(readFileSync(json, "utf8")) as ScalingResult;
    expect(measured.points.map(({ mode, workers }) => `${mode} ${workers}`)).toEqual(["weak 1", "weak 2", "strong 1", "strong 2"]);
    for (const { run, solo, independent } of measured.points) {
      expect(run.numSteps).toBe(4);
      for (const { stepMs } of [run, solo, independent]) expect(stepMs.typical).toBeGreaterThan(0);
      expect(run.breakdown.gradient).toBeGreaterThan(0);
    }
    expect(fitted.predictions.filter(({ heldOut }) => heldOut)).toHaveLength(2);
    expect(measured.recovery).toMatchObject({ workers: 2, numSteps: 24 });
    expect(measured.recovery?.recoveryMs).toBeGreaterThan(0);
    expect(extrapolations).toHaveLength(4 * 10);
    expect(readFileSync(page, "utf8")).not.toMatch(/NaN|undefined|Infinity/);

    // The same measurements again, for faster workers: nothing is measured, and communication weighs more.
    const later = join(folder, "later.json");
    const again = await isoerg("bench", "scaling", "--from", json, "--models", experiment, "--gflops", "1e5", "--json", later).ended;
    expect(again.code).toBe(0);
    const faster = JSON.parse(readFileSync(later, "utf8")) as ScalingResult;
    expect(faster.measured).toEqual(measured);
    expect(faster.extrapolations[0]?.efficiency).toBeLessThan(extrapolations[0]?.efficiency as number);
  });

  it("refuses what it can't use, with exit code 2", { timeout: 60_000 }, async () => {
    const wrong = await isoerg("bench", "scaling", experiment, "--workers", "2,4").ended;
    expect(wrong.code).toBe(2);
    expect(wrong.error).toContain("begins with 1");
    const many = await isoerg("bench", "scaling", experiment, "--workers", "1,64").ended;
    expect(many.code).toBe(2);
    expect(many.error).toContain("need more than the 120 samples");
    const file = await isoerg("bench", "scaling", "--from", experiment).ended;
    expect(file.code).toBe(2);
    expect(file.error).toContain(experiment);
  });
});
