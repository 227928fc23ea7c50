/** What is done about a worker process that ended on its host: the table of exit codes (src/cli/README.md) as a pure decision. */
import type { ErrorCode } from "../../util/error.js";

export interface Exit {
  /** Null where a signal ended ssh itself. */
  readonly code: number | null;
  readonly signal: string | null;
  /** The last that it said. */
  readonly lastWords: string;
}

export type AfterExit =
  /** It has done its work. */
  | { readonly kind: "over" }
  | { readonly kind: "again"; readonly afterMs: number; readonly counts: boolean; readonly reason: string }
  /** The same would happen everywhere, and again. */
  | { readonly kind: "hopeless"; readonly code: ErrorCode; readonly reason: string }
  | { readonly kind: "givenUp"; readonly reason: string };

export const MAX_FAILURES = 3;
const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;

/** ssh's own failure; the program's are below. */
const SSH_FAILED = 255;
/** What a shell says of a command that it can't run, and can't find. */
const NO_PROGRAM: ReadonlySet<number | null> = new Set([126, 127]);
/** Ended so that it may go on: cost nothing, as in Kubernetes' podFailurePolicy. */
const TRY_AGAIN: ReadonlySet<number | null> = new Set([75, 143]);

/** @param failures of this place before, those that count */
export function afterExit(exit: Exit, { failures, maxFailures = MAX_FAILURES }: { failures: number; maxFailures?: number }): AfterExit {
  const reason = describeExit(exit);
  if (exit.code === 0) return { kind: "over" };
  if (exit.code === 2) return { kind: "hopeless", code: "CONFIG", reason };
  if (NO_PROGRAM.has(exit.code)) return { kind: "hopeless", code: "USAGE", reason: `isoerg can't be run there: ${reason}` };
  if (TRY_AGAIN.has(exit.code)) return { kind: "again", afterMs: FIRST_MS, counts: false, reason };
  if (failures >= maxFailures) return { kind: "givenUp", reason: `failed ${failures + 1} times, at last ${reason}` };
  return { kind: "again", afterMs: Math.min(LONGEST_MS, FIRST_MS * 2 ** failures), counts: true, reason };
}

function describeExit({ code, signal, lastWords }: Exit): string {
  const how = signal !== null ? `ssh was ended by ${signal}` : code === SSH_FAILED ? "ssh failed (255)" : `ended with ${code}`;
  return lastWords === "" ? how : `${how}: ${lastWords}`;
}
