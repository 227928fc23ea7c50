import { describe, expect, it } from "vitest";
import { answerOf, crossEntropyLoss, dlrLoss, type LogitLoss, marginLoss, ranked, targetedDlrLoss } from "../../src/attack/logit-loss.js";
import * as fc from "../kit/property.js";

const losses: readonly (readonly [string, LogitLoss])[] = [
  ["cross-entropy", crossEntropyLoss([2])],
  ["margin", marginLoss([2])],
  ["dlr", dlrLoss([2])],
  ["targeted dlr", targetedDlrLoss([2], [0])],
];

// Distinct by more than the difference quotient's step, so that no rank changes within it; multiples of 1/16 are exact in float32.
const logits = fc
  .uniqueArray(fc.integer({ min: -160, max: 160 }), { minLength: 5, maxLength: 7 })
  .map((values) => Float32Array.from(values, (value) => value / 16));

describe("losses of logits", () => {
  it.each(losses)("%s has the gradient that finite differences give", (_name, loss) => {
    fc.assert(
      fc.property(logits, (z) => {
        const gradient = new Float64Array(z.length);
        loss(z, 0, gradient);
        const step = 2 ** -10;
        const unused = new Float64Array(z.length);
        for (let k = 0; k < z.length; k++) {
          const [up, down] = [z.slice(), z.slice()];
          up[k] = (z[k] as number) + step;
          down[k] = (z[k] as number) - step;
          const slope = (loss(up, 0, unused) - loss(down, 0, unused)) / (2 * step);
          expect(Math.abs((gradient[k] as number) - slope)).toBeLessThan(1e-3 * Math.max(1, Math.abs(slope)));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("are, for logits 4, 1, 3, 2 and label 1, what the formulas give by hand", () => {
    const z = Float32Array.of(4, 1, 3, 2);
    const g = new Float64Array(4);
    expect(crossEntropyLoss([1])(z, 0, g)).toBeCloseTo(Math.log(Math.E ** 4 + Math.E + Math.E ** 3 + Math.E ** 2) - 1, 10);
    expect(marginLoss([1])(z, 0, g)).toBe(3);
    expect(dlrLoss([1])(z, 0, g)).toBeCloseTo(3 / (4 - 2), 10);
    expect(targetedDlrLoss([1], [2])(z, 0, g)).toBeCloseTo((3 - 1) / (4 - (2 + 1) / 2), 10);
  });

  it.each(losses.slice(2))("%s stays the same when logits are shifted and scaled", (_name, loss) => {
    const z = Float32Array.of(4, -1, 3, 2, 0.5);
    const g = new Float64Array(5);
    const value = loss(z, 0, g);
    const moved = z.map((v) => 16 * v + 3);
    expect(loss(moved, 0, g)).toBeCloseTo(value, 6);
  });

  it("rank equal logits by class, and answer with the first of the largest", () => {
    expect(ranked([1, 3, 3, 0])).toEqual([1, 2, 0, 3]);
    expect(answerOf([1, 3, 3, 0])).toBe(1);
    expect(answerOf([Number.NaN, Number.NaN])).toBe(-1);
  });
});
