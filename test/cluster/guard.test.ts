/**
 * A JEM that is known to diverge (SGD at a high rate, few Langevin steps from uniform noise, no L2 on energies: the settings that
 * the reports on wgrathwohl/JEM, issues 4 and 8, name): real processes, with the guard and without it.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { auditJournal } from "../../src/coordinator/audit.js";
import { alarmsOf } from "../../src/coordinator/guarding.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { isoerg, prepareExperiment } from "../kit/cluster.js";

let folder: string;
let experiment: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isoerg-guard-"));
  experiment = await prepareExperiment(folder, {
    epochs: 16,
    objective: { "clean-ce": 1, contrast: 1 },
    sampler: { chains: 6, bufferSize: 24, steps: 5, stepSize: 1, noise: 0.01, start: "uniform" },
    optimizer: { kind: "sgd", lr: 0.05, momentum: 0.9 },
    guard: { window: 20 },
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Line {
  readonly step: number;
  readonly metrics: Record<string, number>;
}

async function trained(name: string, ...words: string[]): Promise<{ code: number | null; error: string; lines: Line[]; run: string }> {
  const run = join(folder, name);
  const { code, error } = await isoerg("train", experiment, "--engine", "cpu", "--threads", "1", "--workers", "2", "--run", run, ...words)
    .ended;
  const text = await readFile(join(run, "metrics.jsonl"), "utf8");
  return {
    code,
    error,
    run,
    lines: text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Line),
  };
}

const largest = (lines: readonly Line[], name: string): number => Math.max(...lines.map(({ metrics }) => Math.abs(metrics[name] ?? 0)));
const mean = (lines: readonly Line[], name: string): number =>
  lines.reduce((sum, { metrics }) => sum + (metrics[name] ?? 0), 0) / lines.length;

describe("a training known to diverge", () => {
  test("without the guard is lost: energies explode, and the network is dead or not finite at the end", async () => {
    const { code, lines } = await trained("bare", "guard.mode=off");
    expect(largest(lines, "energy/generated")).toBeGreaterThan(1e4);
    if (code === 0) expect(mean(lines.slice(-24), "accuracy/clean")).toBeLessThan(0.7);
  }, 180_000);

  test("with the guard goes back, changes what the policy says, and ends with a usable model", async () => {
    const { code, error, lines, run } = await trained("guarded");
    expect({ code, error }).toMatchObject({ code: 0 });
    expect(lines).toHaveLength(192);
    expect(largest(lines, "energy/generated")).toBeLessThan(1000);
    expect(mean(lines.slice(-24), "accuracy/clean")).toBeGreaterThan(0.9);
    expect(mean(lines.slice(-24), "guard/chain-gradient")).toBeGreaterThan(1e-3);

    const journal = await readJournal(run);
    const audit = auditJournal(journal.lines);
    expect(audit.faults).toEqual([]);
    expect(audit.numTakenBack).toBeGreaterThan(0);
    const alarms = alarmsOf(journal.lines);
    expect(alarms.length).toBeGreaterThan(0);
    expect(alarms[0]).toMatchObject({ adjustment: { salt: 1, lrFactor: 0.5, samplerStepsFactor: 2, energyL2: 0.05 } });
    expect(error).toContain("the stability guard goes back to step");
    // Both workers trained with the learning rate that the guard had set.
    const { lrFactor } = alarms.at(-1)?.adjustment ?? { lrFactor: 1 };
    expect(lines.at(-1)?.metrics["learning-rate"]).toBeCloseTo(0.05 * lrFactor, 12);
  }, 180_000);

  test("that no intervention may mend ends with 1, a post-mortem, and the last good checkpoint as the latest", async () => {
    const { code, error, run } = await trained("given-up", "guard.maxAlarms=0");
    expect(code).toBe(1);
    expect(error).toMatch(/the training diverged: step \d+: .*; post-mortem in /);
    const folder = join(run, "post-mortem");
    const read = (name: string): Promise<string> => readFile(join(folder, name), "utf8");
    const report = await read("README.md");
    expect(report).toMatch(/^# Why 'small' was given up\n\nstep \d+: .*\d/);
    expect(report).toContain("Try ");
    const figures = (await read("figures.jsonl"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { step: number; figures: object });
    expect(figures.length).toBeGreaterThan(20);
    expect(figures.at(-1)?.figures).toHaveProperty(["guard/energy-square/generated"]);
    const { last, alarms } = JSON.parse(await read("alarms.json")) as { last: { kind: string; goodBefore: number }; alarms: unknown[] };
    expect({ kind: last.kind, alarms }).toEqual({ kind: "stop", alarms: [] });
    const { chains } = JSON.parse(await read("chains.json")) as { chains: { age: number; saturated: number }[] };
    expect(chains.length).toBeGreaterThan(5);
    for (const chain of chains) expect(chain).toMatchObject({ age: expect.any(Number), saturated: expect.any(Number) });
    expect((await readFile(join(folder, "chains.png"))).subarray(1, 4).toString()).toBe("PNG");
    const latest = (await readFile(join(run, "checkpoints", "latest"), "utf8")).trim();
    expect(Number(latest.slice("step-".length))).toBeLessThanOrEqual(last.goodBefore);
  }, 180_000);
});
