/** One coordinator after another: killed at every point of a step, or replaced while it was away, and no step is lost, doubled or taken back. */
import { describe, expect, test } from "vitest";
import { auditJournal } from "../../src/coordinator/audit.js";
import type { SwarmWorker } from "../kit/swarm.js";
import { NUM_STEPS, reference, setUp, setUpSuccession } from "./kit.js";

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
