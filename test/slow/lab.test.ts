/**
 * A run over two hosts of a laboratory (cluster/lab), one of which is cut off until the run goes on without it, and healed: it comes
 * back, nothing is trained twice, and the losses are those of one worker alone. Skipped, with a word, where no laboratory can be made.
 */
import { type ChildProcess, spawnSync } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { whatIsAllowed } from "../../cluster/lab/allowed.mjs";
import { openLab } from "../../cluster/lab/network.mjs";
import { chooseShaping } from "../../cluster/lab/shaping.mjs";
import { auditJournal } from "../../src/coordinator/audit.js";
import { type JournalLine, readJournal } from "../../src/coordinator/journal.js";
import { packageRoot } from "../../src/util/package.js";
import { isoerg, prepareExperiment } from "../kit/cluster.js";

const PROGRAM = join(packageRoot, "dist", "src", "main.js");
const PORT = 7070;
/** Steps whose losses are compared: the cut comes early among them. */
const COMPARED = 80;
const allowed = whatIsAllowed();

/** Waits until a run's journal is as wanted. */
async function until(run: string, isWanted: (lines: readonly JournalLine[]) => boolean): Promise<readonly JournalLine[]> {
  for (;;) {
    const watcher = watch(run); // before looking, so that no change is missed
    try {
      const changed = once(watcher, "change");
      const lines = await readJournal(run).then(
        (journal) => journal.lines,
        () => [],
      );
      if (isWanted(lines)) return lines;
      await changed;
    } finally {
      watcher.close();
    }
  }
}

const lastStep = (lines: readonly JournalLine[]): number => lines.reduce((last, line) => (line.event === "commit" ? line.step : last), 0);
const members = (lines: readonly JournalLine[]): number =>
  lines.reduce((size, line) => (line.event === "generation" ? line.workers.length : size), 0);

async function losses(run: string): Promise<readonly number[]> {
  const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
  return lines.slice(0, COMPARED).map((line) => (JSON.parse(line) as { metrics: { loss: number } }).metrics.loss);
}

describe.skipIf(allowed.refusal !== null)(`a run over two hosts (${allowed.refusal ?? "network namespaces"})`, () => {
  it("goes on without one that is cut off, and takes it back", { timeout: 900_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "isoerg-lab-"));
    const experiment = await prepareExperiment(folder, { epochs: 2000, objective: { "clean-ce": 1, "adversarial-ce": 1 } });
    const run = join(folder, "run");
    const rate = { rateMbit: 200, delayMs: null, lossPercent: null };
    const canShape = chooseShaping(rate, allowed).by === "tc";
    const lab = await openLab({ hosts: 2, ...(canShape && { rateMbit: rate.rateMbit }) });
    const processes: ChildProcess[] = [];
    try {
      const [first, second] = lab.hosts as [(typeof lab.hosts)[0], (typeof lab.hosts)[0]];
      const address = `${first.ip}:${PORT}`;
      const start = (host: typeof first, ...words: string[]): { ended: Promise<number | null>; child: ChildProcess } => {
        const child = host.spawn(process.execPath, [PROGRAM, ...words, "--insecure"], { stdio: ["ignore", "ignore", "pipe"] });
        processes.push(child);
        return { child, ended: new Promise((resolve) => child.once("close", resolve)) };
      };
      const leader = start(
        first,
        "coordinator",
        experiment,
        "--listen",
        address,
        "--run",
        run,
        "--workers",
        "2",
        "--min-workers",
        "1",
        "--join-timeout",
        "600",
      );
      await once(leader.child.stderr as NodeJS.ReadableStream, "data");
      const workers = [first, second].map((host) =>
        start(
          host,
          "worker",
          "--coordinator",
          address,
          "--id",
          host.name,
          "--ring-host",
          host.ip,
          "--engine",
          "cpu",
          "--threads",
          "1",
          "--connect-timeout",
          "600",
        ),
      );

      await until(run, (lines) => lastStep(lines) >= 5);
      second.cut();
      const without = await until(run, (lines) => members(lines) === 1);
      expect(without.findLast((line) => line.event === "leave")).toMatchObject({ worker: second.name });
      const cutAt = lastStep(without);
      await until(run, (lines) => lastStep(lines) >= cutAt + 5);
      second.heal();
      const back = await until(run, (lines) => members(lines) === 2 && lines.filter((line) => line.event === "generation").length > 2);
      const backAt = lastStep(back);
      await until(run, (lines) => lastStep(lines) >= Math.max(backAt + 5, COMPARED));
      expect(await start(first, "stop", "--coordinator", address).ended).toBe(0);
      expect(await leader.ended).toBe(0);
      expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0]);

      const { lines } = await readJournal(run);
      const audit = auditJournal(lines);
      expect(audit.faults).toEqual([]);
      expect(audit.commits.map(({ step }) => step)).toEqual(audit.commits.map((_, i) => i));
      process.stdout.write(
        `links shaped by ${lab.shapedBy}; cut off after step ${cutAt}, back after step ${backAt}, ended after ${audit.commits.length}\n`,
      );

      const alone = join(folder, "alone");
      const reference = isoerg("train", experiment, "--engine", "cpu", "--threads", "1", "--run", alone);
      await once(reference.process.stderr as NodeJS.ReadableStream, "data");
      await until(alone, (seen) => lastStep(seen) >= COMPARED);
      reference.process.kill("SIGINT");
      await reference.ended;
      const [expected, found] = [await losses(alone), await losses(run)];
      expect(found).toHaveLength(COMPARED);
      for (const [i, loss] of found.entries())
        expect(Math.abs(loss - (expected[i] as number)), `step ${i + 1}`).toBeLessThan(2e-3 * Math.max(1, loss));
    } finally {
      for (const child of processes) child.kill("SIGKILL");
      lab.close();
      await rm(folder, { recursive: true, force: true });
    }
    expect(spawnSync("ip", ["netns", "list"], { encoding: "utf8" }).stdout).not.toContain(`isolab-${lab.id}`);
  });
});
