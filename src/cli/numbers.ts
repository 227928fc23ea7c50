/** Numbers of options, for commander: what each takes, and what is said when something else is given. */
import { InvalidArgumentError } from "commander";

/** Which numbers are taken, by their names in an error. */
const KINDS = {
  count: { says: "It takes a whole number from 1 on.", takes: (value: number) => Number.isSafeInteger(value) && value >= 1 },
  natural: { says: "It takes a whole number from 0 on.", takes: (value: number) => Number.isSafeInteger(value) && value >= 0 },
  positive: { says: "It takes a number above 0.", takes: (value: number) => value > 0 && value < Number.POSITIVE_INFINITY },
  nonNegative: { says: "It takes a number from 0 on.", takes: (value: number) => value >= 0 && value < Number.POSITIVE_INFINITY },
} as const;

/** As people write numbers: digits, perhaps with a fraction or an exponent; no hexadecimal, no empty word. */
const WRITTEN = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** @throws InvalidArgumentError */
function parser(kind: keyof typeof KINDS): (text: string) => number {
  const { says, takes } = KINDS[kind];
  return (text) => {
    const value = Number(text);
    if (!WRITTEN.test(text.trim()) || !takes(value)) throw new InvalidArgumentError(says);
    return value;
  };
}

export const parseCount = parser("count");
export const parseNatural = parser("natural");
export const parsePositive = parser("positive");
/** Seconds, for example: 0 is allowed, and so are fractions. */
export const parseNonNegative = parser("nonNegative");
