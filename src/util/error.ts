/**
 * The one error that people are meant to read, and the one for bugs.
 *
 * An IsoergError says what happened and where (rank, step, file:line:column) in `message`, and what to do about it in
 * `hint`. Its code decides the exit status: what was typed, written or handed in wrongly (usage, configuration, data, a checkpoint)
 * ends a command with 2, all others with 1.
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
  | "STOPPED"; // asked to stop

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

/** Exit status of a command that ended with this error: 2 for a wrong input, 1 for the rest. */
export function exitCodeOf(error: unknown): number {
  return error instanceof IsoergError && WRONG_INPUT.has(error.code) ? 2 : 1;
}

/** States what the program itself guarantees; a failure is a bug here, not a mistake of the user's. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`bug in isoerg: ${message}`);
}
