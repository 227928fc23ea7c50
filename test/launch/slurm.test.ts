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
import { OVER_FILE, taskScript } from "../../src/launch/slurm/task.js";
import { packageRoot } from "../../src/util/package.js";
import { prepareExperiment } from "../kit/cluster.js";
import { freePorts } from "../kit/free-ports.js";

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
  /** isoerg with the engine of tests, which leaves its process ids where a test finds them. */
  let program: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "isoerg-slurm-"));
    program = join(folder, "isoerg.sh");
    const main = join(packageRoot, "dist", "src", "main.js");
    writeFileSync(
      program,
      `if [ "$1" = worker ]; then set -- "$@" --engine cpu; echo $$ >"$FAKE_SLURM/worker-$SLURM_PROCID.pid"; fi\n` +
        `exec '${process.execPath}' '${main}' "$@"\n`,
    );
    experiment = await prepareExperiment(folder, { epochs: 3 });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Submits the rendered script to the stand-ins. `onOutput` sees all that was said so far. */
  function submit(name: string, text: string, onOutput: (said: string) => void = () => {}, more: Record<string, string> = {}) {
    const state = join(folder, `${name}.slurm`);
    mkdirSync(state);
    const file = join(folder, `${name}.sbatch`);
    writeFileSync(file, text);
    const fakes = join(import.meta.dirname, "slurm");
    const env = { ...process.env, PATH: `${fakes}:${process.env.PATH}`, FAKE_SLURM: state, ...more };
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

  const small = async (run: string, minWorkers = 1): Promise<string> => {
    const { config } = loadConfig({ source: experiment, env: {} });
    const options = slurmOptions({ name: "small", run, program: ["bash", program], cpus: 1, minWorkers, restartPauseSeconds: 0 });
    return renderSlurm(config, options).replace(/^port=.*$/m, `port=${await freePorts(1)}`);
  };
  const workerPid = (state: string): number => Number(readFileSync(join(state, "worker-1.pid"), "utf8"));
  const signalBatch = (state: string): void => void process.kill(Number(readFileSync(join(state, "batch.pid"), "utf8")), "SIGTERM");

  it("that is told of its end saves, is queued again, goes on, and finishes; its secrets are nobody else's and go with it", async () => {
    const run = join(folder, "whole");
    let modes: number[] = [];
    const { state, ended } = submit("whole", await small(run), (said) => {
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
    const { state, ended } = submit(
      "cancelled",
      await small(run),
      (said) => {
        if (!/^step /m.test(said) || isTold) return;
        isTold = true;
        writeFileSync(join(state, "state"), "CANCELLED");
        signalBatch(state);
      },
      { FAKE_SIGNAL: "all" },
    );
    const { code, said } = await ended;
    expect({ code, said }).toMatchObject({ code: 143, said: expect.stringContaining("SIGTERM: saving") });
    expect(said).not.toContain("is started again");
    expect(existsSync(join(state, "requeued"))).toBe(false);
    expect(existsSync(`${run}.job-4711`)).toBe(false);
  });

  it("whose worker is killed starts it again within the allocation, waits for it, and finishes", async () => {
    const run = join(folder, "killed");
    let isKilled = false;
    const { state, ended } = submit("killed", await small(run, 2), (said) => {
      if (!/^step /m.test(said) || isKilled) return;
      isKilled = true;
      process.kill(workerPid(state), "SIGKILL");
    });
    const { code, said } = await ended;
    expect({ code, said }).toMatchObject({ code: 0, said: expect.stringContaining("worker-1 ended with 137; it is started again") });
    expect(existsSync(join(state, "requeued"))).toBe(false);
    const { lines } = await readJournal(run);
    expect(auditJournal(lines)).toMatchObject({ faults: [] });
    expect(auditJournal(lines).commits).toHaveLength(36);
    expect(lines.filter(({ event }) => event === "start")).toHaveLength(1);
    expect(lines.flatMap((line) => (line.event === "join" && line.worker === "worker-1" ? [line] : []))).toHaveLength(2);
  });

  it("with wrong input ends with 2, and is not queued again", async () => {
    const text = (await small(join(folder, "wrong"))).replace(/path: .*data$/m, "path: /nowhere/data");
    const { state, ended } = submit("wrong", text);
    const { code, said } = await ended;
    expect({ code, said }).toMatchObject({ code: 2, said: expect.stringContaining("/nowhere/data") });
    expect(existsSync(join(state, "requeued"))).toBe(false);
  });
});

describe("a task", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "isoerg-slurm-task-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs a task whose worker is a line of bash, $n being how many there were before. */
  function task(name: string, worker: string, over: Partial<SlurmOptions> = {}) {
    const job = join(folder, name);
    mkdirSync(job);
    const file = join(job, "worker.sh");
    writeFileSync(file, taskScript(slurmOptions({ name: "small", maxRestarts: 2, restartPauseSeconds: 0, ...over })));
    const body = `n=$(wc -l <'${job}/begun'); echo "$@" >>'${job}/begun'; job='${job}'; ${worker}`;
    writeFileSync(join(job, "begun"), "");
    const env = { ...process.env, SLURM_PROCID: "3", SLURM_LOCALID: "1" };
    const child = spawn("bash", [file, "bash", "-c", body, "worker"], { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let said = "";
    const waiting: { words: string; resolve: () => void }[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        said += chunk;
        for (const { words, resolve } of waiting) if (said.includes(words)) resolve();
      });
    return {
      child,
      begun: () => readFileSync(join(job, "begun"), "utf8").trim().split("\n"),
      hears: (words: string) => new Promise<void>((resolve) => waiting.push({ words, resolve })),
      ended: new Promise<{ code: number | null; said: string }>((resolve) => child.once("close", (code) => resolve({ code, said }))),
    };
  }

  it.each<[string, string, { code: number; begun: number }]>([
    ["has done its work", "exit 0", { code: 0, begun: 1 }],
    ["had wrong input", "exit 2", { code: 2, begun: 1 }],
    ["is no program", "exit 127", { code: 127, begun: 1 }],
    ["was evicted once", "exit $((n == 0 ? 75 : 0))", { code: 0, begun: 2 }],
    ["was told to end by a stranger", "exit $((n == 0 ? 143 : 0))", { code: 0, begun: 2 }],
    ["was killed each time", "kill -KILL $$", { code: 137, begun: 3 }],
    ["failed each time", "exit 1", { code: 1, begun: 3 }],
    ["failed, and then had wrong input", "exit $((n + 1))", { code: 2, begun: 2 }],
    ["failed after the run had ended", `touch "$job/${OVER_FILE}"; exit 1`, { code: 1, begun: 1 }],
  ])("whose worker %s", async (name, worker, { code, begun }) => {
    const run = task(name.replaceAll(/\W/g, "-"), worker);
    expect(await run.ended).toMatchObject({ code });
    expect(run.begun()).toEqual(Array.from({ length: begun }, () => "--id worker-3"));
  });

  it("says why it starts a worker again, and when it gives it up; with a GPU it has that of its number", async () => {
    const run = task("says", "exit 1", { gpus: 2, restartPauseSeconds: 0 });
    const { said } = await run.ended;
    expect(said).toBe(
      "worker-3 ended with 1; it is started again in 0 s (1 of 2)\n" +
        "worker-3 ended with 1; it is started again in 0 s (2 of 2)\n" +
        "worker-3 ended with 1; it was started again 2 times, and is given up\n",
    );
    expect(run.begun()[0]).toBe("--id worker-3 --engine torch --device cuda:1");
  });

  const heeding = `sleep 300 >/dev/null 2>&1 & trap 'kill $! 2>/dev/null; echo left in order; exit 143' TERM; echo ready; wait`;

  it.each([
    ["the task alone", 1],
    ["all of its processes", -1],
  ] as const)("passes the end on, and begins nothing anew: Slurm tells %s", async (name, sign) => {
    const run = task(name.replaceAll(" ", "-"), heeding);
    await run.hears("ready");
    process.kill(sign * (run.child.pid as number), "SIGTERM");
    expect(await run.ended).toMatchObject({ code: 143, said: expect.stringContaining("left in order") });
    expect(run.begun()).toHaveLength(1);
  });

  it("that is told to end while it waits to begin anew ends at once", async () => {
    const run = task("waits", "exit 1", { restartPauseSeconds: 3600 });
    await run.hears("is started again in 3600 s");
    run.child.kill("SIGTERM");
    expect(await run.ended).toMatchObject({ code: 1 });
    expect(run.begun()).toHaveLength(1);
  });
});
