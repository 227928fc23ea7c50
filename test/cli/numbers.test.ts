/** What options take for a number, and what they don't. */
import { expect, test } from "vitest";
import { parseCount, parseNatural, parseNonNegative, parsePositive } from "../../src/cli/numbers.js";

test.each([
  ["a count", parseCount, ["1", " 12 ", "1e3"], ["0", "-1", "1.5", "", " ", "0x10", "twelve", "1e40", "Infinity"]],
  ["a natural number", parseNatural, ["0", "7"], ["-1", "0.5", "", "NaN", "0b1"]],
  ["a positive number", parsePositive, ["0.3", "1e-3", ".5"], ["0", "-1", "", "Infinity", "1e999"]],
  ["a number from 0 on", parseNonNegative, ["0", "1.5"], ["-0.1", "", "1,5", "Infinity"]],
] as const)("%s", (_name, parse, taken, refused) => {
  for (const text of taken) expect(parse(text)).toBe(Number(text));
  for (const text of refused) expect(() => parse(text), text).toThrow(/^It takes a/);
});
