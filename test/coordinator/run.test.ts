/**
 * The run's state machine against workers that the test holds by the hand: whatever is killed, joins late or fails in between,
 * every step counts once, all workers hold the same parameters, and the run ends as it should.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createMemoryCheckpointStore } from "../../src/checkpoint/store.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import type { Outcome, RunEvent } from "../../src/coordinator/events.js";
import { createMemoryJournal } from "../../src/coordinator/journal.js";
import { Run } from "../../src/coordinator/run.js";
import { createPlan } from "../../src/data/plan.js";
import { fromWords, SwarmWorker, trained, UNTRAINED } from "../kit/swarm.js";

const plan = createPlan({ numSamples: 17, shuffleBlock: 4, batchSize: 5, seed: 1n }); // 4 steps an epoch, the last one short
const NUM_STEPS = 9;

function setUp({ workers = 2, minWorkers = 1, rejoinTimeoutMs = 1_000, checkpointEverySteps = 3 } = {}) {
  const journal = createMemoryJournal();
  const store = createMemoryCheckpointStore({ keepLast: 100 });
  const clock = { nowMs: 0 };
  const events: RunEvent[] = [];
  const run = new Run({
    runId: "r",
    name: "test",
    plan,
    numSteps: NUM_STEPS,
    numChains: 6,
    membership: { expectedWorkers: workers, minWorkers, joinTimeoutMs: 1_000, rejoinTimeoutMs, heartbeatTimeoutMs: 5_000 },
    commit: { checkpointEverySteps, maxRetries: 3 },
    start: { checkpointStep: null, generation: 0 },
    journal,
    store,
    describeState: (step) => ({ step }),
    now: () => clock.nowMs,
    onEvent: (event) => events.push(event),
  });
  const swarm: SwarmWorker[] = [];
  const join = (workerId: string, incarnation = `${workerId}1`): SwarmWorker => {
    const worker = new SwarmWorker(workerId, incarnation, { run, plan, load: (step) => store.load(step) });
    swarm.push(worker);
    return worker;
  };
  /** Lets the store work. */
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  };
  /** Lets every message through, until nothing moves or `until` holds. */
  const drain = async (until: () => boolean = () => false): Promise<void> => {
    for (let quiet = 0; quiet < 3; ) {
      const next = swarm.find(({ isAlive, inbox }) => isAlive && inbox.length > 0);
      if (until()) return;
      if (next) await next.step();
      else await settle();
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
    expect(outcome()).toEqual({ kind: "finished", reason: "all 9 steps are done", step: NUM_STEPS, checkpointStep: NUM_STEPS });
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

  test("goes on with the survivors when one is killed in the middle of a step, and says what became of the chains", async () => {
    const { journal, swarm, join, drain, run, outcome } = setUp({ workers: 3 });
    for (const name of ["a", "b", "c"]) join(name);
    await drain(() => run.status().step === 4);
    swarm[1]?.kill();
    await drain();
    expect(outcome()?.kind).toBe("finished");
    expect(auditJournal(journal.lines).faults).toEqual([]);
    const generations = journal.lines.filter((line) => line.event === "generation");
    expect(generations).toHaveLength(2);
    expect(generations[1]).toMatchObject({ step: 4, workers: ["a", "c"], restore: "keep", chains: { kept: 4, startedAnew: 2 } });
    expect(swarm[0]?.parameters).toBe(reference(NUM_STEPS));
    expect(swarm[2]?.parameters).toBe(reference(NUM_STEPS));
  });

  test("lets a newcomer in at the next checkpoint, with the state of the others", async () => {
    const { journal, swarm, join, drain, run, outcome } = setUp({ workers: 1, checkpointEverySteps: 100 });
    join("a");
    await drain(() => run.status().step === 2);
    join("b");
    await drain();
    expect(outcome()?.kind).toBe("finished");
    const generations = journal.lines.filter((line) => line.event === "generation");
    expect(generations[1]).toMatchObject({ step: 3, workers: ["a", "b"], restore: "checkpoint" });
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

  test("gives up when too few are left for too long; what was saved is named", async () => {
    const { clock, join, drain, run, outcome, swarm, settle } = setUp({ workers: 2, minWorkers: 2 });
    join("a");
    join("b");
    await drain(() => run.status().step === 5);
    await settle();
    swarm[0]?.kill();
    expect(outcome()).toBeUndefined();
    clock.nowMs += 1_000;
    run.tick();
    expect(outcome()).toMatchObject({ kind: "failed", step: 5, checkpointStep: 3 });
    expect(outcome()?.reason).toContain("1 workers are left and the minimum is 2");
  });

  test("drops a worker that falls silent", async () => {
    const { clock, join, drain, run, swarm } = setUp({ workers: 2 });
    const [a, b] = [join("a"), join("b")];
    await drain(() => run.status().step === 2);
    clock.nowMs += 4_000;
    run.receive(a.incarnation, { kind: "heartbeat", step: 2, phase: "attack" });
    clock.nowMs += 2_000;
    run.tick();
    expect(b.isAlive).toBe(false);
    expect(run.status().members.map(({ workerId }) => workerId)).toEqual(["a"]);
    expect(swarm[0]?.inbox.at(-1)).toMatchObject({ kind: "generation", worldSize: 1, step: 2, restore: "keep" });
  });

  test("a second process of the same worker fences the first", async () => {
    const { join, drain, run, outcome } = setUp({ workers: 2 });
    const [first] = [join("a"), join("b")];
    await drain(() => run.status().step === 2);
    const second = join("a", "a2");
    expect(first.isAlive).toBe(false);
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
    expect(outcome()).toEqual({ kind: "asked", reason: "Ctrl-C", step: 5, checkpointStep: 5 });
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
    expect(() => run.join({ workerId: "a", incarnation: "a1", engine: "", protocol: 7 }, port)).toThrow(/speaks protocol 7/);
  });
});

describe("a run under faults", () => {
  type Action =
    | { kind: "deliver"; to: number }
    | { kind: "kill"; at: number }
    | { kind: "join" }
    | { kind: "fault"; at: number }
    | { kind: "settle" };
  const action: fc.Arbitrary<Action> = fc.oneof(
    { weight: 20, arbitrary: fc.record({ kind: fc.constant("deliver" as const), to: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill" as const), at: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("join" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("fault" as const), at: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("settle" as const) }) },
  );

  test("whatever happens in whatever order, it finishes with every step counted once and one model", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 150 }), async (workers, actions) => {
        const { run, journal, swarm, join, drain, settle, outcome, store } = setUp({ workers, rejoinTimeoutMs: 1e9 });
        for (let i = 0; i < workers; i++) join(`w${i}`);
        let numJoined = workers;
        let isFaulty = false;
        for (const act of actions) {
          if (outcome()) break;
          const alive = swarm.filter(({ isAlive }) => isAlive);
          const chosen = (index: number): SwarmWorker | undefined => alive[index % Math.max(1, alive.length)];
          if (act.kind === "deliver") await chosen(act.to)?.step();
          else if (act.kind === "settle") await settle();
          else if (act.kind === "join") join(`w${numJoined++}`);
          else if (act.kind === "kill") chosen(act.at)?.kill();
          else if (!isFaulty) {
            const worker = chosen(act.at);
            if (worker) worker.fault = "collective";
            isFaulty = true; // one, so that the limit of retries is not what is tested
          }
        }
        while (!outcome()) {
          if (!swarm.some(({ isAlive }) => isAlive)) join(`w${numJoined++}`);
          if (run.status().generation === 0) while (swarm.filter(({ isAlive }) => isAlive).length < workers) join(`w${numJoined++}`);
          await drain();
        }
        expect(outcome()).toMatchObject({ kind: "finished", step: NUM_STEPS, checkpointStep: NUM_STEPS });
        const audit = auditJournal(journal.lines);
        expect(audit.faults).toEqual([]);
        expect(audit.commits).toHaveLength(NUM_STEPS);
        expect(fromWords((await store.load("latest")).files.model.get("parameters"))).toBe(reference(NUM_STEPS));
        for (const worker of swarm) if (worker.stop) expect(worker.parameters).toBe(reference(NUM_STEPS));
      }),
      { numRuns: 150 },
    );
  });
});
