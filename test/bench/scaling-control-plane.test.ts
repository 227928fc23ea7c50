/** The control plane alone: a real coordinator that simulated workers vote at, with real processes. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ControlPlanePoint, quantiles } from "../../bench/scaling/control-plane.js";
import { isoerg, prepareExperiment } from "../kit/cluster.js";

let folder = "";
let experiment = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-control-test-"));
  experiment = await prepareExperiment(folder);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function points(...words: string[]): Promise<readonly ControlPlanePoint[]> {
  const json = join(folder, "control.json");
  const { code, out, error } = await isoerg("bench", "scaling", experiment, "--steps", "5", ...words, "--json", json).ended;
  expect({ code, error }).toEqual({ code: 0, error: "" });
  expect(out).toContain("commit p50 ms");
  return (JSON.parse(readFileSync(json, "utf8")) as { control: ControlPlanePoint[] }).control;
}

describe("isoerg bench scaling --control-plane", () => {
  it("commits the steps of simulated workers, and says how long it takes and what the coordinator spends", async () => {
    const [three, twelve] = await points("--control-plane", "3,12", "--samples-per-worker", "2");
    expect([three?.workers, three?.batchSize, twelve?.workers, twelve?.batchSize]).toEqual([3, 6, 12, 24]);
    for (const point of [three, twelve]) {
      expect(point?.commitMs.p50).toBeGreaterThan(0);
      expect(point?.commitMs.p50).toBeLessThanOrEqual(point?.commitMs.p99 as number);
      expect(point?.coordinator.cpuMsPerStep).toBeGreaterThan(0);
      expect(point?.coordinator.peakRssBytes).toBeGreaterThan(2e7);
      expect(point?.megabytesPerSecond).toBe(0);
    }
  });

  it("feeds them the experiment's samples where asked to, at the pace of their steps", async () => {
    const [point] = await points("--control-plane", "2", "--samples-per-worker", "4", "--feed", "--step-ms", "30");
    expect(point?.stepMs.p50).toBeGreaterThanOrEqual(29);
    expect(point?.megabytesPerSecond).toBeGreaterThan(0);
    expect(point?.megabytesPerSecond).toBeLessThan((8 * 8 * 8 * 3) / 1000 / 29); // 8 samples of 192 bytes a step
  });
});

describe("quantiles", () => {
  it("interpolate, in any order, and are no numbers where there is nothing", () => {
    expect(quantiles([3, 1, 2])).toEqual({ p50: 2, p95: 2.9, p99: 2.98 });
    expect(quantiles([]).p50).toBeNaN();
  });
});
