/**
 * A sweep over trainings of the quickstart's network, in real processes, killed twice with all its children: it must end with the
 * promotions and figures of an undisturbed one. ISOERG_SWEEP_TRIALS=24 ISOERG_SWEEP_SAMPLES=6400 makes it the size of a real sweep.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { packageRoot } from "../../src/util/package.js";

const folder = mkdtempSync(join(tmpdir(), "isoerg-sweep-"));
const program = join(packageRoot, "dist", "src", "main.js");
const prepared = process.env.ISOERG_TEST_CIFAR10 ?? join(packageRoot, "data", "cifar10");
/** In a fresh clone: MNIST, which is smaller to fetch. */
const data = existsSync(prepared) ? prepared : join(folder, "mnist");
const trials = Number(process.env.ISOERG_SWEEP_TRIALS ?? 6);
const samples = Number(process.env.ISOERG_SWEEP_SAMPLES ?? 640);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = join(folder, "sweep.yaml");
writeFileSync(
  file,
  `name: killed
experiment: quickstart
set: ["data.path=${data}", data.subset=${samples}]
epochs: 4.5
space:
  optimizer.lr: { log-uniform: [1e-3, 1e-2] }
  objective.align-adversarial: { log-uniform: [1, 50] }
  attack.steps: [1, 2]
search: { kind: tpe, trials: ${trials}, startup: 5 }
schedule: { kind: asha, min: 0.5, reduction: 3 }
metric: { name: robust }
validation: 1000
attacked: 200
`,
);

const resultsIn = (run: string): number =>
  existsSync(join(run, "study.jsonl")) ? readFileSync(join(run, "study.jsonl"), "utf8").split('"event":"result"').length - 1 : 0;

/** Runs the sweep in its own process group; kills the whole group when so many results are recorded. */
function sweep(run: string, killAfter = Number.POSITIVE_INFINITY): Promise<number | null> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program, "sweep", file, "--run", run], {
      cwd: folder,
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr.on("data", () => {
      if (resultsIn(run) >= killAfter) process.kill(-(child.pid as number), "SIGKILL");
    });
    child.on("close", resolve);
  });
}

/** Decisions and results in the journal, without the times. */
function record(run: string): { decisions: unknown[]; results: Map<number, unknown> } {
  const lines = readFileSync(join(run, "study.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const decisions = lines.filter(({ event }) => event === "job").map(({ time: _, ...rest }) => rest);
  const results = lines.filter(({ event }) => event === "result");
  expect(new Set(results.map(({ index }) => index)).size, "one result for each job").toBe(results.length);
  return { decisions, results: new Map(results.map(({ index, result }) => [index as number, result])) };
}

describe("a sweep of real trainings", () => {
  it("killed twice ends as an undisturbed one", { timeout: 3_600_000 }, async () => {
    if (!existsSync(data)) execFileSync(process.execPath, [program, "data", "prepare", "mnist", "--out", data], { stdio: "ignore" });
    const [whole, killed] = [join(folder, "whole"), join(folder, "killed")];
    expect(await sweep(whole)).toBe(0);
    expect(await sweep(killed, Math.floor(trials / 3))).not.toBe(0);
    expect(await sweep(killed, Math.floor((2 * trials) / 3))).not.toBe(0);
    expect(await sweep(killed)).toBe(0);
    const expected = record(whole);
    expect(new Set(expected.decisions.map((job) => (job as { trial: number }).trial)).size).toBe(trials);
    expect(expected.decisions.length).toBeGreaterThan(trials);
    expect(record(killed)).toEqual(expected);
    expect(loadConfig({ source: join(killed, "best.yaml"), env: {} }).config.name).toBe("killed-best");
    process.stdout.write(`${trials} trials, ${expected.decisions.length} jobs: equal after two kills\n`);
  });
});
