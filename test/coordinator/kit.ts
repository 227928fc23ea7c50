/**
 * A run's state machine with workers that a test holds by the hand (`../kit/swarm.ts`): a clock, a journal and a store of its own, and
 * messages that wait until they are let through. What the tests of the run share, each of them a file with one noun.
 */
import { type CheckpointStore, createMemoryCheckpointStore } from "../../src/checkpoint/store.js";
import type { Outcome, RunEvent } from "../../src/coordinator/events.js";
import { createMemoryJournal, type JournalEntry, type JournalLine } from "../../src/coordinator/journal.js";
import { Run } from "../../src/coordinator/run.js";
import type { RunOptions } from "../../src/coordinator/run-options.js";
import { historyOf } from "../../src/coordinator/standing.js";
import { createPlan } from "../../src/data/plan.js";
import { IsoergError } from "../../src/util/error.js";
import { SwarmWorker, trained, UNTRAINED } from "../kit/swarm.js";

export const plan = createPlan({ numSamples: 17, shuffleBlock: 4, batchSize: 5, seed: 1n }); // 4 steps an epoch, the last one short
export const NUM_STEPS = 9;

/** What every run of these tests is; checkpoints, membership, and where it stands are its own. */
export const RUN = {
  runId: "r",
  name: "test",
  plan,
  numChains: 6,
  commit: { maxRetries: 3 },
  hang: { idle: { factor: 10, floorMs: 20_000 }, busy: { factor: 10, floorMs: 40_000 }, firstMs: 60_000 },
  slices: "equal",
  closeTimeoutMs: 10_000,
  writeFigures: () => {},
  describeState: (step: number) => ({ step }),
} as const satisfies Partial<RunOptions>;
export const MEMBERSHIP = { minWorkers: 1, joinTimeoutMs: 1_000, rejoinTimeoutMs: 1_000, silence: { floorMs: 5_000, ceilingMs: 5_000 } };

/** A journal that another process may take over. */
function createFencedJournal() {
  const { lines, append, close } = createMemoryJournal();
  let fence: IsoergError | null = null;
  const check = (): void => {
    if (fence) throw fence;
  };
  return {
    lines,
    check,
    append: (entry: JournalEntry): void => {
      check();
      append(entry);
    },
    close,
    fence: (reason: string): void => {
      fence = new IsoergError("FENCED", reason);
    },
  };
}

export interface SetUp {
  readonly workers?: number;
  readonly minWorkers?: number;
  readonly maxWorkers?: number;
  readonly rejoinTimeoutMs?: number;
  readonly everySteps?: number;
  readonly store?: CheckpointStore;
  /** Taken up again: what an earlier coordinator left. */
  readonly lines?: readonly JournalLine[];
  readonly swarm?: SwarmWorker[];
}

export function setUp(options: SetUp = {}) {
  const { workers = 2, minWorkers = 1, rejoinTimeoutMs = 1_000, everySteps = 3, lines = [], swarm = [] } = options;
  const { maxWorkers = Number.POSITIVE_INFINITY, store = createMemoryCheckpointStore({ keepLast: 100 }) } = options;
  const journal = createFencedJournal();
  const clock = { nowMs: 0 };
  const events: RunEvent[] = [];
  const history = historyOf(lines);
  const saved = lines.findLast((line) => line.event === "checkpoint");
  const run = new Run({
    ...RUN,
    numSteps: NUM_STEPS,
    membership: { ...MEMBERSHIP, expectedWorkers: workers, minWorkers, maxWorkers, rejoinTimeoutMs },
    checkpoints: { everySteps, priorMtbfMs: 1e9 },
    returnTimeoutMs: lines.length > 0 ? 500 : 0,
    start: { ...history, checkpointStep: saved?.event === "checkpoint" ? saved.step : null },
    journal,
    store,
    now: () => clock.nowMs,
    onEvent: (event) => events.push(event),
  });
  const join = (workerId: string, incarnation = `${workerId}1`): SwarmWorker =>
    new SwarmWorker(workerId, incarnation, { run, plan, load: (step) => store.load(step), swarm });
  const drain = (until?: () => boolean): Promise<void> => drainSwarm(swarm, until);
  const outcome = (): Outcome | undefined => outcomeOf(events);
  return { run, journal, store, clock, events, swarm, join, drain, outcome };
}

/** What every worker must hold after so many steps. */
export function reference(numSteps: number): bigint {
  let parameters = UNTRAINED;
  for (let step = 0; step < numSteps; step++) parameters = trained(parameters, plan.batchOf(step).ids);
  return parameters;
}

/** Lets the store work. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

/** Lets every message through, until nothing moves or `until` holds. */
export async function drainSwarm(swarm: readonly SwarmWorker[], until: () => boolean = () => false): Promise<void> {
  for (let quiet = 0; quiet < 3; ) {
    const next = swarm.find(({ isAlive, inbox }) => isAlive && inbox.length > 0);
    if (until()) return;
    const saves = next?.isAboutToSave === true;
    if (next) await next.step();
    if (!next || saves) await settle(); // one that still waits for the store when the next is due would be given up
    quiet = next ? 0 : quiet + 1;
  }
}

/** How the run ended, where it has. */
export function outcomeOf(events: readonly RunEvent[]): Outcome | undefined {
  return events.flatMap((event) => (event.kind === "ended" ? [event.outcome] : []))[0];
}

/** A store in memory whose writes wait while it is held. */
export class HeldStore implements CheckpointStore {
  readonly #store = createMemoryCheckpointStore({ keepLast: 100 });
  #released: Promise<void> = Promise.resolve();
  #release: () => void = () => {};

  hold(): void {
    this.release();
    this.#released = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  release(): void {
    this.#release();
  }

  async save(...what: Parameters<CheckpointStore["save"]>): Promise<string> {
    await this.#released;
    return this.#store.save(...what);
  }

  load(which: number | "latest"): ReturnType<CheckpointStore["load"]> {
    return this.#store.load(which);
  }

  list(): ReturnType<CheckpointStore["list"]> {
    return this.#store.list();
  }

  discard(steps: readonly number[], reason: string): Promise<void> {
    return this.#store.discard(steps, reason);
  }
}

/** A run over several coordinators: each is killed with what its journal had, and the next takes it up from there. */
export function setUpSuccession(workers: number) {
  const lines: JournalLine[] = [];
  const store = new HeldStore();
  const swarm: SwarmWorker[] = [];
  const begin = () => setUp({ workers, rejoinTimeoutMs: 1e9, everySteps: 4, lines: [...lines], store, swarm });
  let current = begin();
  /** Kills the coordinator; a power loss takes the journal's last commits with it. */
  const restart = ({ lostCommits = 0 } = {}): void => {
    lines.push(...current.journal.lines);
    for (let i = 0; i < lostCommits && lines.at(-1)?.event === "commit"; i++) lines.pop();
    const old = current;
    current = begin();
    for (const worker of swarm.filter(({ isAlive }) => isAlive)) worker.connect(current.run);
    old.run.depose("killed");
  };
  return { lines: () => [...lines, ...current.journal.lines], swarm, store, restart, now: () => current };
}
