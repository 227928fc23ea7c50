/**
 * Whether a request to a store is tried again, and after how long: a pure decision. Capped exponential back-off with full jitter:
 * before retry r (from 0) a time drawn uniformly from [0, min(cap, base 2^r)), so that clients which failed together don't come
 * back together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
 */

export interface RetryPolicy {
  /** Of a request, the first one included. */
  readonly attempts: number;
  readonly baseMs: number;
  readonly capMs: number;
}

export interface FailedAttempt {
  /** From 1. */
  readonly attempt: number;
  /** The same request may well succeed later. */
  readonly isTransient: boolean;
  /** What the server asked for (Retry-After); null for nothing. */
  readonly retryAfterMs: number | null;
}

export type RetryDecision = { readonly kind: "again"; readonly delayMs: number } | { readonly kind: "giveUp" };

/** @param uniform a draw from [0,1) */
export function backoffMs(retry: number, { baseMs, capMs }: Pick<RetryPolicy, "baseMs" | "capMs">, uniform: number): number {
  return uniform * Math.min(capMs, baseMs * 2 ** Math.min(retry, 60));
}

/** @returns what to do, and why. A server's wish for a longer pause is granted, up to the cap. */
export function decideRetry(failed: FailedAttempt, policy: RetryPolicy, uniform: number): [RetryDecision, string] {
  const { attempt, isTransient, retryAfterMs } = failed;
  if (!isTransient) return [{ kind: "giveUp" }, "the same request would fail again"];
  if (attempt >= policy.attempts) return [{ kind: "giveUp" }, `${attempt} attempts failed`];
  const delayMs = Math.max(backoffMs(attempt - 1, policy, uniform), Math.min(policy.capMs, retryAfterMs ?? 0));
  return [{ kind: "again", delayMs }, `attempt ${attempt} of ${policy.attempts} failed; again in ${(delayMs / 1000).toFixed(1)} s`];
}
