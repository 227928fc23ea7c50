/** How many workers a run is to have, and how long it waits for them: the options and their values, the same where a run begins. */
import { InvalidArgumentError, Option } from "commander";
import { parseNonNegative } from "./numbers.js";

export interface WorkerCount {
  /** The run goes on while so many are left; null where only one number was given. */
  readonly min: number | null;
  /** The start waits for so many. */
  readonly expected: number;
  /** More than these wait as spares; null for no limit. */
  readonly max: number | null;
}

/** @param means what the numbers are for there */
export function workersOption(means: string): Option {
  return new Option("--workers <n|min:max>", means)
    .argParser(parseWorkers)
    .default({ min: null, expected: 1, max: null } satisfies WorkerCount, "1");
}

export function joinTimeoutOption(): Option {
  return new Option(
    "--join-timeout <s>",
    "seconds that the start waits for all workers, before it goes on with the minimum or ends with 75",
  )
    .argParser(parseNonNegative)
    .default(60);
}

/** `4`, or `2:8` for a minimum and a maximum. @throws InvalidArgumentError */
export function parseWorkers(text: string): WorkerCount {
  const found = /^(\d+)(?::(\d+))?$/.exec(text);
  const [first, second] = [Number(found?.[1]), found?.[2] === undefined ? null : Number(found[2])];
  if (!found || first < 1 || (second !== null && second < first))
    throw new InvalidArgumentError("give a number, or MIN:MAX with MIN at least 1 and at most MAX.");
  return second === null ? { min: null, expected: first, max: null } : { min: first, expected: second, max: second };
}
