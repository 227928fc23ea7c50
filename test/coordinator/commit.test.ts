/** A step commits everywhere or nowhere: the decision on the ballots of one generation. */

import { describe, expect, test } from "vitest";
import { type CommitState, compareToPlan, decideCommit } from "../../src/coordinator/commit.js";
import type { BallotMessage } from "../../src/wire/messages.js";
import * as fc from "../kit/property.js";

const batch = Uint32Array.of(7, 3, 9, 1);
const options = { maxRetries: 2 };

function ballot(sampleIds: number[], over: Partial<BallotMessage> = {}): BallotMessage {
  return { generation: 1, step: 4, ok: true, fault: "none", reason: "", checksum: 5n, metrics: {}, phasesMs: {}, sampleIds, ...over };
}

function state(ballots: (BallotMessage | null)[], over: Partial<CommitState> = {}): CommitState {
  const given = ballots.flatMap((b, rank) => (b ? [[rank, b] as const] : []));
  return {
    step: 4,
    worldSize: ballots.length,
    ballots: new Map(given),
    batch,
    retriesSoFar: 0,
    numSteps: 100,
    stopAsked: null,
    checkpointAsked: false,
    ...over,
  };
}

const both = [ballot([7, 3]), ballot([9, 1])];

describe("the verdict on a step", () => {
  test("waits for every rank", () => {
    expect(decideCommit(state([ballot([7, 3]), null]), options)).toEqual([{ kind: "wait" }, "1 of 2 have voted"]);
  });

  test("commits when all voted for it", () => {
    expect(decideCommit(state(both), options)).toEqual([{ kind: "commit", checkpoint: false, next: "goOn" }, "all 2 voted for it"]);
  });

  test("names the rank whose engine broke, without waiting for the others", () => {
    const broken = ballot([], { ok: false, fault: "engine", reason: "out of memory" });
    expect(decideCommit(state([null, broken]), options)).toEqual([{ kind: "broken", rank: 1 }, "rank 1, step 4: out of memory"]);
  });

  test("saves where a checkpoint is due", () => {
    expect(decideCommit(state(both, { checkpointAsked: true }), options)[0]).toEqual({ kind: "commit", checkpoint: true, next: "goOn" });
  });

  test("ends after the last step, and when someone asked", () => {
    expect(decideCommit(state(both, { numSteps: 5 }), options)[0]).toEqual({ kind: "commit", checkpoint: true, next: "finish" });
    expect(decideCommit(state(both, { stopAsked: "Ctrl-C" }), options)[0]).toEqual({ kind: "commit", checkpoint: true, next: "stop" });
  });

  test("a collective's fault makes the step come again, without waiting for the others", () => {
    const lost = ballot([], { ok: false, fault: "collective", reason: "rank 0 is gone" });
    expect(decideCommit(state([null, lost]), options)).toEqual([
      { kind: "retry" },
      "rank 1, step 4: the sum over the workers was not finished (rank 0 is gone)",
    ]);
    expect(decideCommit(state([null, lost], { retriesSoFar: 2 }), options)[0]).toEqual({ kind: "fail", code: "NETWORK" });
  });

  test("a number that is not finite stops the run and names rank and step", () => {
    const broken = ballot([9, 1], { ok: false, fault: "non-finite", reason: "loss is NaN" });
    const expected = [{ kind: "fail", code: "DIVERGED" }, "rank 1, step 4: loss is NaN"];
    expect(decideCommit(state([ballot([7, 3]), broken]), options)).toEqual(expected);
  });

  test("parameters that differ stop the run with both values", () => {
    const [decision, reason] = decideCommit(state([ballot([7, 3]), ballot([9, 1], { checksum: 6n })]), options);
    expect(decision).toEqual({ kind: "fail", code: "ENGINE" });
    expect(reason).toContain("0000000000000005 on rank 0");
    expect(reason).toContain("0000000000000006 on rank 1");
  });

  test.each([
    [
      "a sample twice",
      [
        [7, 3],
        [3, 1],
      ],
      "rank 1 took part with sample 3 at position 2, where the plan has 9",
    ],
    ["a sample left out", [[7, 3], [9]], "the workers took part with 3 samples, and the plan has 4"],
    [
      "one too many",
      [
        [7, 3],
        [9, 1, 2],
      ],
      "rank 1 took part with sample 2 at position 4, where the plan has none",
    ],
    [
      "another's slice",
      [
        [9, 1],
        [7, 3],
      ],
      "rank 0 took part with sample 9 at position 0, where the plan has 7",
    ],
  ])("samples that are not the plan's stop the run: %s", (_name, ids, reason) => {
    expect(decideCommit(state(ids.map((each) => ballot(each))), options)).toEqual([
      { kind: "fail", code: "PROTOCOL" },
      `step 4: ${reason}`,
    ]);
  });
});

describe("its laws", () => {
  test("whatever the ballots, a commit means: everyone voted, one checksum, the plan's samples exactly once", () => {
    const anyBallot = fc.record({
      ok: fc.boolean(),
      fault: fc.constantFrom("none", "collective", "non-finite", "engine" as const),
      checksum: fc.constantFrom(5n, 6n),
      sampleIds: fc.oneof(fc.constant([7, 3]), fc.constant([9, 1]), fc.array(fc.nat(10), { maxLength: 4 })),
    });
    fc.assert(
      fc.property(fc.array(fc.option(anyBallot), { minLength: 1, maxLength: 3 }), fc.nat(4), (drawn, retriesSoFar) => {
        const ballots = drawn.map((b) => b && ballot([...b.sampleIds], b as Partial<BallotMessage>));
        const [decision] = decideCommit(state(ballots, { retriesSoFar }), options);
        if (decision.kind !== "commit") return;
        expect(ballots.every((b) => b?.ok)).toBe(true);
        expect(new Set(ballots.map((b) => b?.checksum)).size).toBe(1);
        expect(ballots.flatMap((b) => b?.sampleIds ?? [])).toEqual([...batch]);
      }),
      { numRuns: 500 },
    );
  });

  test("any cut of the batch by rank is the plan's", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { maxLength: 20 }), fc.array(fc.nat(20), { maxLength: 4 }), (ids, cuts) => {
        const at = [0, ...cuts.map((cut) => Math.min(cut, ids.length)).sort((a, b) => a - b), ids.length];
        const ballots = at.slice(1).map((to, rank) => [rank, ballot(ids.slice(at[rank], to))] as const);
        expect(compareToPlan(ballots, Uint32Array.from(ids))).toBeNull();
      }),
    );
  });
});
