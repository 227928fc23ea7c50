/** A dry run on a terminal: what is known as rows of the output, what is being done as a line on the error stream. */
import type { WriteStream } from "node:tty";
import type { DryRunReport } from "./dry-run.js";

const LABEL_WIDTH = "all steps at that speed".length;

type Stream = Pick<WriteStream, "write" | "isTTY">;

export function dryRunTerminal({
  out,
  error,
}: {
  readonly out: Pick<Stream, "write">;
  readonly error: Stream;
}): DryRunReport & { end(): void } {
  const clear = (): void => {
    if (error.isTTY) error.write("\r\u001b[K");
  };
  return {
    row(label, value) {
      clear();
      out.write(`${label.padEnd(LABEL_WIDTH)}  ${value}\n`);
    },
    status(text) {
      error.write(error.isTTY ? `\r\u001b[K${text} ...` : `${text} ...\n`);
    },
    end: clear,
  };
}
