/** A worker that hangs, as the run sees it: let go by name and phase, and nobody accused of what the coordinator slept through. */
import { describe, expect, test } from "vitest";
import type { SwarmWorker } from "../kit/swarm.js";
import { setUp } from "./kit.js";

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
