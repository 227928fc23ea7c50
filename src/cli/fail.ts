/**
 * How a command ends when something went wrong: what a person reads, and the exit status that a script reads.
 *
 * An IsoergError is shown as its message and its hint; the chain of causes and the stack only with --verbose. Anything else
 * is a bug or the system's own error, and says so. Usage mistakes that commander finds end with 2, as ours do.
 */
import { CommanderError } from "commander";
import { exitCodeOf, IsoergError } from "../util/error.js";

export interface FailOptions {
  /** Show the causes and the stack. */
  readonly verbose: boolean;
  /** Colour the words for a terminal. */
  readonly color: boolean;
}

/** Exit status for whatever ended a command. */
export function exitStatus(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return exitCodeOf(error);
}

/** The text for the terminal; ends with a line break. */
export function describeFailure(error: unknown, options: FailOptions): string {
  const paint = (code: number, text: string) => (options.color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const lines = [`${paint(31, "error:")} ${messageOf(error)}`];
  if (error instanceof IsoergError && error.hint !== undefined) lines.push(`${paint(36, "hint:")} ${error.hint}`);
  if (options.verbose) {
    for (let cause = causeOf(error); cause !== undefined; cause = causeOf(cause)) lines.push(`caused by: ${messageOf(cause)}`);
    if (error instanceof Error && error.stack !== undefined) lines.push(paint(2, error.stack));
  } else if (!isExpected(error) || causeOf(error) !== undefined) {
    lines.push(paint(2, "--verbose shows the causes and where it happened"));
  }
  return `${lines.join("\n")}\n`;
}

function isExpected(error: unknown): boolean {
  return error instanceof IsoergError || error instanceof CommanderError;
}

function messageOf(error: unknown): string {
  if (error instanceof CommanderError) return error.message.replace(/^error: /, "");
  return error instanceof Error ? error.message : String(error);
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}
