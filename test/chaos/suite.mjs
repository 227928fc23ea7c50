/**
 * The fault suite, over real processes: each fault at each phase of a step and of a generation, at each line of the journal,
 * alone and two at once. After each the run must have finished, every sample of every epoch taken part in exactly one committed
 * step, all workers voted from the same bits at every step, and the loss curve be that of an undisturbed run.
 *
 *   npm run test:chaos                       all of it
 *   npm run test:chaos -- --only coordinator those whose name matches (a regular expression)
 *   npm run test:chaos -- --engine torch     default: cpu, the slowest and the same everywhere
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Cluster, readMetrics, recoveryTimes, verify } from "./cluster.mjs";
import { prepareExperiment, STEPS_PER_EPOCH, undisturbed } from "./experiment.mjs";

const { values } = parseArgs({
  options: { only: { type: "string" }, engine: { type: "string", default: "cpu" }, keep: { type: "boolean" } },
});
const EPOCHS = 2;
const AT = STEPS_PER_EPOCH - 3;

/** So that a newcomer's process is up before the run is over. */
const SLOWED = Array.from({ length: 8 }, (_, i) => ({ step: 4 + i, phase: "gradient", kind: "slow" }));

/** @typedef {{name: string, experiment?: "robust" | "joint", workers?: number, faults?: Record<string, object[]>, killAt?: object[],
 *    slices?: "measured", during?: (cluster: Cluster) => Promise<void>, check?: (lines: object[], cluster: Cluster) => string[]}} Scenario */

const saidBy = (lines, event) => lines.filter((line) => line.event === event);

/** @type {Scenario[]} */
const scenarios = [
  ...["attack", "gradient", "reduce", "vote", "update"].map((phase) => ({
    name: `worker killed (-9) in ${phase}`,
    faults: { w1: [{ step: AT, phase, kind: "kill" }] },
  })),
  ...["attack", "reduce", "vote"].map((phase) => ({
    name: `exception in ${phase}`,
    faults: { w1: [{ step: AT, phase, kind: "throw" }] },
  })),
  ...["gradient", "vote"].map((phase) => ({
    name: `training thread exits in ${phase}`,
    faults: { w1: [{ step: AT, phase, kind: "exit" }] },
  })),
  {
    name: "training thread hangs in gradient, its link lives",
    faults: { w1: [{ step: AT, phase: "gradient", kind: "hang" }] },
    check: (lines) =>
      saidBy(lines, "leave").some(({ reason }) => /rank 1 \(w1\) hangs in 'gradient'/.test(reason))
        ? []
        : ["the hung worker was not named"],
  },
  { name: "process suspended (SIGSTOP) in reduce, and continued", faults: { w1: [{ step: AT, phase: "reduce", kind: "stop" }] } },
  { name: "process suspended (SIGSTOP) in vote, and continued", faults: { w1: [{ step: AT, phase: "vote", kind: "stop" }] } },
  { name: "slow sender", experiment: "joint", faults: { w1: [{ step: AT, phase: "gradient", kind: "slow" }] } },
  { name: "slow reducer", experiment: "joint", faults: { w1: [{ step: AT, phase: "reduce", kind: "slow" }] } },
  { name: "killed while its generation forms", faults: { w2: [{ phase: "generation", kind: "kill" }] } },
  {
    name: "killed while it gives its state to a newcomer",
    faults: { w0: [{ phase: "offer", kind: "kill" }], w1: SLOWED },
    during: async (cluster) => {
      await cluster.untilStep(2);
      await cluster.startWorker("w3");
    },
  },
  { name: "killed while it hands over a checkpoint", faults: { w1: [{ step: 9, phase: "update", kind: "kill" }] } },
  ...["generation", "commit", "checkpoint", "join", "end"].flatMap((event) =>
    ["before", "after"].map((when) => ({
      name: `coordinator killed ${when} the line '${event}'`,
      experiment: "joint",
      killAt: [{ event, when, count: event === "commit" ? AT : 1 }],
      check: (lines) => (event === "commit" && saidBy(lines, "start").length !== 2 ? ["the coordinator was not killed once"] : []),
    })),
  ),
  {
    name: "coordinator killed at three commits in a row",
    experiment: "joint",
    killAt: [{ event: "commit", when: "after", count: 3 }],
    during: async (cluster) => {
      for (const [step, when] of [
        [6, "before"],
        [9, "after"],
      ]) {
        await cluster.untilStep(step);
        await cluster.strike({ kind: "journal", who: "leader", what: { event: "commit", when, count: 1 } });
      }
    },
  },
  {
    name: "coordinator suspended for 5 s, and continued",
    experiment: "joint",
    during: async (cluster) => {
      await cluster.untilStep(AT);
      await cluster.strike({ kind: "suspend", who: "leader", ms: 5_000 });
    },
  },
  {
    name: "two coordinators: one suspended, replaced, and woken (split brain)",
    experiment: "joint",
    during: async (cluster) => {
      await cluster.untilStep(AT - 4);
      await cluster.replaceLeaderAsleep({ workers: 3 });
    },
    check: (lines, cluster) => {
      const [woken] = cluster.exits.filter(({ who }) => who === "leader");
      const isFenced = woken?.code === 1 && /another process writes to|leads this run now/.test(woken.words);
      return [
        ...(isFenced ? [] : [`the woken one was not fenced: ${JSON.stringify(woken)}`]),
        ...(saidBy(lines, "start").length === 2 ? [] : ["there were not two coordinators"]),
        ...(saidBy(lines, "end").length === 1 ? [] : ["the woken one wrote to the journal"]),
      ];
    },
  },
  {
    name: "slices cut anew by measured speed: one of three is slow in every step",
    slices: "measured",
    faults: { w1: Array.from({ length: EPOCHS * STEPS_PER_EPOCH }, (_, step) => ({ step, phase: "gradient", kind: "slow", ms: 60 })) },
    check: (lines) => {
      const cut = saidBy(lines, "generation").find(({ reason }) => /slices are cut anew by measured speed/.test(reason));
      return cut?.restore === "keep" ? [] : ["the slices were not cut anew"];
    },
  },
  {
    name: "coordinator told to terminate, and started again",
    experiment: "joint",
    during: async (cluster) => {
      cluster.options.restartAfterTerm = true;
      await cluster.untilStep(AT);
      await cluster.strike({ kind: "term", who: "leader" });
    },
    check: (lines) => (saidBy(lines, "end")[0]?.code === "TERMINATED" ? [] : ["the first coordinator did not end by SIGTERM"]),
  },
  {
    name: "one worker's connection cut for 1 s",
    during: async (cluster) => {
      await cluster.untilStep(AT);
      await cluster.strike({ kind: "cut", who: "w1", ms: 1_000 });
    },
  },
  {
    name: "all connections cut for 1 s",
    during: async (cluster) => {
      await cluster.untilStep(AT);
      await Promise.all(["w0", "w1", "w2"].map((who) => cluster.strike({ kind: "cut", who, ms: 1_000 })));
    },
  },
  {
    name: "a worker leaves in order (SIGTERM): its chains are moved",
    experiment: "joint",
    during: async (cluster) => {
      await cluster.untilStep(AT);
      await cluster.strike({ kind: "term", who: "w1" });
    },
    check: (lines, cluster) => [
      ...(cluster.exits.some(({ who, code }) => who === "w1" && code === 143)
        ? []
        : [`w1 did not end with 143: ${JSON.stringify(cluster.exits)}`]),
      ...(saidBy(lines, "chains")
        .slice(1)
        .every(({ restored, startedAnew }) => restored + startedAnew === 0)
        ? []
        : ["chains were lost"]),
      ...(saidBy(lines, "retry").length === 0 ? [] : ["a step was lost"]),
    ],
  },
  {
    name: "a worker joins and heals from a peer, no checkpoint read",
    experiment: "joint",
    faults: { w1: SLOWED },
    during: async (cluster) => {
      await cluster.untilStep(2);
      await cluster.startWorker("w3");
      await cluster.until(
        (lines) => lines.some((line) => line.event === "generation" && line.workers.includes("w3")),
        "the newcomer's generation",
      );
    },
    check: (lines) => {
      const generation = saidBy(lines, "generation").find(({ workers }) => workers.includes("w3"));
      const chains = saidBy(lines, "chains").find((line) => line.generation === generation?.generation);
      return generation?.restore === "keep" && chains?.moved > 0 && chains.restored + chains.startedAnew === 0
        ? []
        : [`chains: ${JSON.stringify(chains)}`];
    },
  },
  {
    name: "two at once: a worker and the coordinator killed",
    during: async (cluster) => {
      await cluster.untilStep(AT);
      await Promise.all([cluster.strike({ kind: "kill", who: "w1" }), cluster.strike({ kind: "kill", who: "leader" })]);
    },
  },
  {
    name: "two at once: the coordinator killed, and a worker gone for good",
    during: async (cluster) => {
      await cluster.untilStep(AT);
      await Promise.all([cluster.strike({ kind: "kill", who: "leader" }), cluster.strike({ kind: "term", who: "w1" })]);
    },
  },
  {
    name: "two at once: two of three workers killed",
    during: async (cluster) => {
      await cluster.untilStep(AT);
      await Promise.all([cluster.strike({ kind: "kill", who: "w1" }), cluster.strike({ kind: "kill", who: "w2" })]);
    },
  },
  {
    name: "all three workers killed: back to the checkpoint",
    during: async (cluster) => {
      await cluster.untilStep(AT + 3);
      await Promise.all(["w0", "w1", "w2"].map((who) => cluster.strike({ kind: "kill", who })));
    },
    check: (lines) => (saidBy(lines, "generation").some(({ restore }) => restore === "checkpoint") ? [] : ["nobody loaded the checkpoint"]),
  },
];

const folder = await mkdtemp(join(tmpdir(), "isoerg-chaos-"));
let numPassed = 0;
let numFailed = 0;
const recoveries = [];
try {
  const experiments = new Map();
  for (const kind of ["robust", "joint"]) {
    const experiment = await prepareExperiment(folder, kind, EPOCHS);
    experiments.set(kind, { ...experiment, reference: await undisturbed(folder, experiment, values.engine, kind) });
  }
  for (const [index, scenario] of scenarios.entries()) {
    if (values.only !== undefined && !new RegExp(values.only).test(scenario.name)) continue;
    const since = Date.now();
    const wrong = await play(scenario, experiments.get(scenario.experiment ?? "robust"), join(folder, `run-${index}`)).catch((error) => [
      error.message,
    ]);
    if (wrong.length > 0) numFailed++;
    else numPassed++;
    const seconds = ((Date.now() - since) / 1000).toFixed(1).padStart(5);
    process.stdout.write(
      `${wrong.length === 0 ? "ok  " : "FAIL"} ${seconds} s  ${scenario.name}\n${wrong.map((text) => `       ${text}\n`).join("")}`,
    );
  }
} finally {
  if (!values.keep) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  else process.stdout.write(`${folder}\n`);
}
recoveries.sort((a, b) => a - b);
const quantile = (share) => recoveries[Math.min(recoveries.length - 1, Math.floor(share * recoveries.length))];
if (recoveries.length > 0)
  process.stdout.write(
    `recovery, fault to next commit: median ${quantile(0.5)} ms, worst ${recoveries.at(-1)} ms (${recoveries.length})\n`,
  );
process.stdout.write(`${numPassed} passed, ${numFailed} failed\n`);
process.exit(numFailed === 0 ? 0 : 1);

/** @returns what was wrong */
async function play(
  { workers = 3, faults = {}, killAt = [], slices = "equal", during, check },
  { experiment, numSteps, planOptions, reference },
  run,
) {
  const cluster = new Cluster({ experiment, run, engine: values.engine, slices });
  try {
    cluster.startLeader({ workers, killAt });
    for (let i = 0; i < workers; i++) await cluster.startWorker(`w${i}`, faults[`w${i}`]);
    await during?.(cluster);
    const code = await Promise.race([cluster.finished, overdue(150_000)]);
    const lines = cluster.lines();
    recoveries.push(...recoveryTimes(cluster.faults, lines).map(({ ms }) => ms));
    const { wrong } = verify({ lines, metrics: readMetrics(run), reference, planOptions, numSteps, tolerance: 2e-3 });
    if (code !== 0) wrong.push(`the coordinator ended with ${code}`);
    const isStruck = Object.keys(faults).length + killAt.length > 0;
    if (isStruck && cluster.faults.length === 0) wrong.push("the fault did not strike");
    return [...wrong, ...(check?.(lines, cluster) ?? [])];
  } finally {
    await cluster.close();
  }
}

function overdue(ms) {
  return new Promise((resolve) => setTimeout(() => resolve("overdue"), ms).unref());
}
