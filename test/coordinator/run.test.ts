/**
 * The run's state machine against workers that the test holds by the hand: whatever is killed, joins late or fails in between,
 * every step counts once, all workers hold the same parameters, and the run ends as it should.
 */
import { describe, expect, test } from "vitest";
import { createMemoryCheckpointStore } from "../../src/checkpoint/store.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import type { SwarmWorker } from "../kit/swarm.js";
import { NUM_STEPS, plan, reference, settle, setUp } from "./kit.js";

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
    const { journal, swarm, join, drain, run, outcome } = setUp({ workers: 1 });
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
    const { clock, join, drain, run, outcome, swarm } = setUp({ workers: 2, minWorkers: 2 });
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
