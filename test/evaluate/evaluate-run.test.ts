/** A small trained run on disk, evaluated, drawn from and exported through the commands that people type. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { PNG } from "pngjs";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { parseSafetensors } from "../../src/checkpoint/safetensors.js";
import { createCheckpointStore } from "../../src/checkpoint/store.js";
import { evaluateCommand } from "../../src/cli/evaluate.js";
import { exportCommand } from "../../src/cli/export.js";
import { generateCommand } from "../../src/cli/generate.js";
import { startCpu } from "../../src/engine/cpu.js";
import { parseEvaluation } from "../../src/evaluate/evaluation.js";
import { energyGap } from "../../src/evaluate/figures/energy-gap.js";
import { trainSmallRun } from "../kit/trained-run.js";

let folder: string;
let run: string;
let printed = "";

beforeAll(async () => {
  await startCpu();
  folder = mkdtempSync(join(tmpdir(), "isoerg-evaluate-"));
  run = (await trainSmallRun(folder, { overrides: { epochs: 6 } })).runFolder;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  return () => vi.restoreAllMocks();
});

const call = (command: Command, ...args: string[]) => command.exitOverride().parseAsync(args, { from: "user" });
const readOf = (path: string) => parseEvaluation(readFileSync(path, "utf8"), path);

describe("isoerg evaluate", () => {
  it("writes an evaluation whose figures follow from its energies, and a grid", async () => {
    await call(evaluateCommand(), run, "--engine", "cpu", "--attacks", "cross-entropy,margin");
    const evaluation = readOf(join(run, "evaluation.json"));
    const { trained, untrained, settings } = evaluation;
    expect(evaluation).toMatchObject({ run: "small", data: { name: "coloured-noise", numTest: 30 }, engine: { name: "cpu" } });
    expect(settings).toMatchObject({ samples: 20, freshChains: 12, freshSteps: 5, chainPrecision: "fp32" });
    expect(trained.weights).toBe("averaged");
    expect(trained.clean.accuracy).toBeGreaterThan((untrained?.clean.accuracy as number) + 0.2);
    expect(trained.attacks.map((attack) => attack.target)).toEqual(["cross-entropy", "margin"]);
    for (const attack of trained.attacks) expect(attack.largestDistance).toBeLessThanOrEqual(8 / 255 + 1e-6);
    expect(trained.energies.buffer.length).toBeGreaterThan(3);
    expect(untrained?.energies.buffer).toEqual([]);
    for (const model of [trained, untrained as typeof trained]) {
      const { clean, adversarial, generated } = model.energies;
      expect([clean.length, adversarial.length, generated.length]).toEqual([20, 20, 12]);
      expect(model.gaps.adversarial).toEqual(energyGap(clean, adversarial, { paired: true }));
      expect(model.gaps.generated).toEqual(energyGap(clean, generated, { paired: false }));
    }
    const grid = PNG.sync.read(readFileSync(join(run, "samples", `step-${String(evaluation.step).padStart(6, "0")}.png`)));
    expect(grid.width).toBe(10 * (8 * 8 + 1) - 1);
    expect(printed).toContain("PGD-3, margin, Linf 8/255, 20 samples");
    expect(printed).toContain("before training");
    expect(printed).not.toContain("NaN");
  });

  it("gives the same figures again, from the run and from its checkpoint, at any batch size", async () => {
    const checkpoint = (await createCheckpointStore(join(run, "checkpoints"), { keepLast: 3 }).list())[0]?.path as string;
    const [a, b] = [join(folder, "a.json"), join(folder, "b.json")];
    await call(evaluateCommand(), run, "--engine", "cpu", "--no-untrained", "--json", a);
    await call(evaluateCommand(), checkpoint, "--engine", "cpu", "--no-untrained", "--json", b, "--batch-size", "7");
    expect(readOf(b).trained.attacks).toEqual(readOf(a).trained.attacks);
    for (const [i, energy] of readOf(b).trained.energies.generated.entries())
      expect(energy).toBeCloseTo(readOf(a).trained.energies.generated[i] as number, 4);
    expect(readOf(a).untrained).toBeNull();
  });

  it("scales the attack with --eps and takes the weights that are asked for", async () => {
    const json = join(folder, "c.json");
    await call(evaluateCommand(), run, "--engine", "cpu", "--no-untrained", "--eps", "2/255", "--weights", "last", "--json", json);
    const { trained } = readOf(json);
    expect(trained.weights).toBe("last");
    expect(trained.attacks[0]?.eps).toBeCloseTo(2 / 255, 9);
    expect(trained.attacks[0]?.largestDistance).toBeLessThanOrEqual(2 / 255 + 1e-6);
  });

  it("uses the checkpoint before a torn one, and says so", async () => {
    const copy = join(folder, "torn");
    cpSync(run, copy, { recursive: true });
    const store = createCheckpointStore(join(copy, "checkpoints"), { keepLast: 3 });
    const good = await store.load("latest");
    truncateSync(join(await store.save(good.step + 1, { files: good.files, state: {} }), "model.safetensors"), 100);
    await call(evaluateCommand(), copy, "--engine", "cpu", "--no-untrained");
    expect(printed).toContain("warning: checkpoint");
    expect(printed).toContain("model.safetensors has 100 bytes");
    expect(readOf(join(copy, "evaluation.json")).step).toBe(good.step);
  });

  it.each([
    [["nowhere"], "there is no nowhere"],
    [["RUN/checkpoints"], "it has no config.yaml"],
    [["RUN", "--attacks", "marign"], "did you mean 'margin'?"],
    [["RUN", "--eps", "eight"], "'eight' is no budget"],
    [["RUN", "--weights", "best"], "unknown weights 'best'"],
  ])("refuses %j", async (args, message) => {
    const command = evaluateCommand();
    const failure = call(command, ...args.map((arg) => arg.replace("RUN", run)), "--engine", "cpu");
    await expect(failure).rejects.toMatchObject({ code: "USAGE", message: expect.stringContaining(message) });
  });

  it("names a data set that is not there", async () => {
    await expect(call(evaluateCommand(), run, "--engine", "cpu", "--data", join(folder, "none"))).rejects.toMatchObject({ code: "DATA" });
  });
});

describe("isoerg generate", () => {
  it("draws a grid of one class", async () => {
    const out = join(folder, "greens.png");
    await call(generateCommand(), run, "--engine", "cpu", "--count", "4", "--class", "green", "--steps", "3", "--out", out);
    expect(PNG.sync.read(readFileSync(out)).width).toBe(2 * (8 * 40 + 1) - 1);
    expect(printed).toContain("wrote 4 samples");
  });

  it("writes arrays that do not depend on the batch", async () => {
    const files = ["64", "3"].map((batchSize) => ({ batchSize, out: join(folder, `${batchSize}.npz`) }));
    for (const { batchSize, out } of files) {
      await call(generateCommand(), run, "--engine", "cpu", "--count", "5", "--steps", "2", "--batch-size", batchSize, "--out", out);
    }
    const [a, b] = files.map(({ out }) => readFileSync(out)) as [Buffer, Buffer];
    // images.npy is the first member: the same chains, to float32 rounding of another batch shape.
    const pixels = (file: Buffer): number[] => Array.from({ length: 5 * 192 }, (_, i) => file.readFloatLE(30 + 10 + 128 + i * 4));
    expect(a.length).toBe(b.length);
    for (const [i, value] of pixels(a).entries()) {
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThanOrEqual(1);
      expect(pixels(b)[i]).toBeCloseTo(value, 5);
    }
  });

  it.each([
    [["--out", "x.gif"], "neither .png nor .npz"],
    [["--out", "x.png", "--class", "gren"], "did you mean 'green'?"],
    [["--out", "x.png", "--seed", "-1"], "is no whole number"],
  ])("refuses %j", async (args, message) => {
    await expect(call(generateCommand(), run, "--engine", "cpu", ...args)).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining(message),
    });
    expect(existsSync("x.png")).toBe(false);
  });
});

describe("isoerg export", () => {
  it("writes the averaged weights under their plain names", async () => {
    const out = join(folder, "model.safetensors");
    await call(exportCommand(), run, "--out", out);
    const { tensors, metadata } = parseSafetensors(readFileSync(out), out);
    const saved = (await createCheckpointStore(join(run, "checkpoints"), { keepLast: 3 }).load("latest")).files.model;
    const plain = [...saved.keys()].filter((name) => !name.startsWith("ema."));
    expect([...tensors.keys()].sort()).toEqual(plain.sort());
    for (const name of plain) expect(tensors.get(name)).toEqual(saved.get(`ema.${name}`));
    expect(metadata).toMatchObject({ weights: "averaged", producer: "isoerg" });
  });

  it("says which formats there are", async () => {
    await expect(call(exportCommand(), run, "--format", "onnx", "--out", "x")).rejects.toMatchObject({
      code: "USAGE",
      hint: "formats: safetensors",
    });
  });
});
