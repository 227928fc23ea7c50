/** Who hangs, who is silent, what broke: the pure decisions by which a worker is let go, and what they are measured by. */

import { describe, expect, test } from "vitest";
import { decideFault, type StepFault } from "../../src/coordinator/faults.js";
import { decideHang, type HangState, type WatchedWorker } from "../../src/coordinator/hang.js";
import { Pace } from "../../src/coordinator/pace.js";
import { Pauses, silenceLimitMs } from "../../src/coordinator/silence.js";
import { Activity } from "../../src/worker/doing.js";
import { Pulse } from "../../src/worker/pulse.js";
import * as fc from "../kit/property.js";

describe("a hang", () => {
  const options = { idle: { factor: 5, floorMs: 2_000 }, busy: { factor: 10, floorMs: 12_000 }, firstMs: 60_000 };
  const worker = (rank: number, over: Partial<WatchedWorker>): WatchedWorker => ({
    workerId: `w${rank}`,
    incarnation: `i${rank}`,
    rank,
    phase: "gradient",
    phaseMs: 0,
    idleMs: 0,
    waits: false,
    expectedMs: 500,
    ...over,
  });
  const decide = (workers: WatchedWorker[], over: Partial<HangState> = {}) =>
    decideHang({ workers, stageMs: 0, stageExpectedMs: 600, ready: null, ...over }, options);

  test("is a multiple of what the phase took lately, of a thread that computes without a processor", () => {
    const waiting = worker(0, { phase: "reduce", waits: true, phaseMs: 1e6, idleMs: 1e6 });
    expect(decide([waiting, worker(1, { phaseMs: 2_500, idleMs: 2_500 })])[0]).toEqual({ kind: "none" });
    expect(decide([waiting, worker(1, { phaseMs: 2_600, idleMs: 2_501 })])).toEqual([
      { kind: "evict", incarnation: "i1" },
      "rank 1 (w1) hangs in 'gradient' for 2.6 s, without a processor for 2.5 s; the longest lately took 0.5 s",
    ]);
  });

  test("of one that uses the processor comes later: it may only be slow", () => {
    expect(decide([worker(0, { phaseMs: 12_000, idleMs: 100 })])[0]).toEqual({ kind: "none" });
    expect(decide([worker(0, { phaseMs: 12_001, idleMs: 100 })])[0]).toEqual({ kind: "evict", incarnation: "i0" });
    expect(decide([worker(0, { phaseMs: 20_000, idleMs: 100, expectedMs: 2_000 })])[0]).toEqual({ kind: "none" });
  });

  test("of what was never seen has a long limit of its own", () => {
    expect(decide([worker(0, { phaseMs: 60_000, idleMs: 60_000, expectedMs: null })])[0]).toEqual({ kind: "none" });
    const [decision, reason] = decide([worker(0, { phaseMs: 60_001, idleMs: 60_001, expectedMs: null })]);
    expect(decision).toEqual({ kind: "evict", incarnation: "i0" });
    expect(reason).toContain("none was seen to end in this run");
  });

  test("where everyone waits for the others the step comes again; while a generation forms, who is not ready is let go", () => {
    const workers = [worker(0, { phase: "reduce", waits: true }), worker(1, { phase: "vote", waits: true })];
    expect(decide(workers, { stageMs: 12_000 })[0]).toEqual({ kind: "none" });
    expect(decide(workers, { stageMs: 12_001 })).toEqual([
      { kind: "retry" },
      "the step has been going on for 12 s and everyone waits: w0 in 'reduce', w1 in 'vote'",
    ]);
    expect(decide(workers, { stageMs: 12_001, ready: new Set([0]) })[0]).toEqual({ kind: "evict", incarnation: "i1" });
    expect(decide(workers, { stageMs: 60_000, stageExpectedMs: null, ready: new Set([0]) })[0]).toEqual({ kind: "none" });
  });

  test("is never found in a thread that waits, nor in one that was heard of within the floor", () => {
    const anyWorker = fc.record({ phaseMs: fc.nat(1e6), idleMs: fc.nat(1e6), waits: fc.boolean(), expectedMs: fc.option(fc.nat(1e5)) });
    fc.assert(
      fc.property(fc.array(anyWorker, { minLength: 1, maxLength: 4 }), fc.nat(1e6), (drawn, stageMs) => {
        const workers = drawn.map((each, rank) => worker(rank, { ...each, idleMs: Math.min(each.idleMs, each.phaseMs) }));
        const [decision, reason] = decide(workers, { stageMs });
        if (decision.kind !== "evict") return;
        const accused = workers.find(({ incarnation }) => incarnation === decision.incarnation);
        expect(accused?.waits).toBe(false);
        expect(accused?.phaseMs).toBeGreaterThan(options.idle.floorMs);
        expect(reason).toContain(accused?.workerId);
      }),
    );
  });
});

describe("the pace of a run", () => {
  const step = (gradient: number, { isFirst = false, share = 0.5, stepMs = gradient } = {}) => ({
    phasesMs: [{ gradient }, { gradient: gradient / 2 }],
    isFirst: [isFirst, isFirst],
    share,
    stepMs,
  });

  test("is the longest of the last steps; first steps are kept apart", () => {
    const pace = new Pace();
    expect(pace.phaseMs("gradient", 0.5, { isFirst: true })).toBeNull();
    pace.committed(step(9_000, { isFirst: true }));
    expect(pace.phaseMs("gradient", 0.5, { isFirst: false })).toBeNull();
    for (const ms of [100, 300, 200]) pace.committed(step(ms));
    expect(pace.phaseMs("gradient", 0.5, { isFirst: false })).toBe(300);
    expect(pace.phaseMs("gradient", 0.5, { isFirst: true })).toBe(9_000);
    expect(pace.stepMs(0.5, { isFirst: false })).toBe(300);
    expect(pace.phaseMs("sample", 0.5, { isFirst: false })).toBeNull();
    for (let i = 0; i < 64; i++) pace.committed(step(100));
    expect(pace.phaseMs("gradient", 0.5, { isFirst: false })).toBe(100);
  });

  test("grows with a worker's share of the batch, and does not shrink with it", () => {
    const pace = new Pace();
    pace.committed(step(100, { share: 0.25 }));
    expect(pace.phaseMs("gradient", 1, { isFirst: false })).toBe(400);
    expect(pace.phaseMs("gradient", 0.125, { isFirst: false })).toBe(100);
  });

  test("of forming a generation is by what its members start from", () => {
    const pace = new Pace();
    pace.formed("keep", 30);
    pace.formed("heal", 900);
    expect([pace.formingMs("keep"), pace.formingMs("heal"), pace.formingMs("checkpoint")]).toEqual([30, 900, null]);
  });
});

describe("what a heartbeat tells", () => {
  const EVERY = 100;
  function setUp() {
    const clock = { nowMs: 0, usedMs: 0 };
    const pulse = new Pulse();
    const activity = new Activity(pulse, { now: () => clock.nowMs, cpuMs: () => clock.usedMs });
    /** Time passes, with a heartbeat in each interval. */
    const beat = (intervals: number, share: number) => {
      let told = activity.describe(EVERY);
      for (let i = 0; i < intervals; i++) {
        clock.nowMs += EVERY;
        clock.usedMs += share * EVERY;
        told = activity.describe(EVERY);
      }
      return told;
    };
    return { clock, activity, pulse, beat };
  }

  test("a thread that computes is busy; one that hangs uses no processor", () => {
    const { activity, beat } = setUp();
    activity.phase("gradient");
    expect(beat(10, 1)).toEqual({ phase: "gradient", phaseMs: 1_000, idleMs: 0, waits: false });
    expect(beat(10, 0.01)).toEqual({ phase: "gradient", phaseMs: 2_000, idleMs: 1_000, waits: false });
    activity.heard();
    expect(beat(1, 0)).toMatchObject({ phaseMs: 100, idleMs: 100 });
  });

  test("a thread that asks waits until it is answered, whatever it was doing", async () => {
    const { activity, beat } = setUp();
    activity.phase("data");
    let answer: () => void = () => {};
    const asked = activity.waitsFor(
      new Promise<void>((resolve) => {
        answer = resolve;
      }),
    );
    expect(beat(5, 0)).toMatchObject({ phase: "data", waits: true });
    answer();
    await asked;
    expect(beat(5, 0)).toMatchObject({ phase: "data", phaseMs: 500, waits: false });
  });

  test("what the thread does between its messages is felt, and supersedes what it was given to do", () => {
    const { activity, pulse, beat } = setUp();
    activity.phase("wait");
    new Pulse(pulse.memory).begin("attack"); // as in the other thread
    expect(beat(0, 0)).toMatchObject({ phase: "attack", phaseMs: 0, waits: false });
    expect(beat(4, 0)).toMatchObject({ phase: "attack", phaseMs: 400 });
    pulse.wait(true);
    expect(beat(0, 0)).toMatchObject({ phase: "attack", phaseMs: 0, waits: true });
    pulse.wait(false);
    activity.phase("heal");
    expect(beat(2, 0)).toMatchObject({ phase: "heal", phaseMs: 200, waits: false });
  });

  test("time in which the process was stopped doesn't count", () => {
    const { clock, activity, beat } = setUp();
    activity.phase("gradient");
    beat(3, 1);
    clock.nowMs += 60_000; // SIGSTOP, SIGCONT
    expect(activity.describe(EVERY)).toMatchObject({ phaseMs: 300, idleMs: 0 });
  });
});

describe("silence", () => {
  const options = { floorMs: 5_000, ceilingMs: 15_000 };

  test("the limit follows the longest pause, between a floor and a ceiling", () => {
    expect([0, 1_000, 2_000, 60_000].map((pauseMs) => silenceLimitMs(pauseMs, options))).toEqual([5_000, 5_000, 8_000, 15_000]);
  });

  test("pauses are those of the last heartbeats; one that was mine is none", () => {
    const pauses = new Pauses();
    pauses.heard(0); // its session began
    expect(silenceLimitMs(pauses.longestMs, options)).toBe(15_000);
    for (const nowMs of [1_000, 3_500, 4_500]) pauses.heard(nowMs);
    expect(pauses.longestMs).toBe(2_500);
    pauses.passOver(30_000);
    pauses.heard(35_500);
    expect(pauses.longestMs).toBe(2_500);
    for (let i = 1; i <= 64; i++) pauses.heard(35_500 + 1_000 * i);
    expect(pauses.longestMs).toBe(1_000);
  });
});

describe("a fault at a step", () => {
  const batch = Uint32Array.from({ length: 12 }, (_, i) => 100 + i);
  const fault = (generation: number, from: number, to: number, reason = "out of memory"): StepFault => ({
    worker: `w${generation}`,
    generation,
    positions: { from, to },
    reason,
  });
  const decide = (faults: StepFault[], canSpareOne = true) => decideFault({ step: 7, faults, batch, canSpareOne });

  test("is its worker's, as long as nothing speaks against it", () => {
    expect(decide([fault(1, 4, 8)])).toEqual([{ kind: "evict" }, "out of memory"]);
    expect(decide([fault(1, 4, 8), fault(2, 6, 12)])[0]).toEqual({ kind: "evict" });
  });

  test("is the step's when the same error came three times where the same samples were; they are named", () => {
    const poisoned = [fault(1, 4, 8, "rank 1, step 7: bad sample 0x3f"), fault(2, 6, 12, "rank 1, step 7: bad sample 0x51")];
    expect(decide([...poisoned, fault(3, 0, 12, "rank 0, step 7: bad sample 0x7")])).toEqual([
      { kind: "fail" },
      "rank 0, step 7: bad sample 0x7; the same error came in 3 attempts at step 7, each time where positions 6 to 7 of the batch (samples 106, 107) were computed",
    ]);
  });

  test.each([
    ["other positions each time", [fault(1, 0, 4), fault(2, 6, 12), fault(3, 4, 8)]],
    ["another error", [fault(1, 0, 12), fault(2, 0, 12, "the thread ended"), fault(3, 0, 12)]],
    ["several in one attempt", [fault(1, 0, 12), fault(2, 0, 12), fault(2, 0, 12)]],
  ])("stays the workers' with %s", (_name, faults) => {
    expect(decide(faults)[0]).toEqual({ kind: "evict" });
  });

  test("six attempts are enough, whatever they broke with", () => {
    const faults = Array.from({ length: 6 }, (_, i) => fault(i, i, i + 1, `error ${"abcdef"[i]}`));
    expect(decide(faults.slice(0, 5))[0]).toEqual({ kind: "evict" });
    expect(decide(faults)).toEqual([{ kind: "fail" }, "error f; this was attempt 6 at step 7; it broke before on w0, w1, w2, w3, w4"]);
  });

  test("ends the run where nobody is left, with all that broke", () => {
    expect(decide([fault(1, 0, 6), fault(2, 0, 12, "no device")], false)).toEqual([
      { kind: "fail" },
      "no device; no worker is left to go on without it; it broke before on w1",
    ]);
  });

  test("a position that breaks every worker is found within six attempts, and always among those that are named", () => {
    const attempt = fc.record({ worldSize: fc.integer({ min: 1, max: 6 }) });
    fc.assert(
      fc.property(fc.nat(11), fc.array(attempt, { minLength: 6, maxLength: 6 }), (poisoned, attempts) => {
        const faults: StepFault[] = [];
        for (const [generation, { worldSize }] of attempts.entries()) {
          const rank = Math.floor((poisoned * worldSize) / 12);
          faults.push(fault(generation, Math.ceil((rank * 12) / worldSize), Math.ceil(((rank + 1) * 12) / worldSize)));
          const [decision, reason] = decide(faults);
          if (decision.kind !== "fail") continue;
          expect(faults).toHaveLength(3);
          const [from, to] = /positions (\d+) to (\d+) /.exec(reason)?.slice(1).map(Number) ?? [];
          expect(from).toBeLessThanOrEqual(poisoned);
          expect(to).toBeGreaterThanOrEqual(poisoned);
          return;
        }
        expect.unreachable("the run went on");
      }),
    );
  });
});
