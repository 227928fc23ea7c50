/**
 * How a worker looks for a coordinator that is gone, as both sides have to know it: the worker, which does it (`worker/dialer.ts`), and
 * a coordinator that takes up a run again, which knows from it when whoever is still alive must have come.
 */
export const RECONNECT = {
  /** The first pause between two attempts; each is longer than the one before. */
  firstPauseMs: 200,
  longestPauseMs: 5_000,
  /** For an answer to one attempt. */
  attemptMs: 5_000,
} as const;

/** After so long a worker that is alive has found a coordinator that can be reached. */
export const FOUND_WITHIN_MS = RECONNECT.longestPauseMs + RECONNECT.attemptMs + 1_000;
