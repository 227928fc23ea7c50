/** Who is a member, when a generation begins, and from which state: golden histories of the pure decisions, and their laws. */

import { describe, expect, test } from "vitest";
import {
  type Candidate,
  decideMembership,
  type MembershipOptions,
  type MembershipState,
  ranked,
} from "../../src/coordinator/membership.js";
import { decideRestore } from "../../src/coordinator/restore.js";
import * as fc from "../kit/property.js";

const options: MembershipOptions = {
  expectedWorkers: 3,
  minWorkers: 2,
  maxWorkers: 4,
  joinTimeoutMs: 60_000,
  rejoinTimeoutMs: 10_000,
  silence: { floorMs: 5_000, ceilingMs: 5_000 },
};

/** `a1` is the first process of worker a. */
function candidate(incarnation: string, heardAtMs = 0): Candidate {
  return {
    workerId: incarnation.slice(0, 1),
    incarnation,
    joinedAtMs: 0,
    heardAtMs,
    longestPauseMs: 0,
    isRetiring: incarnation.endsWith("!"),
  };
}

const NOBODY = { workers: [], numBack: 0, untilMs: 0, foundByMs: 0 };

function decide(nowMs: number, present: string[], state: Partial<MembershipState> = {}, heardAtMs = nowMs) {
  const candidates = present.map((incarnation) => candidate(incarnation, heardAtMs));
  return decideMembership(nowMs, { candidates, members: null, awaited: NOBODY, belowMinimumSinceMs: 0, broken: null, ...state }, options);
}

describe("membership, a history", () => {
  test.each([
    ["nobody is here", 0, [], {}, { kind: "wait" }, "0 of 3 workers are here"],
    ["one of three", 10, ["a1"], {}, { kind: "wait" }, "1 of 3 workers are here"],
    ["all of three, by name", 20, ["c1", "a1", "b1"], {}, { kind: "begin", members: ["a1", "b1", "c1"] }, "3 of 3 workers are here"],
    ["the minimum, just before the timeout", 59_999, ["a1", "b1"], {}, { kind: "wait" }, "2 of 3 workers are here"],
    [
      "the minimum, at the timeout",
      60_000,
      ["b1", "a1"],
      {},
      { kind: "begin", members: ["a1", "b1"] },
      "2 of 3 workers are here after 60 s; the minimum is 2",
    ],
    ["too few at the timeout", 60_000, ["a1"], {}, { kind: "giveUp" }, "1 of 3 workers are here after 60 s, and the minimum is 2"],
    ["all go on", 70_000, ["a1", "b1", "c1"], { members: ["a1", "b1", "c1"] }, { kind: "stay" }, "all 3 members are here"],
    [
      "one is lost",
      70_001,
      ["a1", "c1"],
      { members: ["a1", "b1", "c1"] },
      { kind: "begin", members: ["a1", "c1"] },
      "1 of 3 workers gone, 2 to go on",
    ],
    ["a newcomer", 80_000, ["a1", "c1", "b2"], { members: ["a1", "c1"] }, { kind: "regroup" }, "b are let in after this step"],
    [
      "a newcomer beyond the maximum",
      80_000,
      ["a1", "b1", "c1", "d1", "e1"],
      { members: ["a1", "b1", "c1", "d1"] },
      { kind: "stay" },
      "all 4 members are here; 1 more wait, the maximum is 4",
    ],
    [
      "a spare takes a lost one's place",
      80_000,
      ["a1", "b1", "c1", "e1"],
      { members: ["a1", "b1", "c1", "d1"] },
      { kind: "begin", members: ["a1", "b1", "c1", "e1"] },
      "1 of 4 workers gone, 4 to go on",
    ],
    [
      "one that was told to terminate",
      80_000,
      ["a1", "b1", "c1!"],
      { members: ["a1", "b1", "c1!"] },
      { kind: "regroup" },
      "c leave in order after this step",
    ],
    ["one that is needed", 80_000, ["a1", "c1!"], { members: ["a1", "c1!"] }, { kind: "saveAndRelease" }, "c leave, and the minimum is 2"],
    [
      "taken up again: some may still hold the state",
      100,
      ["a1", "b2", "c2"],
      { awaited: { workers: ["d"], numBack: 1, untilMs: 1_000, foundByMs: 11_000 } },
      { kind: "wait" },
      "3 of 3 workers are here; d may still hold the run's state",
    ],
    [
      "taken up again: they were waited for long enough",
      1_000,
      ["a1", "b2", "c2"],
      { awaited: { workers: ["d"], numBack: 1, untilMs: 1_000, foundByMs: 11_000 } },
      { kind: "begin", members: ["a1", "b2", "c2"] },
      "3 of 3 workers are here",
    ],
    [
      "taken up again: one may still come",
      10_999,
      ["a1", "b1"],
      { awaited: { workers: ["c"], numBack: 2, untilMs: 1_000, foundByMs: 11_000 } },
      { kind: "wait" },
      "2 of 3 workers are here",
    ],
    [
      "taken up again: whoever is alive has come",
      11_000,
      ["a1", "b1"],
      { awaited: { workers: ["c"], numBack: 2, untilMs: 1_000, foundByMs: 11_000 } },
      { kind: "begin", members: ["a1", "b1"] },
      "2 of 3 workers are here; of the last generation c did not come back",
    ],
    [
      "taken up again: too few have come",
      11_000,
      ["a1"],
      { awaited: { workers: ["c"], numBack: 1, untilMs: 1_000, foundByMs: 11_000 } },
      { kind: "wait" },
      "1 of 3 workers are here",
    ],
    [
      "taken up again: all that were in it are back",
      100,
      ["a1", "b1"],
      { awaited: { workers: [], numBack: 2, untilMs: 1_000, foundByMs: 11_000 } },
      { kind: "begin", members: ["a1", "b1"] },
      "all 2 workers of the last generation are back",
    ],
    [
      "a loss and a newcomer",
      80_000,
      ["c1", "b2"],
      { members: ["a1", "c1"] },
      { kind: "begin", members: ["c1", "b2"] },
      "1 of 2 workers gone, 2 to go on",
    ],
    [
      "too few are left",
      90_000,
      ["c1"],
      { members: ["a1", "c1"], belowMinimumSinceMs: 89_000 },
      { kind: "wait" },
      "1 workers are left and the minimum is 2",
    ],
    [
      "too few for too long",
      99_000,
      ["c1"],
      { members: ["a1", "c1"], belowMinimumSinceMs: 89_000 },
      { kind: "giveUp" },
      "1 workers are left and the minimum is 2, after a wait of 10 s",
    ],
    [
      "a collective failed",
      99_000,
      ["a1", "c1"],
      { members: ["a1", "c1"], broken: "a frame was lost" },
      { kind: "begin", members: ["a1", "c1"] },
      "a frame was lost",
    ],
    [
      "a second process of one worker",
      99_000,
      ["a1", "c1", "a2"],
      { members: ["a1", "c1"] },
      { kind: "drop", incarnations: ["a1"], fenced: true },
      "a: another process of the same name joined later",
    ],
  ] as const)("%s", (_name, nowMs, present, state, decision, reason) => {
    expect(decide(nowMs, [...present], state as Partial<MembershipState>)).toEqual([decision, reason]);
  });

  test("a silent worker is dropped, one that is heard at the limit is not", () => {
    expect(decide(5_000, ["a1"], { members: ["a1"] }, 0)[0]).toEqual({ kind: "wait" });
    expect(decide(5_001, ["a1"], { members: ["a1"] }, 0)).toEqual([
      { kind: "drop", incarnations: ["a1"], fenced: false },
      "a: silent for more than 5 s",
    ]);
  });
});

describe("membership, its laws", () => {
  const arbitrary = fc.record({
    nowMs: fc.nat(200_000),
    present: fc.uniqueArray(fc.constantFrom("a1", "a2", "b1", "c1", "c2", "d1"), { maxLength: 6 }),
    members: fc.option(fc.uniqueArray(fc.constantFrom("a1", "b1", "c1", "d1"), { minLength: 1 })),
    heardAgoMs: fc.array(fc.nat(6_000), { minLength: 6, maxLength: 6 }),
    since: fc.option(fc.nat(200_000)),
    broken: fc.option(fc.constant("broken")),
  });

  test("a generation has the minimum at least, each worker once, none silent, none fenced", () => {
    fc.assert(
      fc.property(arbitrary, ({ nowMs, present, members, heardAgoMs, since, broken }) => {
        const candidates = present.map((incarnation, i) => candidate(incarnation, nowMs - (heardAgoMs[i] ?? 0)));
        const [decision, reason] = decideMembership(
          nowMs,
          { candidates, members, awaited: NOBODY, belowMinimumSinceMs: since, broken },
          options,
        );
        expect(reason).not.toBe("");
        if (decision.kind !== "begin") return;
        expect(decision.members.length).toBeGreaterThanOrEqual(options.minWorkers);
        const chosen = decision.members.map((incarnation) => candidates.find((c) => c.incarnation === incarnation));
        expect(new Set(chosen.map((c) => c?.workerId)).size).toBe(decision.members.length);
        for (const c of chosen) expect(nowMs - (c?.heardAtMs ?? Number.NEGATIVE_INFINITY)).toBeLessThanOrEqual(options.silence.floorMs);
      }),
    );
  });

  test("whoever stays keeps the order of the ranks", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.constantFrom("a1", "b1", "c1", "d1", "e1")),
        fc.uniqueArray(fc.constantFrom("a1", "b1", "c1", "d1", "e1")),
        (present, members) => {
          const order = ranked(
            present.map((incarnation) => candidate(incarnation)),
            members,
          );
          const stayed = members.filter((incarnation) => present.includes(incarnation));
          expect(order.slice(0, stayed.length)).toEqual(stayed);
          expect([...order].sort()).toEqual([...present].sort());
        },
      ),
    );
  });
});

describe("what a generation starts from", () => {
  const holds = (entries: Record<string, number | null>) => new Map(Object.entries(entries));

  test.each([
    ["nothing was done", { step: 0, holds: holds({ a: null, b: null }), checkpointStep: null }, { step: 0, restore: "fresh", holders: [] }],
    ["all hold the step", { step: 7, holds: holds({ a: 7, b: 7 }), checkpointStep: 5 }, { step: 7, restore: "keep", holders: ["a", "b"] }],
    ["a newcomer", { step: 7, holds: holds({ a: null, b: 7 }), checkpointStep: 7 }, { step: 7, restore: "keep", holders: ["b"] }],
    [
      "one that was away for some steps",
      { step: 7, holds: holds({ a: 6, b: 7 }), checkpointStep: 5 },
      { step: 7, restore: "keep", holders: ["b"] },
    ],
    [
      "only one that was away is left, and it has more than the checkpoint",
      { step: 7, holds: holds({ a: 6, b: null }), checkpointStep: 5 },
      { step: 6, restore: "keep", holders: ["a"] },
    ],
    [
      "only one that was away is left, and the checkpoint has more",
      { step: 7, holds: holds({ a: 3, b: null }), checkpointStep: 5 },
      { step: 5, restore: "checkpoint", holders: [] },
    ],
    [
      "nobody holds it",
      { step: 7, holds: holds({ a: null, b: null }), checkpointStep: 5 },
      { step: 5, restore: "checkpoint", holders: [] },
    ],
    [
      "nobody holds it and nothing was saved",
      { step: 7, holds: holds({ a: null, b: null }), checkpointStep: null },
      { step: 0, restore: "fresh", holders: [] },
    ],
  ] as const)("%s", (_name, state, plan) => {
    expect(decideRestore({ members: ["a", "b"], ...state })[0]).toEqual(plan);
  });

  test("as late as anybody can, and never from a state that a holder lacks", () => {
    const step = fc.nat(5);
    fc.assert(
      fc.property(step, fc.array(fc.option(step), { minLength: 1, maxLength: 4 }), fc.option(step), (now, held, checkpointStep) => {
        const members = held.map((_, i) => `w${i}`);
        const [plan] = decideRestore({ step: now, members, holds: new Map(held.map((h, i) => [`w${i}`, h])), checkpointStep });
        expect(plan.step).toBe(Math.max(0, checkpointStep ?? 0, ...held.map((h) => h ?? 0)));
        if (plan.restore === "keep") expect(plan.holders.length).toBeGreaterThan(0);
        for (const holder of plan.holders) expect(held[Number(holder.slice(1))]).toBe(plan.step);
        if (plan.restore === "checkpoint") expect(plan.step).toBe(checkpointStep);
      }),
    );
  });
});
