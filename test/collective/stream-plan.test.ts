/** Programs for streams, carried out value by value in any order that connections allow: right sums, the same bits, no deadlock. */

import { describe, expect, it } from "vitest";
import { coreSize } from "../../src/collective/peer-plan.js";
import { encodeStages, maxSpinMs, planStreams, type StreamAlgorithm, type StreamStage } from "../../src/collective/stream-plan.js";
import * as fc from "../kit/property.js";

interface RankState {
  readonly values: number[];
  readonly stages: readonly StreamStage[];
  stage: number;
  sent: number;
  received: number;
}

/** The place of the n-th value of some pieces. */
function place(pieces: readonly { readonly from: number; readonly to: number }[], n: number): { index: number; piece: number } {
  let left = n;
  for (const [piece, { from, to }] of pieces.entries()) {
    if (left < to - from) return { index: from + left, piece };
    left -= to - from;
  }
  throw new Error("beyond the last piece");
}

const lengthOf = (pieces: readonly { readonly from: number; readonly to: number }[]): number =>
  pieces.reduce((sum, { from, to }) => sum + to - from, 0);

/** One value sent or received by a rank, where its stage allows it. */
function move(
  ranks: RankState[],
  rank: number,
  wires: Map<string, { round: number; value: number }[]>,
  isSend: boolean,
  room: number,
): boolean {
  const state = ranks[rank] as RankState;
  const stage = state.stages[state.stage];
  if (!stage) return false;
  const first = stage.send[0] ? stage.send[0].to - stage.send[0].from : 0;
  if (isSend) {
    const limit = stage.order === "chained" ? first + state.received : lengthOf(stage.send);
    if (stage.to === null || state.sent >= Math.min(limit, lengthOf(stage.send))) return false;
    const wire = wires.get(`${rank}-${stage.to}`) ?? [];
    wires.set(`${rank}-${stage.to}`, wire);
    if (wire.length >= room) return false;
    wire.push({ round: stage.round, value: state.values[place(stage.send, state.sent).index] as number });
    state.sent++;
    return true;
  }
  const limit = stage.order === "guarded" ? state.sent : lengthOf(stage.receive);
  if (stage.from === null || state.received >= Math.min(limit, lengthOf(stage.receive))) return false;
  const came = wires.get(`${stage.from}-${rank}`)?.shift();
  if (!came) return false;
  expect(came.round).toBe(stage.round);
  const { index, piece } = place(stage.receive, state.received);
  state.values[index] = stage.receive[piece]?.add ? Math.fround((state.values[index] as number) + came.value) : came.value;
  state.received++;
  return true;
}

function settle(state: RankState): void {
  for (;;) {
    const stage = state.stages[state.stage];
    if (!stage) return;
    const isDone =
      (stage.to === null || state.sent === lengthOf(stage.send)) && (stage.from === null || state.received === lengthOf(stage.receive));
    if (!isDone) return;
    Object.assign(state, { stage: state.stage + 1, sent: 0, received: 0 });
  }
}

const world = fc.record({
  worldSize: fc.integer({ min: 1, max: 9 }),
  numValues: fc.integer({ min: 0, max: 40 }),
  algorithm: fc.constantFrom<StreamAlgorithm>("ring", "doubling", "halving"),
  /** Values that a connection holds. */
  room: fc.integer({ min: 1, max: 12 }),
  seed: fc.nat(),
});

describe("programs for streams", () => {
  it("sum with the same bits on all ranks, in whatever order bytes move", () => {
    fc.assert(
      fc.property(world, ({ worldSize, numValues, algorithm, room, seed }) => {
        let state = seed >>> 0;
        const random = (below: number): number => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          return Math.floor((state / 2 ** 32) * below);
        };
        const ranks: RankState[] = Array.from({ length: worldSize }, (_, rank) => ({
          values: Array.from({ length: numValues }, () => Math.fround(random(1000) / 7)),
          stages: planStreams(algorithm, { rank, worldSize, numValues }),
          ...{ stage: 0, sent: 0, received: 0 },
        }));
        const exact = Array.from({ length: numValues }, (_, i) => ranks.reduce((sum, { values }) => sum + (values[i] as number), 0));
        const wires = new Map<string, { round: number; value: number }[]>();
        for (;;) {
          ranks.forEach(settle);
          if (ranks.every(({ stage, stages }) => stage === stages.length)) break;
          const start = random(worldSize);
          const order = random(2);
          let moved = false;
          for (let i = 0; i < 2 * worldSize && !moved; i++) {
            moved = move(ranks, (start + (i >> 1)) % worldSize, wires, ((i + order) & 1) === 0, room);
          }
          if (!moved) throw new Error("nobody can go on");
        }
        for (const { values } of ranks) expect(values).toEqual(ranks[0]?.values);
        for (const [i, value] of ranks[0]?.values.entries() ?? []) expect(value).toBeCloseTo(exact[i] as number, 2);
        for (const wire of wires.values()) expect(wire).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it("send 2 (P-1)/P of the vector round the ring, and as much by halving where P is a power of two", () => {
    for (const algorithm of ["ring", "halving"] as const) {
      for (const worldSize of [2, 4, 8]) {
        const stages = planStreams(algorithm, { rank: 1, worldSize, numValues: 800 });
        expect(worldSize).toBe(coreSize(worldSize));
        expect(stages.reduce((sum, { send }) => sum + lengthOf(send), 0)).toBe((1600 * (worldSize - 1)) / worldSize);
      }
    }
  });

  it("let who waits look again for longer where each rank of its host has a core", () => {
    const endpoints = ["tcp://10.0.0.1:70", "tcp://10.0.0.1:71", "tcp://[fd00::1]:70", "tcp://10.0.0.1:72"];
    expect(maxSpinMs(endpoints, 1, 3)).toBe(0.2);
    expect(maxSpinMs(endpoints, 1, 2)).toBe(0.05);
    expect(maxSpinMs(endpoints, 2, 1)).toBe(0.2);
  });

  it("are lists of numbers for native code", () => {
    expect([...encodeStages(planStreams("ring", { rank: 1, worldSize: 2, numValues: 7 }))]).toEqual(
      [
        [0, 0, 0, 1, 2, 2],
        [3, 4, 0, 3],
        [0, 3, 1],
        [3, 4, 0],
      ].flat(),
    );
    expect([...encodeStages(planStreams("doubling", { rank: 2, worldSize: 3, numValues: 5 }))]).toEqual(
      [
        [0, 0, -1, 0, 1, 0],
        [0, 5],
        [1000, -1, 0, 0, 0, 1],
        [0, 5, 0],
      ].flat(),
    );
  });
});
