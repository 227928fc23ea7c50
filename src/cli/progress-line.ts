/**
 * Progress of long work on the error stream, so that results can be piped: one line that is rewritten on a terminal, a line
 * every few seconds elsewhere. The time left is told within the part under way.
 */
import type { WriteStream } from "node:tty";

const QUIET_MS = 5000;
const REDRAW_MS = 100;

export interface ProgressLine {
  update(progress: { what: string; done: number; total: number }): void;
  /** Clears the line. */
  end(): void;
}

export function createProgressLine(
  stream: Pick<WriteStream, "write" | "isTTY" | "columns">,
  now: () => number = () => performance.now(),
): ProgressLine {
  let what = "";
  let began = 0;
  let shownAt = Number.NEGATIVE_INFINITY;
  return {
    update(progress) {
      const at = now();
      if (progress.what !== what) {
        what = progress.what;
        began = at;
      }
      const finished = progress.done >= progress.total;
      if (at - shownAt < (stream.isTTY ? REDRAW_MS : QUIET_MS) && !(stream.isTTY && finished)) return;
      shownAt = at;
      const secondsLeft = progress.done > 0 ? ((at - began) / progress.done) * (progress.total - progress.done) * 0.001 : 0;
      const left = !finished && secondsLeft >= 1 ? `, ${Math.ceil(secondsLeft)} s left` : "";
      const text = `${what}: ${progress.done} of ${progress.total}${left}`;
      stream.write(stream.isTTY ? `\r\u001b[K${text.slice(0, (stream.columns || 80) - 1)}` : `${text}\n`);
    },
    end() {
      if (stream.isTTY) stream.write("\r\u001b[K");
    },
  };
}
