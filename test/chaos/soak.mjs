/**
 * A soak: one run, one fault after the other, of every kind, at random moments, some two at once, drawn from a seed. None may
 * cost a sample, a step or a bit: what must hold is what the fault suite checks after each single one.
 *
 *   node test/chaos/soak.mjs --faults 200 --seed 1 [--workers 3] [--engine cpu]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Cluster, readMetrics, recoveryTimes, verify } from "./cluster.mjs";
import { prepareExperiment, STEPS_PER_EPOCH, undisturbed } from "./experiment.mjs";

const { values } = parseArgs({
  options: {
    faults: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "3" },
    engine: { type: "string", default: "cpu" },
    /** Committed steps between two faults. */
    every: { type: "string", default: "12" },
    keep: { type: "boolean" },
  },
});
const numFaults = Number(values.faults);
const numWorkers = Number(values.workers);
const every = Number(values.every);
const epochs = Math.ceil(((numFaults + 4) * every) / STEPS_PER_EPOCH);

/** mulberry32 */
let state = Number(values.seed) >>> 0;
const random = () => {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
const pick = (list) => list[Math.floor(random() * list.length)];
const inside = (kind, phases) => () => ({ kind: "inside", who: pick([...cluster.workers.keys()]), what: { kind, phase: pick(phases) } });
const STEP = ["data", "gradient", "reduce", "vote", "update"];
let numJoined = numWorkers;

/** What may happen; each returns what to strike, or null where it doesn't fit the moment. */
const FAULTS = {
  "worker killed": () => ({ kind: "kill", who: pick([...cluster.workers.keys()]) }),
  "worker killed at a phase": inside("kill", [...STEP, "next", "offer"]),
  exception: inside("throw", STEP),
  "thread exits": inside("exit", STEP),
  "thread hangs": inside("hang", ["data", "gradient", "update"]),
  "slow worker": inside("slow", ["gradient", "reduce"]),
  "worker suspended": () => ({ kind: "suspend", who: pick([...cluster.workers.keys()]), ms: 500 + random() * 4_000 }),
  "connection cut": () => ({ kind: "cut", who: pick([...cluster.workers.keys()]), ms: 100 + random() * 2_000 }),
  "coordinator killed": () => ({ kind: "kill", who: "leader" }),
  "coordinator killed at a line": () => ({
    kind: "journal",
    who: "leader",
    what: { event: pick(["commit", "commit", "generation", "checkpoint", "join", "leave"]), when: pick(["before", "after"]), count: 1 },
  }),
  "worker leaves": () => (cluster.workers.size > 2 ? { kind: "term", who: pick([...cluster.workers.keys()]) } : null),
  "worker joins": () => (cluster.workers.size < numWorkers + 2 ? { kind: "join", who: `w${numJoined++}` } : null),
};

const folder = await mkdtemp(join(tmpdir(), "isoerg-soak-"));
const experiment = await prepareExperiment(folder, "plain", epochs, 40);
const reference = await undisturbed(folder, experiment, values.engine, "soak");
const cluster = new Cluster({ experiment: experiment.experiment, run: join(folder, "run"), engine: values.engine });
const counts = {};
let exitCode = 1;
try {
  cluster.startLeader({ workers: numWorkers });
  for (let i = 0; i < numWorkers; i++) await cluster.startWorker(`w${i}`);
  await cluster.untilStep(every);
  for (let done = 0; done < numFaults; ) {
    const names = [pick(Object.keys(FAULTS)), ...(random() < 0.15 ? [pick(Object.keys(FAULTS))] : [])];
    const before = commitsOf(cluster.lines());
    for (const name of names) {
      const fault = FAULTS[name]();
      if (fault === null || fault.who === undefined) continue;
      if (fault.kind === "join") void cluster.startWorker(fault.who);
      else void cluster.strike(fault);
      counts[name] = (counts[name] ?? 0) + 1;
      done++;
    }
    await pause(random() * 300);
    await cluster.until((lines) => commitsOf(lines) >= before + every, `${every} steps after ${names.join(" and ")}`, 180_000);
    while (cluster.workers.size < 2) await cluster.startWorker(`w${numJoined++}`);
    if (process.stdout.isTTY) process.stdout.write(`\r${done} of ${numFaults} faults, ${before} commits, ${cluster.workers.size} workers `);
  }
  const code = await cluster.finished;
  const lines = cluster.lines();
  const metrics = readMetrics(cluster.options.run);
  const { wrong, worst, numTakenBack } = verify({ ...experiment, lines, metrics, reference, tolerance: 1e-2 });
  if (code !== 0) wrong.push(`the coordinator ended with ${code}`);
  const times = recoveryTimes(cluster.faults, lines);
  const generations = lines.filter((line) => line.event === "generation").length;
  const coordinators = lines.filter((line) => line.event === "start").length;
  process.stdout.write(
    `\n${Object.entries(counts)
      .map(([name, count]) => `${String(count).padStart(4)}  ${name}\n`)
      .join("")}`,
  );
  process.stdout.write(
    `${experiment.numSteps} steps, ${generations} generations, ${coordinators} coordinators, ${numTakenBack} steps taken back and done again\n`,
  );
  for (const [what, isOne] of [
    ["workers' faults", ({ fault }) => !fault.includes("coordinator")],
    ["the coordinator's (with the start of its successor)", ({ fault }) => fault.includes("coordinator")],
  ]) {
    const found = times.filter(isOne).sort((a, b) => b.ms - a.ms);
    const ms = found.map((time) => time.ms).reverse();
    const quantile = (share) => ms[Math.min(ms.length - 1, Math.floor(share * ms.length))];
    if (ms.length > 0)
      process.stdout.write(
        `recovery from ${what}, to the next commit of a new generation: p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms (${ms.length})\n`,
      );
    for (const { fault, phase, ms: took, why } of found.slice(0, 3)) {
      process.stdout.write(`    ${took} ms  ${fault}${phase === undefined ? "" : ` in ${phase}`}: ${why}\n`);
    }
  }
  process.stdout.write(`largest difference of the loss from the undisturbed run's: ${worst.toExponential(1)} relative\n`);
  for (const text of wrong.slice(0, 20)) process.stdout.write(`WRONG ${text}\n`);
  process.stdout.write(wrong.length === 0 ? "nothing was lost\n" : `${wrong.length} things are wrong\n`);
  exitCode = wrong.length === 0 ? 0 : 1;
} catch (error) {
  process.stdout.write(`\n${error.stack}\n${cluster.leader?.words ?? ""}\n${JSON.stringify(cluster.exits.slice(-5))}\n`);
} finally {
  await cluster.close();
  if (!values.keep && exitCode === 0) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  else process.stdout.write(`${folder}\n`);
}
process.exit(exitCode);

function commitsOf(lines) {
  return lines.filter((line) => line.event === "commit").length;
}
