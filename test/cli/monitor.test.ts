/** `isoerg monitor` on a small trained run: quiet on its own data, an alarm on others, metrics, and what it refuses. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { analyzeCommand } from "../../src/cli/analyze.js";
import { monitorCommand } from "../../src/cli/monitor.js";
import { startCpu } from "../../src/engine/cpu.js";
import { npy } from "../../src/evaluate/npz.js";
import { saveLayersModel } from "../kit/foreign-models.js";
import { smallSamples } from "../kit/small-run.js";
import { trainSmallRun } from "../kit/trained-run.js";

let folder: string;
let run: string;
let data: string;
let printed = "";

beforeAll(async () => {
  await startCpu();
  folder = mkdtempSync(join(tmpdir(), "isoerg-monitor-"));
  const made = await trainSmallRun(folder, { overrides: { epochs: 3 }, numTest: 120 });
  run = made.runFolder;
  data = made.dataFolder;
  vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  await call(analyzeCommand(), run, "--samples", "120", "--no-attack", "--no-quality", "--no-gradient", "--generated", "0");
  vi.restoreAllMocks();
  const { images } = smallSamples(400);
  writeFileSync(join(folder, "same.npy"), npy({ shape: [160, 8, 8, 3], data: images.slice(200 * 192, 360 * 192) }));
  // A camera that has gone dark.
  writeFileSync(join(folder, "dark.npy"), npy({ shape: [80, 8, 8, 3], data: images.slice(0, 80 * 192).map((value) => value / 4) }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  return () => vi.restoreAllMocks();
});

const call = (command: Command, ...args: string[]) => command.exitOverride().parseAsync([...args, "--engine", "cpu"], { from: "user" });
const events = () =>
  printed
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown> & { event: string });

describe("isoerg monitor", () => {
  it("is quiet on new data of the same kind, and raises an alarm when the pictures go dark", async () => {
    const metrics = join(folder, "isoerg.prom");
    await call(monitorCommand(), run, join(folder, "same.npy"), join(folder, "dark.npy"), "--batch", "80", "--prometheus", metrics);
    const found = events();
    expect(found.map(({ event }) => event)).toEqual(["batch", "batch", "batch", "drift", "end"]);
    expect(found[0]).toMatchObject({ batch: 1, numSamples: 80, reasons: [], alarmsInARow: 0, from: join(folder, "same.npy") });
    const [drift, end] = found.slice(3) as unknown as [Record<string, unknown>, Record<string, unknown>];
    expect(drift).toMatchObject({ batch: 3, alarmsInARow: 1, from: join(folder, "dark.npy") });
    expect((drift.reasons as string[])[0]).toMatch(/^PSI [\d.]+ is above [\d.]+$/);
    expect(end).toMatchObject({ batches: 3, alarms: 1, samples: 240, skipped: 0 });
    const text = readFileSync(metrics, "utf8");
    expect(text).toContain('isoerg_monitor_alarms_total{model="small"} 1\n');
    expect(text).toContain('isoerg_monitor_drift{model="small"} 1\n');
    expect(text).toMatch(/isoerg_monitor_threshold\{model="small",statistic="ks"\} 0\.\d+\n/);
    expect(text).toMatch(/isoerg_monitor_energy\{model="small",quantile="0\.5"\} -?[\d.]+\n/);
  });

  it("reads a prepared data set, leaves a rest that is too small unjudged, and ends with failure where it is asked to", async () => {
    await call(monitorCommand(), run, data, "--batch", "110");
    expect(events()).toMatchObject([{ event: "batch" }, { event: "rest", samples: 10 }, { event: "end", skipped: 10, alarms: 0 }]);
    await expect(call(monitorCommand(), run, join(folder, "dark.npy"), "--batch", "80", "--fail")).rejects.toMatchObject({
      code: "STOPPED",
    });
  });

  it("watches a model that was trained elsewhere, fed as it was analysed", async () => {
    const model = await saveLayersModel(join(folder, "keras"), { shape: [8, 8, 3], classes: 3 });
    const reference = join(folder, "keras-reference.json");
    await call(
      analyzeCommand(),
      model,
      "--data",
      data,
      "--samples",
      "100",
      "--no-attack",
      "--input-range",
      "-1,1",
      "--reference",
      reference,
    );
    printed = "";
    await call(monitorCommand(), model, data, "--reference", reference, "--batch", "60");
    // Its reference is of these very samples: only the same input range gives the same energies.
    expect(events().at(-1)).toMatchObject({ batches: 2, alarms: 0 });
    await expect(call(monitorCommand(), run, data, "--reference", reference)).rejects.toMatchObject({
      message: expect.stringContaining("is the reference of other weights (of keras) than those of small"),
    });
  });

  it.each([
    [["RUN", "FOLDER/none"], "there is no"],
    [["RUN", "FOLDER/same.npy", "--batch", "5"], "too small"],
    [["RUN", "FOLDER/same.npy", "--reference", "none.json"], "there is no reference at none.json"],
    [["RUN", "FOLDER/same.npy", "--reference", "RUN/config.yaml"], "is not JSON"],
  ])("refuses %j", async (args, message) => {
    const words = args.map((arg) => arg.replace("RUN", run).replace("FOLDER", folder));
    await expect(call(monitorCommand(), ...words)).rejects.toMatchObject({ message: expect.stringContaining(message) });
  });

  it("refuses the reference of other weights", async () => {
    const path = join(folder, "other.json");
    const reference = JSON.parse(readFileSync(join(run, "energy-reference.json"), "utf8"));
    writeFileSync(path, JSON.stringify({ ...reference, model: { ...reference.model, fingerprint: "0" } }));
    await expect(call(monitorCommand(), run, join(folder, "same.npy"), "--reference", path)).rejects.toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("reference of other weights"),
    });
  });
});
