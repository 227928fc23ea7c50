/** Speeds, the spacing of checkpoints, the run's lineage and a returning worker's hello: pure decisions and their laws. */

import { describe, expect, test } from "vitest";
import { Lineage } from "../../src/coordinator/lineage.js";
import { recognise } from "../../src/coordinator/returning.js";
import { daly, optimalIntervalMs } from "../../src/coordinator/schedule.js";
import { Speeds } from "../../src/coordinator/speeds.js";
import type { Hello } from "../../src/wire/messages.js";
import * as fc from "../kit/property.js";

describe("speeds", () => {
  /** Steps of workers that take so many ms a sample. */
  function watch(slices: "equal" | "measured", msPerSample: number[], numSteps: number) {
    const speeds = new Speeds(slices);
    const members = msPerSample.map((_, rank) => `i${rank}`);
    const weights = speeds.weights(members);
    for (let step = 0; step < numSteps; step++) {
      const share = 30 / members.length;
      speeds.committed(
        members,
        weights,
        msPerSample.map((ms) => ({ gradient: ms * share, reduce: 99 })),
        30,
      );
    }
    return { speeds, members, weights };
  }

  test("the slow one is named, with the others' time and the share of the step that they wait", () => {
    const { speeds, members } = watch("equal", [10, 10, 25], 20);
    expect(speeds.slow(members, (incarnation) => incarnation)).toMatchObject({ worker: "i2", ownMs: 250, medianMs: 100, share: 0.6 });
    expect(speeds.slow(members, (incarnation) => incarnation)).toBeNull(); // once in a while
    const alike = watch("equal", [10, 11, 12], 20);
    expect(alike.speeds.slow(alike.members, String)).toBeNull();
  });

  test("measured slices are in proportion to speed, and are cut anew only when it pays", () => {
    const { speeds, members, weights } = watch("measured", [10, 10, 20], 20);
    expect(weights).toEqual([1, 1, 1]);
    expect(speeds.reweighting(members, weights)).toBe("slices are cut anew by measured speed: the step becomes 40 % shorter");
    expect(speeds.weights(members)).toEqual([1.2, 1.2, 0.6]);
    expect(watch("equal", [10, 10, 20], 20).speeds.reweighting(members, weights)).toBeNull();
    expect(watch("measured", [10, 10, 10.5], 20).speeds.reweighting(members, weights)).toBeNull();
  });
});

describe("the interval of checkpoints", () => {
  /** Expected time lost a unit of time, by simulating every failure moment: saving, and what is computed again. */
  const lost = (interval: number, save: number, mtbf: number): number => {
    // Exponential failures: expected time for one interval and its save, Daly's equation 20 without restart time.
    const total = mtbf * (Math.exp((interval + save) / mtbf) - 1);
    return total / interval - 1;
  };

  test.each([
    [5, 3_600],
    [60, 3_600],
    [300, 1_800],
    [1, 86_400],
  ])("Daly's estimate for saves of %d s and failures each %d s loses least, within 1 %% of the numerical optimum", (save, mtbf) => {
    let best = Number.POSITIVE_INFINITY;
    for (let interval = 1; interval < 4 * mtbf; interval *= 1.01) best = Math.min(best, lost(interval, save, mtbf));
    expect(lost(daly(save, mtbf), save, mtbf)).toBeLessThan(1.01 * best);
    expect(daly(save, mtbf)).toBeCloseTo(Math.sqrt(2 * save * mtbf), -Math.log10(2 * save)); // Young's, to first order
  });

  test("failures shorten it, slow saves lengthen it, and saving never takes more than a tenth of the time", () => {
    const schedule = { everySteps: "auto", priorMtbfMs: 6 * 3_600_000 } as const;
    const at = (numFailures: number, saveMs: number): number => optimalIntervalMs({ elapsedMs: 3_600_000, numFailures, saveMs }, schedule);
    expect(at(10, 1_000)).toBeLessThan(at(0, 1_000));
    expect(at(0, 9_000)).toBeGreaterThan(at(0, 1_000));
    expect(at(1e9, 1_000)).toBe(10_000);
    expect(optimalIntervalMs({ elapsedMs: 0, numFailures: 0, saveMs: null }, schedule)).toBe(60_000);
  });
});

describe("the lineage", () => {
  test("a state counts as long as the run came through it", () => {
    const lineage = new Lineage();
    lineage.begin(1, 0);
    for (let step = 0; step < 6; step++) lineage.commit(step);
    lineage.begin(2, 6);
    lineage.commit(6);
    expect([
      lineage.has({ generation: 1, step: 6 }),
      lineage.has({ generation: 1, step: 7 }),
      lineage.has({ generation: 2, step: 7 }),
    ]).toEqual([true, false, true]);
    expect([lineage.isCommitted(1, 5), lineage.isCommitted(1, 6), lineage.isCommitted(2, 6)]).toEqual([true, false, true]);
    lineage.begin(3, 4); // back to a checkpoint
    expect([
      lineage.has({ generation: 1, step: 4 }),
      lineage.has({ generation: 1, step: 5 }),
      lineage.has({ generation: 2, step: 6 }),
    ]).toEqual([true, false, false]);
    lineage.forget(2); // the guard goes back: what was computed with other settings counts nowhere
    expect([lineage.step, lineage.has({ generation: 1, step: 2 })]).toEqual([2, false]);
  });

  test("two states of one step that both count are the same state: a step is committed in one generation", () => {
    const action = fc.oneof(fc.constant("commit" as const), fc.record({ back: fc.nat(3) }));
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const lineage = new Lineage();
        let generation = 1;
        lineage.begin(generation, 0);
        for (const act of actions) {
          if (act === "commit") lineage.commit(lineage.step);
          else lineage.begin(++generation, Math.max(0, lineage.step - act.back));
        }
        for (let step = 0; step < lineage.step; step++) {
          const by = Array.from({ length: generation }, (_, i) => i + 1).filter((number) => lineage.isCommitted(number, step));
          expect(by).toHaveLength(1);
          expect(lineage.has({ generation: by[0] as number, step: step + 1 })).toBe(true);
        }
      }),
    );
  });
});

describe("a returning worker", () => {
  const lineage = (): Lineage => {
    const made = new Lineage();
    made.begin(3, 0);
    for (let step = 0; step < 5; step++) made.commit(step);
    return made;
  };
  const hello = (over: Partial<Hello>): Hello => ({
    workerId: "a",
    incarnation: "a1",
    engine: "",
    protocol: 3,
    peerEndpoint: "",
    holdsGeneration: 3,
    holdsStep: 5,
    pendingGeneration: 0,
    pendingStep: 0,
    commits: [],
    ...over,
  });

  test.each([
    ["holds the step", {}, { holds: { generation: 3, step: 5 }, verdict: null, missing: [] }],
    ["holds nothing", { holdsGeneration: 0, holdsStep: 0 }, { holds: null }],
    [
      "waits for a verdict that the journal has",
      { holdsStep: 4, pendingGeneration: 3, pendingStep: 4 },
      { holds: { generation: 3, step: 5 }, verdict: { commit: true, step: 4 } },
    ],
    [
      "waits for one that it hasn't",
      { holdsStep: 5, pendingGeneration: 3, pendingStep: 5 },
      { holds: { generation: 3, step: 5 }, verdict: { commit: false, step: 5 } },
    ],
    [
      "was told of a commit that the journal lost",
      { holdsStep: 6, commits: [{ generation: 3, step: 5, checksum: 7n }] },
      { holds: { generation: 3, step: 6 }, missing: [{ step: 5, checksum: 7n }] },
    ],
    [
      "was told of more than it remembers",
      { holdsStep: 7, commits: [{ generation: 3, step: 6, checksum: 7n }] },
      { holds: null, missing: [] },
    ],
    ["is of a generation that the run never had", { holdsGeneration: 9 }, { holds: null }],
  ] as const)("%s", (_name, over, expected) => {
    expect(recognise(hello(over as Partial<Hello>), lineage(), { canAdopt: true })).toMatchObject(expected);
  });

  test("nothing is taken over once a generation has begun: others may have computed the step otherwise", () => {
    const told = hello({ holdsStep: 6, commits: [{ generation: 3, step: 5, checksum: 7n }] });
    expect(recognise(told, lineage(), { canAdopt: false })).toMatchObject({ holds: null, missing: [] });
  });
});
