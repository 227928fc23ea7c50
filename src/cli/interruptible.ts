/** Runs work that ends orderly on Ctrl-C or SIGTERM; a second one ends the process at once. */
import { IsoergError } from "../util/error.js";

export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const stop = (signal: NodeJS.Signals): void => {
    if (abort.signal.aborted) process.exit(1);
    abort.abort(new IsoergError("STOPPED", `stopped by ${signal}`));
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    return await work(abort.signal);
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}
