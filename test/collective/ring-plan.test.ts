/** The plan played through on sets instead of numbers: who has contributed to what, for any world size and length. */

import { describe, expect, it } from "vitest";
import { ringArrivals, ringDepartures, segmentRange } from "../../src/collective/ring-plan.js";
import * as fc from "../kit/property.js";
import { at } from "./rings.js";

const shapes = fc.record({
  worldSize: fc.integer({ min: 1, max: 12 }),
  numValues: fc.integer({ min: 0, max: 90 }),
  chunkLength: fc.integer({ min: 1, max: 40 }),
});

interface Sent {
  readonly round: number;
  readonly chunk: number;
  readonly from: number;
  readonly to: number;
  readonly contributions: readonly string[];
}

/** Each rank's vector after the collective, an element being the sorted list of the ranks added into it; and what each rank sent. */
function play(shape: { readonly worldSize: number; readonly numValues: number; readonly chunkLength: number }) {
  const { worldSize, numValues } = shape;
  const ranks = Array.from({ length: worldSize }, (_, rank) => rank);
  const vectors = ranks.map((rank) => Array.from({ length: numValues }, () => `${rank}`));
  const arrivals = ranks.map((rank) => [...ringArrivals({ ...shape, rank })]);
  const sent: Sent[][] = ranks.map((rank) =>
    [...ringDepartures({ ...shape, rank })].map((departure) => ({
      ...departure,
      contributions: at(vectors, rank).slice(departure.from, departure.to),
    })),
  );
  const taken = ranks.map(() => 0);
  for (let moved = true; moved; ) {
    moved = false;
    for (const rank of ranks) {
      const arrival = at(arrivals, rank)[at(taken, rank)];
      const frame = at(sent, (rank + worldSize - 1) % worldSize)[at(taken, rank)];
      if (arrival === undefined || frame === undefined) continue;
      moved = true;
      taken[rank] = at(taken, rank) + 1;
      expect({ round: frame.round, chunk: frame.chunk, from: frame.from, to: frame.to }).toEqual({
        round: arrival.round,
        chunk: arrival.chunk,
        from: arrival.from,
        to: arrival.to,
      });
      const vector = at(vectors, rank);
      frame.contributions.forEach((contribution, i) => {
        const place = arrival.from + i;
        vector[place] = arrival.action === "replace" ? contribution : `${contribution}+${vector[place]}`;
      });
      if (arrival.sendOn) {
        const { round, chunk, from, to } = arrival;
        at(sent, rank).push({ round: round + 1, chunk, from, to, contributions: vector.slice(from, to) });
      }
    }
  }
  return { vectors, sent, arrivals, taken };
}

describe("the ring's plan", () => {
  it("adds each rank exactly once to each element, in the same order everywhere", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const { vectors } = play(shape);
        for (const vector of vectors) {
          expect(vector).toEqual(at(vectors, 0));
          for (const element of vector) {
            const ranks = element.split("+").map(Number);
            expect(ranks.sort((a, b) => a - b)).toEqual(Array.from({ length: shape.worldSize }, (_, rank) => rank));
          }
        }
      }),
    );
  });

  it("delivers everything that is sent, and expects nothing else", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const { sent, arrivals, taken } = play(shape);
        taken.forEach((numTaken, rank) => {
          expect(numTaken).toBe(at(arrivals, rank).length);
          expect(numTaken).toBe(at(sent, (rank + shape.worldSize - 1) % shape.worldSize).length);
        });
      }),
    );
  });

  it("sends 2 (P - 1) / P of the vector from each rank, within a segment's rounding", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        for (const frames of play(shape).sent) {
          const numSent = frames.reduce((sum, { from, to }) => sum + to - from, 0);
          const ideal = (2 * (shape.worldSize - 1) * shape.numValues) / shape.worldSize;
          expect(Math.abs(numSent - ideal)).toBeLessThanOrEqual(2);
        }
      }),
    );
  });

  it("has no empty chunk and none above the limit", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        for (const { from, to } of play(shape).sent.flat()) {
          expect(to - from).toBeGreaterThan(0);
          expect(to - from).toBeLessThanOrEqual(shape.chunkLength);
        }
      }),
    );
  });

  it("writes to a chunk that was sent only when the sum that contains it has come round", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        for (let rank = 0; rank < shape.worldSize; rank++) {
          const place = { ...shape, rank };
          const out = new Set([...ringDepartures(place)].map(({ from }) => from)); // sent from the vector, not known to have arrived
          for (const { from, action } of ringArrivals(place)) {
            if (out.has(from)) expect(action).toBe("replace");
            if (action === "add") out.add(from);
          }
        }
      }),
    );
  });

  it("covers the vector with segments, in order", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        let covered = 0;
        for (let segment = 0; segment < shape.worldSize; segment++) {
          const { from, to } = segmentRange({ ...shape, rank: 0 }, segment);
          expect(from).toBe(covered);
          covered = to;
        }
        expect(covered).toBe(shape.numValues);
      }),
    );
  });
});
