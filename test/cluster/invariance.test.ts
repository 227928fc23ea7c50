/**
 * The same configuration and seed give the same training with 1, 2 and 4 workers, up to the order of floating-point sums:
 * real processes, real gRPC and ZeroMQ, every term of the joint objective on.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { auditJournal } from "../../src/coordinator/audit.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { addressOf, isoerg, isoergIn, prepareExperiment } from "../kit/cluster.js";

vi.setConfig({ testTimeout: 300_000 }); // seconds of work, in processes that others may crowd out

const STEPS = 24; // two epochs
let folder: string;
let experiment: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isoerg-invariance-"));
  experiment = await prepareExperiment(folder, { epochs: 2 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const ENGINE = ["--engine", "cpu", "--threads", "1"];

async function metricsWith(workers: number, ...overrides: string[]): Promise<Record<string, number>[]> {
  const run = join(await mkdtemp(join(folder, `with-${workers}-`)), "run");
  const { code, error } = await isoerg("train", experiment, ...ENGINE, "--run", run, "--workers", String(workers), ...overrides).ended;
  expect({ code, error }).toMatchObject({ code: 0 });
  return metricsOf(run);
}

async function metricsOf(run: string): Promise<Record<string, number>[]> {
  // Every sample of every epoch took part in exactly one committed step, and all workers held the same parameters' bits.
  const { lines } = await readJournal(run);
  expect(auditJournal(lines)).toMatchObject({ faults: [], numTakenBack: 0 });
  const text = await readFile(join(run, "metrics.jsonl"), "utf8");
  const metrics = text
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { metrics: Record<string, number> }).metrics);
  expect(metrics).toHaveLength(STEPS);
  return metrics;
}

function expectSame(found: Record<string, number>[], expected: Record<string, number>[], also: string[]): void {
  for (let step = 0; step < 20; step++) {
    for (const name of ["loss", "energy/clean", "energy/adversarial", "energy/generated", ...also]) {
      const [value, reference] = [found[step]?.[name], expected[step]?.[name]];
      if (reference === undefined)
        expect(value).toBeUndefined(); // a step without generative terms
      else expect(Math.abs((value as number) - reference) / Math.abs(reference), `${name} of step ${step}`).toBeLessThan(1e-4);
    }
  }
}

describe("the number of workers", () => {
  test("changes neither losses nor energies of the first 20 steps beyond 1e-4", async () => {
    const [one, two, four] = [await metricsWith(1), await metricsWith(2), await metricsWith(4)];
    for (const other of [two, four]) expectSame(other, one, ["gradient-norm"]);
  });

  test("nor does it matter who reads the shards: workers that see no data set are sent the same samples", async () => {
    const run = join(await mkdtemp(join(folder, "sent-")), "run");
    const elsewhere = await mkdtemp(join(folder, "elsewhere-"));
    // A path that leads to the data set from the coordinator's folder only.
    const leading = isoergIn(folder, "coordinator", experiment, "data.path=data", "--run", run, "--workers", "2");
    const address = await addressOf(run);
    const workers = ["a", "b"].map((id) =>
      isoergIn(elsewhere, "worker", "--coordinator", address, "--id", id, ...ENGINE, "--log", join(run, id)),
    );
    for (const { ended } of [leading, ...workers]) expect(await ended).toMatchObject({ code: 0 });
    for (const id of ["a", "b"]) expect(await readFile(join(run, id), "utf8")).toContain('"from":"the coordinator","msg":"samples"');
    expect(await metricsOf(run)).toEqual(await metricsWith(2));
  });

  test("nor those of a network with batch norm over groups of samples, nor its running statistics", async () => {
    const norm = ["model.norm.kind=ghost-batch", "model.norm.groupSize=2", "model.norm.sampling=group"];
    // 10 samples and 6 chains in groups of two: 6 + 4 and 4 + 2.
    expectSame(await metricsWith(2, ...norm), await metricsWith(1, ...norm), ["gradient-norm", "statistics-move"]);
  });
});
