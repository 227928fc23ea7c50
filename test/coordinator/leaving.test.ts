/** A worker that is told to leave: it goes after the step under way, and where it is needed, only when the state is saved. */
import { describe, expect, test } from "vitest";
import { NUM_STEPS, reference, setUp } from "./kit.js";

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
