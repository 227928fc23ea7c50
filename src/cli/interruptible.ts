/** Runs work that ends orderly on Ctrl-C or SIGTERM; a second one ends the process at once. */
import { IsoergError } from "../util/error.js";
import { INTERRUPTED, onStopSignals } from "./stop-signals.js";

export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const forget = onStopSignals({
    first: (signal) => abort.abort(new IsoergError("STOPPED", `stopped by ${signal}`)),
    second: () => process.exit(INTERRUPTED),
  });
  try {
    return await work(abort.signal);
  } finally {
    forget();
  }
}
