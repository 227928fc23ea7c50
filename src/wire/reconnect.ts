/**
 * How a worker looks for a coordinator that is gone, as both sides have to know it: the worker, which does it (`worker/dialer.ts`), and
 * a coordinator that takes up a run again, which knows from it when whoever is still alive must have come.
 */
export const RECONNECT = {
  /** Between two looks at whether a silent connection still has another end. */
  keepaliveMs: 10_000,
  /** The first pause between two attempts; each is longer than the one before. */
  firstPauseMs: 200,
  longestPauseMs: 5_000,
  /** For an answer to one attempt. */
  attemptMs: 5_000,
} as const;

/**
 * After the first worker that missed its coordinator has found one, the others that are alive have within so long: they miss a killed one
 * at the same moment and are at most a pause and an attempt apart, a suspended one up to a look apart, and find another at once.
 */
export const FOUND_WITHIN_MS = Math.max(RECONNECT.longestPauseMs, RECONNECT.keepaliveMs) + RECONNECT.attemptMs + 1_000;
