/** Decisions counted by hand. */
import { describe, expect, it } from "vitest";
import { confusionOf, decisionsOf, NUM_BANDS, numDecisions } from "../../../src/evaluate/decision/decisions.js";

describe("decisionsOf", () => {
  // p = softmax: (1/2, 1/4, 1/4), (1/3, 1/3, 1/3), (0, 0, 1).
  const logits = Float32Array.from([Math.log(2), 0, 0, 5, 5, 5, -200, -200, 0]);

  it("counts class, decision and confidence of each sample; the first of equals decides", () => {
    const decisions = decisionsOf(logits, [0, 2, 2], 3);
    expect(NUM_BANDS).toBe(20);
    expect(decisions.cells).toEqual([
      [0, 0, 10, 1], // 0.50 is in [0.50, 0.55)
      [2, 0, 6, 1], // 0.33 is in [0.30, 0.35)
      [2, 2, 19, 1], // 1 is in the last
    ]);
    expect(numDecisions(decisions)).toBe(3);
    expect(confusionOf(decisions)).toEqual([
      [1, 0, 0],
      [0, 0, 0],
      [1, 0, 1],
    ]);
  });

  it("refuses logits that do not fit", () => {
    expect(() => decisionsOf(logits, [0, 1], 3)).toThrow(/9 logits for 2 samples/);
  });
});
