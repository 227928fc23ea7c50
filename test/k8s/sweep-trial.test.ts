/** What a trial's pod runs: the same training as on this machine, asked for and answered in words. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/schema.js";
import type { Job } from "../../src/sweep/job.js";
import { type SweepSpec, sweepSchema } from "../../src/sweep/spec.js";
import { answerTrial } from "../../src/sweep/trial/answer.js";
import { requestOf, type TrialRequest } from "../../src/sweep/trial/request.js";
import { isoerg, prepareExperiment } from "../kit/cluster.js";
import { spec } from "./study.js";

vi.setConfig({ testTimeout: 300_000 }); // a training, in a process that others may crowd out

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-trial-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("isoerg sweep trial", () => {
  it("answers what the same training on this machine comes to, and the same when it is asked again", async () => {
    const { config } = loadConfig({ source: await prepareExperiment(folder), env: {} });
    const small: SweepSpec = sweepSchema.parse({ ...spec, validation: 20, attacked: 10, seeds: 1, metric: { name: "clean" } });
    const engine = { engine: "cpu", device: "cpu", threads: 1 } as const;
    const job: Job = { index: 0, trial: 0, point: { "optimizer.lr": 0.01 }, from: 0, to: 1, copyOf: null, result: null };
    const own = (): Config => config;
    const requestFor = (place: string): TrialRequest =>
      requestOf({ spec: small, folder: join(folder, place), configOf: own, engine }, job, job, 1);
    const local = await answerTrial(requestFor("local"));
    const request = JSON.stringify(requestFor("remote"));
    const answer = join(folder, "termination-log");
    const first = await isoerg("sweep", "trial", `--request=${request}`, `--answer=${answer}`).ended;
    expect(first).toMatchObject({ code: 0 });
    const text = readFileSync(answer, "utf8");
    expect(local).toMatchObject({ kind: "judged", metrics: { clean: expect.any(Number) } });
    expect(JSON.parse(text)).toEqual(local);
    expect(first.out).toBe(text);
    // Asked again it finds its checkpoint, and judges that.
    expect(await answerTrial(requestFor("remote"))).toEqual(local);
  });

  it("ends with 2 for a request that it can't understand", async () => {
    const { code, error } = await isoerg("sweep", "trial", '--request={"config":{}}', `--answer=${join(folder, "a")}`).ended;
    expect({ code, error }).toMatchObject({ code: 2, error: expect.stringContaining("--request can't be understood") });
  });
});
