/**
 * Runs work that ends orderly on Ctrl-C or SIGTERM; a second one ends the process at once.
 *
 * One press may arrive twice: the terminal signals the whole process group, and npm, npx and timeout pass the signal on to
 * their child as well. So only a signal that comes a moment later counts as the second.
 */
import { IsoergError } from "../util/error.js";

const SAME_PRESS_MS = 500;

export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  let firstAt = 0;
  const stop = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (!abort.signal.aborted) {
      firstAt = now;
      abort.abort(new IsoergError("STOPPED", `stopped by ${signal}`));
    } else if (now - firstAt > SAME_PRESS_MS) process.exit(1);
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    return await work(abort.signal);
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}
