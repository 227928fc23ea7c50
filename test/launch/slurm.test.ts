/** The sbatch script: what it asks Slurm for, that bash reads it, and that it does what it says when stand-ins for Slurm's commands run it. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { type SlurmOptions, slurmOptions } from "../../src/launch/slurm/options.js";
import { renderSlurm } from "../../src/launch/slurm/script.js";
import { packageRoot } from "../../src/util/package.js";
import { prepareExperiment } from "../kit/cluster.js";

vi.setConfig({ testTimeout: 300_000 }); // seconds of work, in processes that others may crowd out

const { config: quickstart } = loadConfig({ source: "quickstart", env: {} });
const script = (over: Partial<SlurmOptions> = {}): string => renderSlurm(quickstart, slurmOptions({ name: "quickstart", ...over }));
const directives = (text: string): string[] => text.split("\n").flatMap((line) => /^#SBATCH --(.*)/.exec(line)?.[1] ?? []);

describe("an sbatch script", () => {
  it("is the one in cluster/slurm, for quickstart", () => {
    expect(readFileSync(join(packageRoot, "cluster", "slurm", "quickstart.sbatch"), "utf8")).toBe(script());
  });

  it("asks for a task each GPU, a notice of the end, and to be queued again", () => {
    const asked = directives(script({ nodes: 4, gpus: 8, cpus: 6, memoryMiB: 1000, time: "12:00:00", partition: "gpu", account: "lab" }));
    expect(asked).toEqual([
      "job-name=quickstart",
      "nodes=4",
      "ntasks-per-node=8",
      "cpus-per-task=6",
      "gpus-per-node=8",
      "mem=8000M",
      "time=12:00:00",
      "partition=gpu",
      "account=lab",
      "requeue",
      "open-mode=append",
      "signal=B:TERM@180",
      "output=%x-%j.out",
    ]);
    expect(script({ nodes: 4, gpus: 8 })).toContain('--device "cuda:$SLURM_LOCALID"');
    expect(script({ nodes: 4, gpus: 8 })).toContain("--workers 32 --min-workers 1");
    expect(script()).not.toContain("--device");
  });

  it.each<Partial<SlurmOptions>>([{}, { gpus: 8 }, { program: ["npx", "isoerg"], run: "/scratch/it's mine/run" }])(
    "is bash: %j",
    (over) => {
      execFileSync("bash", ["-n"], { input: script(over) });
    },
  );

  it.each<[Partial<SlurmOptions>, string]>([
    [{ name: "a job" }, "'a job' can't be the name of a job"],
    [{ partition: "gpu; rm" }, "--partition 'gpu; rm' is no name"],
    [{ time: "soon" }, "--time soon is none of"],
    [{ run: "a\n#SBATCH --nodes=99" }, "one line each"],
    [{ minWorkers: 3 }, "--min-workers 3 is more than the 2"],
  ])("is refused for %j", (over, message) => {
    expect(() => script(over)).toThrow(message);
  });
});

describe("a job", () => {
  let folder: string;
  let experiment: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "isoerg-slurm-"));
    experiment = await prepareExperiment(folder, { epochs: 3 });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Submits the rendered script to the stand-ins. `onOutput` sees all that was said so far. */
  function submit(name: string, text: string, onOutput: (said: string) => void = () => {}) {
    const state = join(folder, `${name}.slurm`);
    mkdirSync(state);
    const file = join(folder, `${name}.sbatch`);
    writeFileSync(file, text);
    const fakes = join(import.meta.dirname, "slurm");
    const env = { ...process.env, PATH: `${fakes}:${process.env.PATH}`, FAKE_SLURM: state };
    const child = spawn(join(fakes, "sbatch"), [file], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        said += chunk;
        onOutput(said);
      });
    return {
      state,
      ended: new Promise<{ code: number | null; said: string }>((resolve) => child.once("close", (code) => resolve({ code, said }))),
    };
  }

  const small = (run: string, over: Record<string, unknown> = {}): string => {
    const { config } = loadConfig({ source: experiment, env: {} });
    const program = [process.execPath, join(packageRoot, "dist", "src", "main.js")];
    return renderSlurm({ ...config, ...over }, slurmOptions({ name: "small", run, program, cpus: 1 }))
      .replaceAll(`exec "$@"`, `exec "$@" --engine cpu`)
      .replace(/^port=.*$/m, `port=${20_000 + (process.pid % 10_000)}`);
  };
  const signalBatch = (state: string): void => void process.kill(Number(readFileSync(join(state, "batch.pid"), "utf8")), "SIGTERM");

  it("that is told of its end saves, is queued again, goes on, and finishes; its secrets are nobody else's and go with it", async () => {
    const run = join(folder, "whole");
    let modes: number[] = [];
    const { state, ended } = submit("whole", small(run), (said) => {
      if (!/^step /m.test(said) || modes.length > 0) return;
      modes = [`${run}.job-4711`, `${run}.job-4711/token`, `${run}.job-4711/worker-key.pem`].map((path) => statSync(path).mode & 0o777);
      signalBatch(state);
    });
    const { code, said } = await ended;
    expect({ code, said }).toMatchObject({ code: 0, said: expect.stringContaining("queued again: it goes on from the last checkpoint") });
    expect(modes).toEqual([0o700, 0o600, 0o600]);
    expect(existsSync(`${run}.job-4711`)).toBe(false);
    expect(readFileSync(join(state, "requeued"), "utf8")).toBe("4711\n");
    const { lines } = await readJournal(run);
    expect(auditJournal(lines)).toMatchObject({ faults: [], numTakenBack: 0 });
    expect(auditJournal(lines).commits).toHaveLength(36);
    expect(lines.filter(({ event }) => event === "start")).toHaveLength(2);
    expect(lines.at(-1)).toMatchObject({ event: "end", outcome: "finished" });
    expect(new Set(lines.flatMap((line) => (line.event === "join" ? [line.worker] : [])))).toEqual(new Set(["worker-0", "worker-1"]));
  });

  it("that is cancelled saves and is not queued again", async () => {
    const run = join(folder, "cancelled");
    let isTold = false;
    const { state, ended } = submit("cancelled", small(run), (said) => {
      if (!/^step /m.test(said) || isTold) return;
      isTold = true;
      writeFileSync(join(state, "state"), "CANCELLED");
      signalBatch(state);
    });
    const { code, said } = await ended;
    expect({ code, said }).toMatchObject({ code: 143, said: expect.stringContaining("SIGTERM: saving") });
    expect(existsSync(join(state, "requeued"))).toBe(false);
    expect(existsSync(`${run}.job-4711`)).toBe(false);
  });

  it("with wrong input ends with 2, and is not queued again", async () => {
    const text = small(join(folder, "wrong")).replace(/path: .*data$/m, "path: /nowhere/data");
    const { state, ended } = submit("wrong", text);
    const { code, said } = await ended;
    expect({ code, said }).toMatchObject({ code: 2, said: expect.stringContaining("/nowhere/data") });
    expect(existsSync(join(state, "requeued"))).toBe(false);
  });
});
