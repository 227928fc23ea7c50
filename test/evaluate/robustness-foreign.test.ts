/** AutoAttack's parts on models without a run: an export fares as its run does, and a TensorFlow.js model is attacked through its own gradients. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { exportCommand } from "../../src/cli/export.js";
import { startCpu } from "../../src/engine/cpu.js";
import type { Engine } from "../../src/engine/engine.js";
import { standardEffort } from "../../src/evaluate/robustness/attacks.js";
import { inThisProcess } from "../../src/evaluate/robustness/chunk-runner.js";
import { evaluateRobustness, type RobustnessOptions } from "../../src/evaluate/robustness/evaluate-robustness.js";
import { failureOf } from "../data/toy.js";
import { saveLayersModel } from "../kit/foreign-models.js";
import { type TrainedRun, trainSmallRun } from "../kit/trained-run.js";

let folder: string;
let made: TrainedRun;
let engine: Engine;

beforeAll(async () => {
  engine = await startCpu();
  folder = mkdtempSync(join(tmpdir(), "isoerg-foreign-robustness-"));
  vi.stubEnv("ISOERG_CACHE", join(folder, "cache"));
  made = await trainSmallRun(folder, { overrides: { epochs: 3 } });
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const optionsFor = (path: string, options: Partial<RobustnessOptions> = {}): RobustnessOptions => ({
  path,
  weights: "auto",
  engine,
  engineOptions: { engine: "cpu", device: "cpu", threads: 1 },
  attacks: ["apgd-ce", "square"],
  budget: { norm: "linf", eps: 16 / 255 },
  effort: { ...standardEffort, steps: 8, queries: 30, pgdSteps: 8 },
  numSamples: 12,
  numProbed: 0,
  batchSize: 6,
  certify: null,
  now: () => new Date(0),
  ...options,
});

const attack = (path: string, options: Partial<RobustnessOptions> = {}, compute = inThisProcess) =>
  evaluateRobustness(optionsFor(path, { dataPath: made.dataFolder, ...options }), compute);

describe("robustness", () => {
  it("of an export is that of its run, sample by sample, and is kept in the cache", async () => {
    const exported = join(folder, "small.safetensors");
    vi.spyOn(process.stdout, "write").mockImplementation(() => true);
    await exportCommand().parseAsync([made.runFolder, "--out", exported], { from: "user" });
    vi.restoreAllMocks();
    const [run, file] = [await attack(made.runFolder), await attack(exported)];
    expect(file.perSample).toEqual(run.perSample);
    expect(file.attacks.map(({ fooled }) => fooled)).toEqual(run.attacks.map(({ fooled }) => fooled));
    expect(run.attacks[0]?.attacked).toBeGreaterThan(0);
    expect(readdirSync(join(folder, "cache", "robustness")).map((name) => name.replace(/-\w+$/, ""))).toEqual(["safetensors"]);
    // Started again it has nothing left to do.
    const again = await attack(exported, {}, () => Promise.reject(new Error("computed again")));
    expect(again.perSample).toEqual(file.perSample);
  });

  it("of a TensorFlow.js model falls to attacks through its own gradients, as it is fed", async () => {
    const path = await saveLayersModel(join(folder, "keras"), { shape: [8, 8, 3], classes: 3, ending: "softmax" });
    const found = await attack(path, { input: { range: [-1, 1] }, budget: { norm: "linf", eps: 0.5 } });
    expect(found.clean.correct).toBeGreaterThan(0);
    expect(found.robust?.correct).toBe(0);
    expect(await attack(path, { input: { range: [0, 255] } })).not.toMatchObject({ fingerprint: found.fingerprint });
  });

  it("of a model without a run needs its data", async () => {
    const path = await saveLayersModel(join(folder, "keras"), { shape: [8, 8, 3], classes: 3 });
    const error = await failureOf(() => evaluateRobustness(optionsFor(path), inThisProcess));
    expect(error).toMatchObject({ code: "USAGE", message: expect.stringContaining("needs --data") });
  });
});
