/**
 * The run's state machine against workers that the test holds by the hand: whatever is killed, joins late or fails in between,
 * every step counts once, all workers hold the same parameters, and the run ends as it should.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CheckpointStore, createMemoryCheckpointStore } from "../../src/checkpoint/store.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import type { Outcome, RunEvent } from "../../src/coordinator/events.js";
import { createMemoryJournal, type JournalEntry, type JournalLine } from "../../src/coordinator/journal.js";
import { Run } from "../../src/coordinator/run.js";
import { historyOf } from "../../src/coordinator/standing.js";
import { createPlan } from "../../src/data/plan.js";
import { IsoergError } from "../../src/util/error.js";
import { fromWords, SwarmWorker, trained, UNTRAINED } from "../kit/swarm.js";

const plan = createPlan({ numSamples: 17, shuffleBlock: 4, batchSize: 5, seed: 1n }); // 4 steps an epoch, the last one short
const NUM_STEPS = 9;

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

interface SetUp {
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

function setUp(options: SetUp = {}) {
  const { workers = 2, minWorkers = 1, rejoinTimeoutMs = 1_000, everySteps = 3, lines = [], swarm = [] } = options;
  const { maxWorkers = Number.POSITIVE_INFINITY, store = createMemoryCheckpointStore({ keepLast: 100 }) } = options;
  const journal = createFencedJournal();
  const clock = { nowMs: 0 };
  const events: RunEvent[] = [];
  const history = historyOf(lines);
  const saved = lines.findLast((line) => line.event === "checkpoint");
  const run = new Run({
    runId: "r",
    name: "test",
    plan,
    numSteps: NUM_STEPS,
    numChains: 6,
    membership: {
      expectedWorkers: workers,
      minWorkers,
      maxWorkers,
      joinTimeoutMs: 1_000,
      rejoinTimeoutMs,
      silence: { floorMs: 5_000, ceilingMs: 5_000 },
    },
    commit: { maxRetries: 3 },
    hang: { idle: { factor: 10, floorMs: 20_000 }, busy: { factor: 10, floorMs: 40_000 }, firstMs: 60_000 },
    checkpoints: { everySteps, priorMtbfMs: 1e9 },
    slices: "equal",
    returnTimeoutMs: lines.length > 0 ? 500 : 0,
    closeTimeoutMs: 10_000,
    start: { ...history, checkpointStep: saved?.event === "checkpoint" ? saved.step : null },
    journal,
    writeFigures: () => {},
    store,
    describeState: (step) => ({ step }),
    now: () => clock.nowMs,
    onEvent: (event) => events.push(event),
  });
  const join = (workerId: string, incarnation = `${workerId}1`): SwarmWorker =>
    new SwarmWorker(workerId, incarnation, { run, plan, load: (step) => store.load(step), swarm });
  /** Lets the store work. */
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  };
  /** Lets every message through, until nothing moves or `until` holds. */
  const drain = async (until: () => boolean = () => false): Promise<void> => {
    for (let quiet = 0; quiet < 3; ) {
      const next = swarm.find(({ isAlive, inbox }) => isAlive && inbox.length > 0);
      if (until()) return;
      const saves = next?.isAboutToSave === true;
      if (next) await next.step();
      if (!next || saves) await settle(); // one that still waits for the store when the next is due would be given up
      quiet = next ? 0 : quiet + 1;
    }
  };
  const outcome = (): Outcome | undefined => events.flatMap((event) => (event.kind === "ended" ? [event.outcome] : []))[0];
  return { run, journal, store, clock, events, swarm, join, drain, settle, outcome };
}

/** What every worker must hold after so many steps. */
function reference(numSteps: number): bigint {
  let parameters = UNTRAINED;
  for (let step = 0; step < numSteps; step++) parameters = trained(parameters, plan.batchOf(step).ids);
  return parameters;
}

describe("a run", () => {
  test.each([1, 2, 4])("with %d workers commits each step once and finishes with a checkpoint", async (workers) => {
    const { run, journal, swarm, join, drain, outcome, events } = setUp({ workers });
    for (let i = 0; i < workers; i++) join(`w${i}`);
    await drain();
    expect(outcome()).toEqual({ kind: "finished", reason: "all 9 steps are done", code: null, step: NUM_STEPS, checkpointStep: NUM_STEPS });
    expect(run.status().state).toBe("finished");
    const audit = auditJournal(journal.lines);
    expect(audit).toMatchObject({ faults: [], numTakenBack: 0 });
    expect(audit.commits).toHaveLength(NUM_STEPS);
    for (const worker of swarm) expect(worker.parameters).toBe(reference(NUM_STEPS));
    for (const epoch of [0, 1]) {
      const ids = events.flatMap((event) => (event.kind === "commit" && Math.floor(event.step / 4) === epoch ? [...event.ids] : []));
      expect(ids.sort((a, b) => a - b)).toEqual(Array.from({ length: 17 }, (_, id) => id));
    }
  });

  test("goes on with the survivors when one is killed in the middle of a step", async () => {
    const { journal, swarm, join, drain, run, outcome } = setUp({ workers: 3 });
    for (const name of ["a", "b", "c"]) join(name);
    await drain(() => run.status().step === 4);
    swarm[1]?.kill();
    await drain();
    expect(outcome()?.kind).toBe("finished");
    expect(auditJournal(journal.lines).faults).toEqual([]);
    const generations = journal.lines.filter((line) => line.event === "generation");
    expect(generations).toHaveLength(2);
    expect(generations[1]).toMatchObject({ step: 4, workers: ["a", "c"], restore: "keep" });
    expect(swarm[0]?.parameters).toBe(reference(NUM_STEPS));
    expect(swarm[2]?.parameters).toBe(reference(NUM_STEPS));
  });

  test("lets a newcomer in after the step under way, with the state of the others and no checkpoint", async () => {
    const { journal, swarm, join, drain, run, outcome } = setUp({ workers: 1, everySteps: 100 });
    join("a");
    await drain(() => run.status().step === 2);
    join("b");
    await drain();
    expect(outcome()?.kind).toBe("finished");
    const generations = journal.lines.filter((line) => line.event === "generation");
    expect(generations[1]).toMatchObject({ step: 3, workers: ["a", "b"], restore: "keep" });
    for (const worker of swarm) expect(worker.parameters).toBe(reference(NUM_STEPS));
  });

  test("goes back to its checkpoint when all workers were lost and others come", async () => {
    const { journal, swarm, join, drain, run, outcome, settle } = setUp({ workers: 1 });
    join("a");
    await drain(() => run.status().step === 5);
    await settle();
    swarm[0]?.kill();
    expect(run.status().state).toBe("waiting");
    const other = join("b");
    await drain();
    expect(outcome()?.kind).toBe("finished");
    expect(auditJournal(journal.lines)).toMatchObject({ faults: [], numTakenBack: 2 });
    expect(other.parameters).toBe(reference(NUM_STEPS));
  });

  test("saves and gives up when too few are left for too long", async () => {
    const { clock, join, drain, run, outcome, swarm, settle } = setUp({ workers: 2, minWorkers: 2 });
    join("a");
    join("b");
    await drain(() => run.status().step === 5);
    await settle();
    swarm[0]?.kill();
    expect(outcome()).toBeUndefined();
    clock.nowMs += 1_000;
    run.tick();
    await drain();
    expect(outcome()).toMatchObject({ kind: "failed", code: "BELOW_MINIMUM", step: 5, checkpointStep: 5 });
    expect(outcome()?.reason).toContain("1 workers are left and the minimum is 2");
  });

  test("whose last worker broke waits for others, and says what broke when none came", async () => {
    const { clock, join, drain, run, outcome } = setUp({ workers: 1 });
    join("a").breaks = (step) => step === 4;
    await drain();
    expect([outcome(), run.status().state]).toEqual([undefined, "waiting"]);
    clock.nowMs += 1_000;
    run.tick();
    await drain();
    expect(outcome()).toMatchObject({ kind: "failed", code: "BELOW_MINIMUM", step: 4 });
    expect(outcome()?.reason).toMatch(/the minimum is 1, after a wait of 1 s; before that, rank 0, step 4: asked for by the test/);
  });

  test("drops a worker that falls silent", async () => {
    const { clock, join, drain, run, swarm } = setUp({ workers: 2 });
    const [a, b] = [join("a"), join("b")];
    await drain(() => run.status().step === 2);
    for (let i = 0; i < 6; i++) {
      clock.nowMs += 1_000;
      run.tick();
      if (i < 5) run.receive(a.incarnation, { kind: "heartbeat", step: 2, phase: "attack", phaseMs: 0, idleMs: 0, waits: false });
    }
    expect(b.isConnected).toBe(false);
    expect(run.status().members.map(({ workerId }) => workerId)).toEqual(["a"]);
    expect(swarm[0]?.inbox.at(-1)).toMatchObject({ kind: "generation", worldSize: 1, step: 2, restore: "keep" });
  });

  test("a second process of the same worker fences the first", async () => {
    const { join, drain, run, outcome } = setUp({ workers: 2 });
    const [first] = [join("a"), join("b")];
    await drain(() => run.status().step === 2);
    const second = join("a", "a2");
    expect(first.isConnected).toBe(false);
    await drain();
    expect(outcome()?.kind).toBe("finished");
    expect(second.parameters).toBe(reference(NUM_STEPS));
  });

  test("a stop that is asked for saves after the step under way", async () => {
    const { join, drain, run, outcome, store } = setUp({ workers: 2 });
    join("a");
    join("b");
    await drain(() => run.status().step === 4);
    run.requestStop("Ctrl-C");
    expect(run.status().state).toBe("stopping");
    await drain();
    expect(outcome()).toEqual({ kind: "asked", reason: "Ctrl-C", code: null, step: 5, checkpointStep: 5 });
    expect((await store.load("latest")).step).toBe(5);
  });

  test("parameters that differ stop it, with both values", async () => {
    const { join, drain, run, outcome, swarm } = setUp({ workers: 2 });
    join("a");
    const b = join("b");
    await drain(() => run.status().step === 2);
    b.fault = "checksum";
    await drain();
    expect(outcome()?.kind).toBe("failed");
    expect(outcome()?.reason).toMatch(
      /step [23]: parameters differ between workers: checksum [0-9a-f]{16} on rank 0, [0-9a-f]{16} on rank 1/,
    );
    for (const worker of swarm) expect(worker.stop).toMatchObject({ outcome: "failed" });
  });

  test("the best checkpoint outlives the last ones", async () => {
    const store = createMemoryCheckpointStore({ keepLast: 1, keepBest: { count: 1, by: "loss", higherIsBetter: false } });
    const { join, drain, outcome } = setUp({ workers: 1, everySteps: 2, store });
    join("a").metrics = (step) => ({ loss: step === 3 ? 0.1 : 1 + step });
    await drain();
    expect(outcome()?.kind).toBe("finished");
    expect((await store.list()).map(({ step }) => step)).toEqual([4, NUM_STEPS]); // step 3 is the last one in it
    expect((await store.load("latest")).step).toBe(NUM_STEPS);
  });

  test("an exception lets its worker go; two at one step, on two workers, are no reason to end", async () => {
    const { journal, swarm, join, drain, outcome } = setUp({ workers: 4 });
    for (const name of ["a", "b", "c", "d"]) join(name);
    for (const at of [1, 2]) (swarm[at] as SwarmWorker).breaks = (step) => step === 4;
    await drain();
    expect(outcome()?.kind).toBe("finished");
    expect(auditJournal(journal.lines).faults).toEqual([]);
    const leaves = journal.lines.filter((line) => line.event === "leave").slice(0, 2);
    expect(leaves.map(({ reason }) => reason)).toEqual(["rank 1, step 4: asked for by the test", "rank 1, step 4: asked for by the test"]);
    for (const at of [1, 2]) expect(swarm[at]?.stop).toMatchObject({ code: "EVICTED" });
    for (const at of [0, 3]) expect(swarm[at]?.parameters).toBe(reference(NUM_STEPS));
  });

  test("a sample that breaks every worker ends it after three, and is named", async () => {
    const { journal, swarm, join, drain, outcome } = setUp({ workers: 4 });
    const poison = plan.batchOf(2).ids[2] as number;
    for (const name of ["a", "b", "c", "d"]) join(name).breaks = (_, ids) => ids.includes(poison);
    await drain();
    expect(outcome()).toMatchObject({ kind: "failed", code: "ENGINE", step: 2 });
    expect(outcome()?.reason).toMatch(
      new RegExp(`the same error came in 3 attempts at step 2, each time where positions .*samples .*\\b${poison}\\b`),
    );
    expect(swarm.filter(({ stop }) => stop?.code === "EVICTED")).toHaveLength(2);
    expect(auditJournal(journal.lines)).toMatchObject({ faults: [], numTakenBack: 0 });
  });

  test("numbers that are not finite stop it with rank and step", async () => {
    const { join, drain, outcome } = setUp({ workers: 2 });
    join("a");
    join("b").fault = "non-finite";
    await drain();
    expect(outcome()).toMatchObject({ kind: "failed", reason: "rank 1, step 0: asked for by the test", step: 0 });
  });

  test("a collective that fails again and again stops it", async () => {
    const { join, outcome, journal, swarm } = setUp({ workers: 1 });
    const worker = join("a");
    while (!outcome() && swarm[0]?.isAlive) {
      worker.fault = "collective";
      await worker.step();
    }
    expect(outcome()?.reason).toContain("for the 4th time in a row");
    expect(journal.lines.filter((line) => line.event === "retry")).toHaveLength(3);
  });

  test("a worker of another version is refused with a reason", () => {
    const { run } = setUp();
    const port = { send: () => {}, close: () => {} };
    const nothing = { peerEndpoint: "", holdsGeneration: 0, holdsStep: 0, pendingGeneration: 0, pendingStep: 0, commits: [] };
    expect(() => run.join({ workerId: "a", incarnation: "a1", engine: "", protocol: 7, ...nothing }, port)).toThrow(/speaks protocol 7/);
  });
});

/** A run over several coordinators: each is killed with what its journal had, and the next takes it up from there. */
function setUpSuccession(workers: number) {
  const lines: JournalLine[] = [];
  const store = createMemoryCheckpointStore({ keepLast: 100 });
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

describe("a coordinator that comes back", () => {
  /** Two workers in step 4; `until` says how far each has got when the coordinator dies. */
  async function killedWhen(until: (a: SwarmWorker, b: SwarmWorker) => boolean, options: { lostCommits?: number } = {}) {
    const succession = setUpSuccession(2);
    const [a, b] = [succession.now().join("a"), succession.now().join("b")];
    await succession.now().drain(() => succession.now().run.status().step === 4);
    await succession.now().drain(() => until(a, b));
    succession.restart(options);
    await succession.now().drain();
    expect(succession.now().outcome()).toMatchObject({ kind: "finished", step: NUM_STEPS });
    expect(auditJournal(succession.lines())).toMatchObject({ faults: [], numTakenBack: 0 });
    for (const worker of [a, b]) expect(worker.parameters).toBe(reference(NUM_STEPS));
    return succession;
  }

  test("before any ballot", () => killedWhen(() => true));
  test("when one has voted", () => killedWhen((a) => a.pending?.step === 4));
  test("when a verdict is in the journal and nobody was told: both hear it from the next one", () =>
    killedWhen((a, b) => [a, b].every(({ inbox }) => inbox.some((message) => message.kind === "verdict"))));
  test("when one was told and the other was not", () => killedWhen((a, b) => a.held?.step === 5 && b.held?.step === 4));
  test("when both were told and the journal lost it: it is taken over from them", async () => {
    const { lines } = await killedWhen((a, b) => a.held?.step === 6 && b.held?.step === 6, { lostCommits: 2 });
    expect(lines().flatMap((line) => (line.event === "commit" && line.toldBy ? [line.step] : []))).toEqual([4, 5]);
  });
  test("when only one was told and the journal lost it: the other heals from it", () =>
    killedWhen((a, b) => a.held?.step === 5 && b.held?.step === 4, { lostCommits: 1 }));

  test("one that was away and replaced is fenced by the journal: it commits nothing, and its workers hear no word of it", async () => {
    const { run, journal, store, swarm, join, drain, outcome } = setUp({ workers: 2, everySteps: 100 });
    const [a, b] = [join("a"), join("b")];
    await drain(() => run.status().step === 4 && a.pending !== null);
    journal.fence("another process writes to the journal");
    const numLines = journal.lines.length;
    await drain();
    expect(outcome()).toMatchObject({ kind: "failed", code: "FENCED", step: 4 });
    expect(journal.lines).toHaveLength(numLines);
    for (const worker of [a, b]) expect(worker).toMatchObject({ stop: null, isConnected: false, held: { step: 4 } });
    run.abort("twice"); // nor is anything said later
    expect([swarm.every(({ stop }) => stop === null), (await store.list()).length]).toEqual([true, 0]);
  });

  test("a worker that was replaced meanwhile is fenced, before and after", async () => {
    const succession = setUpSuccession(2);
    const first = succession.now().join("a");
    succession.now().join("b");
    await succession.now().drain(() => succession.now().run.status().step === 2);
    first.disconnect();
    const second = succession.now().join("a", "a2");
    first.connect(succession.now().run);
    expect(first.inbox.at(-1)).toMatchObject({ kind: "stop", code: "FENCED" });
    expect(second.isConnected).toBe(true);
    succession.restart();
    expect(first.inbox.at(-1)).toMatchObject({ kind: "stop", code: "FENCED" });
    await succession.now().drain();
    expect(second.parameters).toBe(reference(NUM_STEPS));
  });
});

describe("leaving in order", () => {
  test("the others take over after the step under way, and the one that leaves is released", async () => {
    const { journal, join, drain, run, outcome } = setUp({ workers: 3 });
    const [a, b] = [join("a"), join("b"), join("c")];
    await drain(() => run.status().step === 4);
    b.retire();
    await drain();
    expect(outcome()?.kind).toBe("finished");
    expect(b.stop).toMatchObject({ code: "TERMINATED" });
    expect(a.parameters).toBe(reference(NUM_STEPS));
    const generations = journal.lines.filter((line) => line.event === "generation");
    expect(generations[1]).toMatchObject({ workers: ["a", "c"], restore: "keep", step: 5 });
    expect(journal.lines.some((line) => line.event === "retry")).toBe(false);
  });

  test("who is needed goes when the state is saved; the run waits, then ends with BELOW_MINIMUM", async () => {
    const { clock, join, drain, run, outcome, store } = setUp({ workers: 2, minWorkers: 2, everySteps: 100 });
    const [a, b] = [join("a"), join("b")];
    await drain(() => run.status().step === 4);
    b.retire();
    await drain();
    expect(b.stop).toMatchObject({ code: "TERMINATED" });
    expect((await store.load("latest")).step).toBe(5);
    expect(run.status().state).toBe("waiting");
    clock.nowMs += 1_000;
    run.tick();
    await drain();
    expect(outcome()).toMatchObject({ kind: "failed", code: "BELOW_MINIMUM", checkpointStep: 5 });
    expect(a.stop).toMatchObject({ code: "BELOW_MINIMUM" });
  });
});

describe("a worker that hangs", () => {
  test("is named with its phase and let go; the others go on", async () => {
    const { clock, join, drain, run, events, outcome } = setUp({ workers: 2 });
    const [a, b] = [join("a"), join("b")];
    await drain(() => run.status().step === 4 && a.pending !== null && b.pending === null);
    const beat = (worker: SwarmWorker, phase: string, phaseMs: number): void =>
      run.receive(worker.incarnation, { kind: "heartbeat", step: 4, phase, phaseMs, idleMs: phaseMs, waits: phase === "vote" });
    for (let i = 1; i <= 25; i++) {
      clock.nowMs += 1_000;
      beat(a, "vote", 1000 * i);
      if (b.isConnected) beat(b, "gradient", 1000 * i);
      run.tick();
    }
    expect(b.isConnected).toBe(false);
    await drain();
    expect(outcome()?.kind).toBe("finished");
    expect(events.some((event) => event.kind === "notice" && /rank 1 \(b\) hangs in 'gradient' for 2\d s/.test(event.message))).toBe(true);
    expect(b.stop).toMatchObject({ code: "EVICTED" });
  });

  test("a coordinator that was away itself accuses nobody", async () => {
    const { clock, join, drain, run } = setUp({ workers: 2 });
    const [a, b] = [join("a"), join("b")];
    await drain(() => run.status().step === 4);
    run.tick();
    clock.nowMs += 100_000;
    run.tick();
    expect([a.isConnected, b.isConnected]).toEqual([true, true]);
  });
});

describe("a run under faults", () => {
  type Action =
    | { kind: "deliver" | "kill" | "fault" | "cut" | "connect" | "retire"; at: number }
    | { kind: "join" | "settle" }
    | { kind: "restart"; lostCommits: number };
  const at = <const Kind extends string>(kind: Kind, weight: number) => ({
    weight,
    arbitrary: fc.record({ kind: fc.constant(kind), at: fc.nat(9) }),
  });
  const action: fc.Arbitrary<Action> = fc.oneof(
    at("deliver", 25),
    at("kill", 1),
    at("fault", 1),
    at("cut", 1),
    at("connect", 2),
    at("retire", 1),
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("join" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("settle" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), lostCommits: fc.nat(2) }) },
  );

  test("whatever happens in whatever order, it finishes with every step counted once and one model", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 200 }), async (workers, actions) => {
        const { lines, swarm, store, restart, now } = setUpSuccession(workers);
        for (let i = 0; i < workers; i++) now().join(`w${i}`);
        let numJoined = workers;
        let isFaulty = false;
        for (const act of actions) {
          if (now().outcome()) break;
          const alive = swarm.filter(({ isAlive }) => isAlive);
          const chosen = "at" in act ? alive[act.at % Math.max(1, alive.length)] : undefined;
          if (act.kind === "deliver") await chosen?.step();
          else if (act.kind === "settle") await now().settle();
          else if (act.kind === "join") now().join(`w${numJoined++}`);
          else if (act.kind === "kill") chosen?.kill();
          else if (act.kind === "cut") chosen?.disconnect();
          else if (act.kind === "connect") chosen?.connect(now().run);
          else if (act.kind === "retire") chosen?.retire();
          else if (act.kind === "restart") {
            await now().settle(); // the store is one object here: a write that death cut short is the store's own test
            restart(act);
          } else if (act.kind === "fault" && !isFaulty && chosen) {
            chosen.fault = "collective";
            isFaulty = true; // one, so that the limit of retries is not what is tested
          }
        }
        for (let rounds = 0; !now().outcome(); rounds++) {
          expect(rounds).toBeLessThan(200);
          for (const worker of swarm) if (worker.isAlive && !worker.isConnected) worker.connect(now().run);
          if (!swarm.some(({ isAlive }) => isAlive)) now().join(`w${numJoined++}`);
          if (now().run.status().generation === 0)
            while (swarm.filter(({ isAlive }) => isAlive).length < workers) now().join(`w${numJoined++}`);
          now().clock.nowMs += 600; // those of the last generation are not waited for any longer
          for (const worker of swarm)
            now().run.receive(worker.incarnation, { kind: "heartbeat", step: 0, phase: "idle", phaseMs: 0, idleMs: 0, waits: true });
          now().run.tick();
          await now().drain();
        }
        expect(now().outcome()).toMatchObject({ kind: "finished", step: NUM_STEPS, checkpointStep: NUM_STEPS });
        const audit = auditJournal(lines());
        expect(audit.faults).toEqual([]);
        expect(audit.commits).toHaveLength(NUM_STEPS);
        expect(fromWords((await store.load("latest")).files.model.get("parameters"))).toBe(reference(NUM_STEPS));
        for (const worker of swarm) if (worker.stop?.outcome === "finished") expect(worker.parameters).toBe(reference(NUM_STEPS));
      }),
      { numRuns: 300 },
    );
  }, 60_000);
});
