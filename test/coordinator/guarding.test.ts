/** The guard in the run's state machine: all workers go back together, what was changed outlives the process, and the journal accounts for it. */
import { describe, expect, test } from "vitest";
import { type CheckpointStore, createMemoryCheckpointStore } from "../../src/checkpoint/store.js";
import { NO_ADJUSTMENT } from "../../src/config/adjustment.js";
import { guardSchema } from "../../src/config/schema/guard.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import type { Outcome, RunEvent } from "../../src/coordinator/events.js";
import { type Alarm, type AlarmEntry, alarmsOf, condemnedCheckpoints, Guarding } from "../../src/coordinator/guarding.js";
import { createMemoryJournal, type JournalLine } from "../../src/coordinator/journal.js";
import { Run } from "../../src/coordinator/run.js";
import { historyOf, newRun, type Start } from "../../src/coordinator/standing.js";
import { SwarmWorker } from "../kit/swarm.js";
import { drainSwarm, MEMBERSHIP, outcomeOf, plan, RUN, reference } from "./kit.js";

const NUM_STEPS = 20;
const policy = guardSchema.parse({ window: 4, patience: 2, maxAlarms: 2 });
const once = { salt: 1, lrFactor: 0.5, samplerStepsFactor: 2, attackStepsFactor: 1, energyL2: 0.05 };

interface Options {
  readonly store?: CheckpointStore;
  readonly alarms?: readonly AlarmEntry[];
  readonly start?: Start;
  readonly guarded?: boolean;
}

function setUp({ store = createMemoryCheckpointStore({ keepLast: 100 }), alarms = [], start = newRun(), guarded = true }: Options = {}) {
  const journal = createMemoryJournal();
  const events: RunEvent[] = [];
  const told: Alarm[] = [];
  const run = new Run({
    ...RUN,
    numSteps: NUM_STEPS,
    membership: { ...MEMBERSHIP, expectedWorkers: 2, maxWorkers: 2 },
    checkpoints: { everySteps: 3, priorMtbfMs: 1e9 },
    returnTimeoutMs: 0,
    postMortem: async (alarm) => {
      told.push(alarm);
      return "somewhere";
    },
    guard: guarded ? new Guarding({ policy, every: 1, alarms }) : null,
    start,
    journal,
    store,
    now: () => 0,
    onEvent: (event) => events.push(event),
  });
  const swarm: SwarmWorker[] = [];
  for (const id of ["a", "b"]) new SwarmWorker(id, `${id}1`, { run, plan, load: (step) => store.load(step), swarm });
  const drain = (until?: () => boolean): Promise<void> => drainSwarm(swarm, until);
  const outcome = (): Outcome | undefined => outcomeOf(events);
  return { run, journal, store, events, told, swarm, drain, outcome };
}

const metricsOf = (adjustments: number, figures: (step: number) => Record<string, number>) => (step: number, salt: number) => ({
  loss: 1,
  ...(salt < adjustments ? figures(step) : {}),
});

describe("a guarded run", () => {
  test("goes back on all workers to the checkpoint before the trouble, with what the guard changed, and finishes", async () => {
    const { journal, swarm, drain, outcome, store } = setUp();
    for (const worker of swarm)
      worker.metrics = metricsOf(1, (step) => (step >= 11 ? { "guard/saturation": 0.9 } : { "guard/saturation": 0 }));
    await drain();
    expect(outcome()).toMatchObject({ kind: "finished", step: NUM_STEPS });
    const alarm = journal.lines.find((line) => line.event === "alarm");
    // Bad since step 11, seen at step 12; states up to step 9 are trusted.
    expect(alarm).toMatchObject({ step: 13, rule: "saturation", restoredStep: 9, adjustment: once });
    const generations = journal.lines.filter((line) => line.event === "generation");
    expect(generations[1]).toMatchObject({ step: 9, workers: ["a", "b"], restore: "checkpoint" });
    expect(generations[1]?.reason).toMatch(/saturated pixels.* 0\.9, over the limit of 0\.6.*learning rate x 0\.5, Langevin steps x 2/);
    expect(generations[1]?.reason).toMatch(
      /everyone loads the checkpoint of step 9; the steps from 9 to 12 are taken back, since their result was computed before the change$/,
    );
    expect(journal.lines).toContainEqual(expect.objectContaining({ event: "checkpointDeleted", step: 12 }));
    expect(auditJournal(journal.lines)).toMatchObject({ faults: [], numTakenBack: 4 });
    for (const worker of swarm) {
      expect(worker.parameters).toBe(reference(NUM_STEPS));
      expect(worker.adjustments).toEqual([NO_ADJUSTMENT, once]);
    }
    expect((await store.list()).map(({ step }) => step)).toEqual([3, 6, 9, 12, 15, 18, 20]);
  });

  test("a vote that is not finite is an alarm; with the guard off it ends the run", async () => {
    const guarded = setUp();
    await guarded.drain(() => guarded.run.status().step === 7);
    for (const worker of guarded.swarm) worker.fault = "non-finite";
    await guarded.drain();
    expect(guarded.outcome()?.kind).toBe("finished");
    expect(guarded.journal.lines.find((line) => line.event === "alarm")).toMatchObject({ step: 7, rule: "non-finite", restoredStep: 3 });
    expect(guarded.swarm.map(({ parameters }) => parameters)).toEqual([reference(NUM_STEPS), reference(NUM_STEPS)]);

    const bare = setUp({ guarded: false });
    await bare.drain(() => bare.run.status().step === 7);
    for (const worker of bare.swarm) worker.fault = "non-finite";
    await bare.drain();
    expect(bare.outcome()).toMatchObject({ kind: "failed", step: 7 });
  });

  test("without a checkpoint to trust it begins anew, with other random streams", async () => {
    const { journal, swarm, drain, outcome, store } = setUp();
    for (const worker of swarm)
      worker.metrics = metricsOf(1, (step) => (step >= 4 ? { "guard/saturation": 0.9 } : { "guard/saturation": 0.8 }));
    await drain();
    expect(journal.lines.find((line) => line.event === "alarm")).toMatchObject({ restoredStep: 0 });
    expect(journal.lines.filter((line) => line.event === "generation")[1]).toMatchObject({ step: 0, restore: "fresh" });
    expect(outcome()?.kind).toBe("finished");
    expect(swarm[0]?.parameters).toBe(reference(NUM_STEPS));
    expect((await store.list()).map(({ step }) => step)).toEqual([3, 6, 9, 12, 15, 18, 20]);
  });

  test("goes further back each time, and stops after the last allowed alarm with the reason", async () => {
    const { journal, swarm, drain, outcome, told } = setUp();
    for (const worker of swarm) worker.metrics = metricsOf(9, (step) => ({ "guard/saturation": step >= 11 ? 0.9 : 0 }));
    await drain();
    expect(outcome()).toMatchObject({ kind: "failed" });
    expect(outcome()?.reason).toMatch(
      /^the training diverged: step \d+: the share of saturated pixels.*alarm 3, and the guard takes a run back 2 times at most; post-mortem in somewhere$/,
    );
    expect(told).toMatchObject([{ kind: "stop", rule: "saturation" }]);
    const alarms = alarmsOf(journal.lines);
    expect(alarms.map(({ restoredStep }) => restoredStep)).toEqual([9, 6]);
    expect(alarms[1]?.adjustment).toEqual({ salt: 2, lrFactor: 0.25, samplerStepsFactor: 4, attackStepsFactor: 1, energyL2: 0.1 });
  });

  test("counts alarms and keeps what they changed when the run is taken up again", async () => {
    const first = setUp();
    for (const worker of first.swarm) worker.metrics = metricsOf(1, (step) => ({ "guard/saturation": step >= 11 ? 0.9 : 0 }));
    await first.drain(() => first.journal.lines.some((line) => line.event === "checkpoint" && line.step === 15));
    const alarms = alarmsOf(first.journal.lines);
    const again = setUp({ store: first.store, alarms, start: { ...historyOf(first.journal.lines), members: [], checkpointStep: 15 } });
    await again.drain();
    expect(again.outcome()?.kind).toBe("finished");
    expect(again.swarm.map(({ adjustments }) => adjustments)).toEqual([[once], [once]]);
  });
});

test("checkpoints that an alarm condemned are told from those that were saved after it", () => {
  const time = "";
  const checkpoint = (step: number): JournalLine => ({ time, event: "checkpoint", step, path: "", ms: 0 });
  const alarm = (restoredStep: number): JournalLine => ({
    time,
    event: "alarm",
    step: 99,
    rule: "",
    reason: "",
    restoredStep,
    adjustment: once,
  });
  expect(condemnedCheckpoints([checkpoint(3), checkpoint(6), checkpoint(9)])).toEqual([]);
  expect(condemnedCheckpoints([checkpoint(3), checkpoint(6), checkpoint(9), alarm(3)])).toEqual([6, 9]);
  expect(condemnedCheckpoints([checkpoint(3), checkpoint(6), checkpoint(9), alarm(3), checkpoint(6)])).toEqual([9]);
  expect(condemnedCheckpoints([checkpoint(3), alarm(0)])).toEqual([3]);
});
