/** `isoerg monitor` on a small trained run: quiet on its own data, an alarm on others, metrics, and what it refuses. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { analyzeCommand } from "../../src/cli/analyze.js";
import { monitorCommand } from "../../src/cli/monitor.js";
import { npy } from "../../src/evaluate/npz.js";
import { call, withPrinted, withTrainedRun } from "../kit/command.js";
import { smallSamples } from "../kit/small-run.js";
import { analyzeKeras } from "./kit.js";

const place = withTrainedRun("monitor", { numTest: 120 });
const printed = withPrinted();

beforeAll(async () => {
  vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  await call(analyzeCommand(), place.run, "--samples", "120", "--no-attack", "--no-quality", "--no-gradient", "--generated", "0");
  vi.restoreAllMocks();
  const { images } = smallSamples(400);
  writeFileSync(join(place.folder, "same.npy"), npy({ shape: [160, 8, 8, 3], data: images.slice(200 * 192, 360 * 192) }));
  // A camera that has gone dark.
  writeFileSync(join(place.folder, "dark.npy"), npy({ shape: [80, 8, 8, 3], data: images.slice(0, 80 * 192).map((value) => value / 4) }));
});

const events = () =>
  printed
    .text()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown> & { event: string });

describe("isoerg monitor", () => {
  it("is quiet on new data of the same kind, and raises an alarm when the pictures go dark", async () => {
    const metrics = join(place.folder, "isoerg.prom");
    await call(
      monitorCommand(),
      place.run,
      join(place.folder, "same.npy"),
      join(place.folder, "dark.npy"),
      "--batch",
      "80",
      "--prometheus",
      metrics,
    );
    const found = events();
    expect(found.map(({ event }) => event)).toEqual(["batch", "batch", "batch", "drift", "end"]);
    expect(found[0]).toMatchObject({ batch: 1, numSamples: 80, reasons: [], alarmsInARow: 0, from: join(place.folder, "same.npy") });
    const [drift, end] = found.slice(3) as unknown as [Record<string, unknown>, Record<string, unknown>];
    expect(drift).toMatchObject({ batch: 3, alarmsInARow: 1, from: join(place.folder, "dark.npy") });
    expect((drift.reasons as string[])[0]).toMatch(/^PSI [\d.]+ is above [\d.]+$/);
    expect(end).toMatchObject({ batches: 3, alarms: 1, samples: 240, skipped: 0 });
    const text = readFileSync(metrics, "utf8");
    expect(text).toContain('isoerg_monitor_alarms_total{model="small"} 1\n');
    expect(text).toContain('isoerg_monitor_drift{model="small"} 1\n');
    expect(text).toMatch(/isoerg_monitor_threshold\{model="small",statistic="ks"\} 0\.\d+\n/);
    expect(text).toMatch(/isoerg_monitor_energy\{model="small",quantile="0\.5"\} -?[\d.]+\n/);
  });

  it("reads a prepared data set, leaves a rest that is too small unjudged, and ends with failure where it is asked to", async () => {
    await call(monitorCommand(), place.run, place.data, "--batch", "110");
    expect(events()).toMatchObject([{ event: "batch" }, { event: "rest", samples: 10 }, { event: "end", skipped: 10, alarms: 0 }]);
    await expect(call(monitorCommand(), place.run, join(place.folder, "dark.npy"), "--batch", "80", "--fail")).rejects.toMatchObject({
      code: "STOPPED",
    });
  });

  it("watches a model that was trained elsewhere, fed as it was analysed", async () => {
    const reference = join(place.folder, "keras-reference.json");
    const rest = ["--samples", "100", "--no-attack", "--input-range", "-1,1", "--reference", reference];
    const model = await analyzeKeras(place, {}, ...rest);
    printed.clear();
    await call(monitorCommand(), model, place.data, "--reference", reference, "--batch", "60");
    // Its reference is of these very samples: only the same input range gives the same energies.
    expect(events().at(-1)).toMatchObject({ batches: 2, alarms: 0 });
    await expect(call(monitorCommand(), place.run, place.data, "--reference", reference)).rejects.toMatchObject({
      message: expect.stringContaining("is the reference of other weights (of keras) than those of small"),
    });
  });

  it.each([
    [["RUN", "FOLDER/none"], "there is no"],
    [["RUN", "FOLDER/same.npy", "--batch", "5"], "too small"],
    [["RUN", "FOLDER/same.npy", "--reference", "none.json"], "there is no reference at none.json"],
    [["RUN", "FOLDER/same.npy", "--reference", "RUN/config.yaml"], "is not JSON"],
  ])("refuses %j", async (args, message) => {
    const words = args.map((arg) => arg.replace("RUN", place.run).replace("FOLDER", place.folder));
    await expect(call(monitorCommand(), ...words)).rejects.toMatchObject({ message: expect.stringContaining(message) });
  });

  it("refuses the reference of other weights", async () => {
    const path = join(place.folder, "other.json");
    const reference = JSON.parse(readFileSync(join(place.run, "energy-reference.json"), "utf8"));
    writeFileSync(path, JSON.stringify({ ...reference, model: { ...reference.model, fingerprint: "0" } }));
    await expect(call(monitorCommand(), place.run, join(place.folder, "same.npy"), "--reference", path)).rejects.toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("reference of other weights"),
    });
  });
});
