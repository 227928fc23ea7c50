/**
 * The one error that people are meant to read, and the one for bugs.
 *
 * An IsoergError says what happened and where (rank, step, file:line:column) in `message`, and what to do about it in
 * `hint`. Its code decides the exit status (src/cli/README.md has the table): what was typed, written or handed in wrongly
 * (usage, configuration, data, a checkpoint) ends a command with 2; what goes on when it is started again with 75; SIGTERM
 * with 143; all others with 1.
 */

export type ErrorCode =
  | "USAGE" // a command line that can't be understood
  | "CONFIG" // a configuration that can't be used
  | "DATA" // a data set that is missing, torn, altered or of the wrong shape
  | "CHECKPOINT" // a checkpoint that is missing, torn, altered or of another model
  | "ENGINE" // a tensor engine that can't start or failed
  | "NETWORK" // a peer that can't be reached, a port in use
  | "PROTOCOL" // a peer that speaks nonsense
  | "DIVERGED" // training that left the numbers behind
  | "STOPPED" // asked to stop
  | "BELOW_MINIMUM" // too few workers for too long; what is done is saved
  | "UNREACHABLE" // the coordinator was away for too long; it may come back
  | "EVICTED" // this worker hung or broke, and the run goes on without it
  | "FENCED" // another process has this one's place
  | "TERMINATED"; // SIGTERM, and left in order

export class IsoergError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "IsoergError";
    this.code = code;
    this.hint = options.hint;
  }
}

const WRONG_INPUT: ReadonlySet<ErrorCode> = new Set(["USAGE", "CONFIG", "DATA", "CHECKPOINT"]);

/** Whether an error of this code is the user's to mend: the same would happen on every worker. */
export function isWrongInput(code: ErrorCode): boolean {
  return WRONG_INPUT.has(code);
}

/** sysexits.h's EX_TEMPFAIL: the same command again goes on. */
const TRY_AGAIN: ReadonlySet<ErrorCode> = new Set(["BELOW_MINIMUM", "UNREACHABLE", "EVICTED"]);

/** Exit status of a command that ended with this error: 2 for a wrong input, 75 to try again, 143 after SIGTERM, 1 for the rest. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof IsoergError)) return 1;
  if (WRONG_INPUT.has(error.code)) return 2;
  if (TRY_AGAIN.has(error.code)) return 75;
  return error.code === "TERMINATED" ? 143 : 1; // 128 + SIGTERM, as shells and Kubernetes count
}

const ERROR_CODES: Readonly<Record<ErrorCode, true>> = {
  USAGE: true,
  CONFIG: true,
  DATA: true,
  CHECKPOINT: true,
  ENGINE: true,
  NETWORK: true,
  PROTOCOL: true,
  DIVERGED: true,
  STOPPED: true,
  BELOW_MINIMUM: true,
  UNREACHABLE: true,
  EVICTED: true,
  FENCED: true,
  TERMINATED: true,
};

/** A code that came over the wire or from a file; what is none is taken for `otherwise`. */
export function errorCodeOf(text: string, otherwise: ErrorCode): ErrorCode {
  return Object.hasOwn(ERROR_CODES, text) ? (text as ErrorCode) : otherwise;
}

/** States what the program itself guarantees; a failure is a bug here, not a mistake of the user's. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`bug in isoerg: ${message}`);
}
