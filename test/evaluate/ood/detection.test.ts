/** Detection figures against hand-made examples, pair counting, and their symmetries. */

import { describe, expect, it } from "vitest";
import { detection } from "../../../src/evaluate/ood/detection.js";
import * as fc from "../../kit/property.js";

describe("detection", () => {
  it("of separated scores is perfect, and turned round it is the worst", () => {
    expect(detection([3, 4, 5], [1, 2])).toEqual({ numKnown: 3, numOther: 2, auroc: 1, auprKnown: 1, auprOther: 1, fpr95: 0 });
    const worst = detection([1, 2], [3, 4, 5]);
    expect(worst).toMatchObject({ auroc: 0, fpr95: 1 });
    expect(worst.auprKnown).toBeCloseTo((1 / 4 + 2 / 5) / 2, 12); // found at ranks 4 and 5
  });

  it("of a hand-made mixture has the figures that counting gives", () => {
    // From the top: known 9, other 8, known 7, known and other 6 (a tie), known 5.
    const found = detection([9, 7, 6, 5], [8, 6]);
    expect(found.auroc).toBeCloseTo((1 + 2.5) / 8, 12);
    expect(found.auprKnown).toBeCloseTo((1 / 1 + 2 / 3 + 3 / 5 + 4 / 6) / 4, 12);
    // Others are found from the bottom: known 5 first, then the tie.
    expect(found.auprOther).toBeCloseTo((1 / 3 + 2 / 5) / 2, 12);
    expect(found.fpr95).toBe(1);
  });

  it("of equal scores is chance", () => {
    expect(detection([1, 1, 1], [1, 1])).toMatchObject({ auroc: 0.5, auprKnown: 0.6, auprOther: 0.4, fpr95: 1 });
  });

  it("takes the threshold that 95 % of the known pass", () => {
    const known = Array.from({ length: 100 }, (_, i) => i); // 95 % are at 5 or above
    expect(detection(known, [4, 4.5, 5, 60]).fpr95).toBe(0.5);
  });

  it("has the AUROC of counting all pairs, whatever the ties", () => {
    const scores = fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(scores, scores, (known, other) => {
        const pairs = known.flatMap((a) => other.map((b) => (a > b ? 1 : a === b ? 0.5 : 0) as number));
        const { auroc } = detection(known, other);
        expect(auroc).toBeCloseTo(pairs.reduce((sum, p) => sum + p, 0) / pairs.length, 12);
        expect(detection(other, known).auroc).toBeCloseTo(1 - auroc, 12);
      }),
    );
  });

  it("refuses what is not a number", () => {
    expect(() => detection([Number.NaN], [1])).toThrow(/not a number/);
  });
});
