/**
 * A coordinator process under test: what `isoerg coordinator` does, with short timeouts, and killed (-9) at a chosen line of its
 * journal: right before the line is written, or right after, when nobody has been told yet. Options: one JSON argument; more
 * kills come on stdin.
 */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { leadRun } from "../../dist/src/cli/train/lead.js";
import { enterRunFolder } from "../../dist/src/cli/train/run-folder.js";
import { loadConfig } from "../../dist/src/config/load.js";
import { exitCodeOf } from "../../dist/src/util/error.js";

const { experiment, run, workers, minWorkers, slices, timeouts, killAt } = JSON.parse(process.argv[2]);
const { config } = loadConfig({ source: experiment, overrides: [] });
/** @type {{event: string, when: "before" | "after", count: number}[]} */
const kills = [...killAt];
createInterface({ input: process.stdin }).on("line", (line) => kills.push(JSON.parse(line)));

const strike = (event, when) => {
  const kill = kills.find((other) => other.event === event && other.when === when);
  if (!kill || --kill.count > 0) return;
  writeSync(1, `${JSON.stringify({ fault: "coordinator", event, when, atMs: Date.now() })}\n`);
  process.kill(process.pid, "SIGKILL");
};
const wrapJournal = (journal) => ({
  append(entry) {
    strike(entry.event, "before");
    journal.append(entry);
    strike(entry.event, "after");
  },
  close: () => journal.close(),
});
try {
  const entrance = await enterRunFolder(run, config, { resume: true, command: ["chaos"] });
  if (entrance.kind === "finished") process.exit(0);
  await leadRun({
    config,
    runFolder: run,
    workers,
    minWorkers,
    slices,
    listen: "127.0.0.1:0",
    timeouts,
    resume: entrance.kind === "continue",
    onListening: () => ({ ended: async () => {} }),
    wrapJournal,
  });
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(exitCodeOf(error));
}
