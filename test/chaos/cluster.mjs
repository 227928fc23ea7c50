/**
 * A run of real processes that faults are done to: a coordinator, workers, a proxy before each, and what stands for Kubernetes:
 * a process that ends before the run does is started again. What happened is read from the run's own journal.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { auditJournal } from "../../dist/src/coordinator/audit.js";
import { commitEntry } from "../../dist/src/coordinator/journal.js";
import { createPlan } from "../../dist/src/data/plan.js";
import { startProxy } from "./proxy.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
export const TIMEOUTS = {
  joinMs: 60_000,
  rejoinMs: 120_000,
  heartbeatMs: 150,
  silenceMs: 2_500,
  goodbyeMs: 500,
  returnMs: 8_000,
  hangMs: 2_500,
  hangFirstMs: 20_000,
  closeMs: 60_000,
};

export class Cluster {
  /** @param {{experiment: string, run: string, engine: string, minWorkers?: number, slices?: "equal" | "measured", restarts?: boolean}} options */
  constructor(options) {
    this.options = { minWorkers: 1, slices: "equal", restarts: true, ...options };
    this.leader = null;
    this.workers = new Map();
    this.proxies = new Map();
    this.faults = [];
    this.exits = [];
    this.isOver = false;
    mkdirSync(dirname(options.run), { recursive: true });
    this.finished = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  #resolve = () => {};

  startLeader({ workers, killAt = [] }) {
    const { experiment, run, minWorkers, slices } = this.options;
    const words = { experiment, run, workers, minWorkers, slices, timeouts: TIMEOUTS, killAt };
    const child = this.#spawn("leader.mjs", words);
    this.leader = child;
    child.once("close", (code, signal) => {
      this.exits.push({ who: "leader", code, signal, words: child.words });
      if (this.leader !== child) return; // replaced while it was away
      this.leader = null;
      const isTerminated = code === 143 && this.options.restartAfterTerm;
      if ((signal === "SIGKILL" || isTerminated) && this.options.restarts && !this.isOver) this.startLeader({ workers });
      else this.#end(code);
    });
  }

  /** Stops the leader, lets another take its place, and wakes the first when the other has committed: two coordinators of one run. */
  async replaceLeaderAsleep({ workers }) {
    const asleep = this.leader;
    this.note({ fault: "coordinator suspended and replaced", atMs: Date.now() });
    asleep.kill("SIGSTOP");
    rmSync(join(this.options.run, "coordinator.json"), { force: true }); // as the error for a second leader says
    const before = lastGeneration(this.lines());
    this.startLeader({ workers });
    await this.until((lines) => lines.some((line) => line.event === "commit" && line.generation > before), "a commit of the successor");
    const ended = new Promise((done) => asleep.once("close", done));
    asleep.kill("SIGCONT");
    return ended;
  }

  async startWorker(id, faults = []) {
    const { run, engine } = this.options;
    const proxy = this.proxies.get(id) ?? (await startProxy(join(run, "coordinator.json")));
    this.proxies.set(id, proxy);
    const addressFile = `${run}.${id}.json`;
    writeFileSync(addressFile, JSON.stringify({ address: proxy.address }));
    const words = { id, addressFile, log: join(`${run}.logs`, `${id}.jsonl`), engine, faults, reconnectMs: 120_000 };
    const child = this.#spawn("worker.mjs", words);
    this.workers.set(id, child);
    child.once("close", (code, signal) => {
      this.exits.push({ who: id, code, signal });
      if (this.workers.get(id) !== child) return;
      this.workers.delete(id);
      // Whoever left in order has left; whoever broke is started again.
      if (this.options.restarts && !this.isOver && code !== 0 && code !== 143) void this.startWorker(id);
    });
  }

  #spawn(program, words) {
    const child = spawn(process.execPath, [join(HERE, program), JSON.stringify(words)], { stdio: ["pipe", "pipe", "pipe"] });
    child.stdin.on("error", () => {});
    createInterface({ input: child.stdout }).on("line", (line) => this.note(JSON.parse(line), child));
    child.words = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      child.words = (child.words + text).slice(-2000);
    });
    return child;
  }

  /** A fault was done: which, when, and in which generation the run was then. */
  note(fault, child) {
    this.faults.push({ ...fault, generation: lastGeneration(this.lines()) });
    if (fault.fault === "stop" && child) setTimeout(() => child.kill("SIGCONT"), 3_500);
  }

  /** Something from outside, on whoever it is. */
  async strike(fault) {
    const { kind, who } = fault;
    const child = who === "leader" ? this.leader : this.workers.get(who);
    if (!child) return;
    if (kind === "kill" || kind === "term") {
      this.note({ fault: `${kind} ${who === "leader" ? "coordinator" : "worker"}`, atMs: Date.now() });
      child.kill(kind === "kill" ? "SIGKILL" : "SIGTERM");
    } else if (kind === "suspend") {
      this.note({ fault: "suspend", atMs: Date.now() });
      child.kill("SIGSTOP");
      await pause(fault.ms);
      child.kill("SIGCONT");
    } else if (kind === "cut") {
      this.note({ fault: "cut", atMs: Date.now() });
      this.proxies.get(who)?.cut();
      await pause(fault.ms);
      this.proxies.get(who)?.heal();
    } else if (kind === "inside" || kind === "journal") {
      child.stdin.write(`${JSON.stringify(fault.what)}\n`);
    }
  }

  lines() {
    const path = join(this.options.run, "journal.jsonl");
    if (!existsSync(path)) return [];
    return readFileSync(path, "utf8")
      .split("\n")
      .flatMap((line) => {
        try {
          return [JSON.parse(line)];
        } catch {
          return [];
        }
      });
  }

  /** Waits until the journal is as wanted. */
  async until(isWanted, what, timeoutMs = 120_000) {
    for (const end = Date.now() + timeoutMs; ; await pause(25)) {
      const lines = this.lines();
      if (isWanted(lines)) return lines;
      if (this.isOver) throw new Error(`the run ended before ${what}: ${JSON.stringify(lines.at(-1))}`);
      if (Date.now() > end) throw new Error(`${what} did not come in ${timeoutMs / 1000} s; last line ${JSON.stringify(lines.at(-1))}`);
    }
  }

  untilStep(step) {
    return this.until((lines) => lines.some((line) => line.event === "commit" && line.step >= step), `step ${step}`);
  }

  async #end(code) {
    if (this.isOver) return;
    this.isOver = true;
    this.#resolve(code);
  }

  /** Ends whatever is left. */
  async close() {
    this.isOver = true;
    const children = [this.leader, ...this.workers.values()].filter(Boolean);
    for (const child of children) {
      child.kill("SIGCONT");
      child.kill("SIGKILL");
    }
    for (const proxy of this.proxies.values()) proxy.close();
    await Promise.all(
      children.map((child) =>
        child.exitCode === null && child.signalCode === null ? new Promise((done) => child.once("close", done)) : null,
      ),
    );
  }
}

function lastGeneration(lines) {
  return lines.findLast((line) => line.event === "generation")?.generation ?? 0;
}

/** Faults that struck within so many ms are one blow: what follows is the recovery from all of them. */
const ONE_BLOW_MS = 1_000;

/**
 * From each fault to the first commit of the generation that it led to: the next one to begin, unless another fault came between.
 * A fault that led to none (a pause that was short enough) counts nothing.
 */
export function recoveryTimes(faults, lines) {
  const at = (line) => Date.parse(line.time);
  const generations = lines.filter((line) => line.event === "generation");
  return faults.flatMap((fault) => {
    const next = generations.find((line) => at(line) >= fault.atMs && line.generation > fault.generation);
    if (!next) return [];
    const isAnothers = faults.some(({ atMs }) => atMs > fault.atMs + ONE_BLOW_MS && atMs <= at(next));
    const commit = lines.find((line) => line.event === "commit" && line.generation >= next.generation && at(line) >= at(next));
    return isAnothers || !commit ? [] : [{ ...fault, ms: at(commit) - fault.atMs, why: next.reason }];
  });
}

/** Everything that must hold after any fault. @returns sentences; empty when all does */
export function verify({ lines, metrics, reference, planOptions, numSteps, tolerance }) {
  const audit = auditJournal(lines);
  const wrong = [...audit.faults];
  if (audit.commits.length !== numSteps) wrong.push(`${audit.commits.length} of ${numSteps} steps count`);
  // Each epoch has each sample once: the plan is a permutation, and every commit took part with the plan's batch.
  const plan = createPlan(planOptions);
  for (const { step, ids, samples } of audit.commits) {
    const expected = commitEntry({ generation: 0, step, ids: plan.batchOf(step).ids, checksum: 0n });
    if (expected.ids !== ids || expected.samples !== samples) wrong.push(`step ${step} was not trained on the plan's samples`);
  }
  const last = lines.findLast((line) => line.event === "end");
  if (last?.outcome !== "finished") wrong.push(`the run ended as '${last?.outcome}': ${last?.reason}`);
  const found = new Map(metrics.map(({ step, metrics: figures }) => [step, figures.loss]));
  if (found.size !== metrics.length) wrong.push("metrics.jsonl has a step twice");
  let worst = 0;
  for (const { step, metrics: figures } of reference) {
    const loss = found.get(step);
    if (loss === undefined) wrong.push(`metrics.jsonl lacks step ${step}`);
    else worst = Math.max(worst, Math.abs(loss - figures.loss) / Math.max(Math.abs(figures.loss), 0.05));
  }
  if (worst > tolerance) wrong.push(`the loss differs by ${worst.toExponential(1)} from the undisturbed run's`);
  return { wrong, worst, numTakenBack: audit.numTakenBack };
}

export function readMetrics(run) {
  return readFileSync(join(run, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}
