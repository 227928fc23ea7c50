/**
 * Carries out what `backoff.ts` decides: one request, attempt after attempt, each with a deadline of its own. It ends with a
 * result, with the caller's signal, or with a StoreError; a failure that is retried is told to whoever keeps the log.
 */
import { setTimeout as pause } from "node:timers/promises";
import { decideRetry, type RetryPolicy } from "./backoff.js";
import { StoreError } from "./object-store.js";

export interface Retrying {
  readonly policy: RetryPolicy;
  /** Of one attempt. */
  readonly timeoutMs: number;
  /** Draws from [0,1). Default: Math.random. */
  readonly random?: () => number;
  /** An attempt failed and another one follows. */
  readonly onRetry?: (message: string) => void;
}

export interface Request<T> {
  /** For messages: "GET s3://bucket/key". */
  readonly what: string;
  /** Ends when the signal does. Attempts count from 1. */
  readonly send: (signal: AbortSignal, attempt: number) => Promise<T>;
  /** What a failure is, and whether the same request may succeed later. */
  readonly classify: (error: unknown) => { readonly failure: StoreError; readonly isTransient: boolean };
}

/** @throws StoreError, or the signal's reason */
export async function retrying<T>({ what, send, classify }: Request<T>, options: Retrying, signal?: AbortSignal): Promise<T> {
  const { policy, timeoutMs, random = Math.random, onRetry } = options;
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    const own = new AbortController();
    const pass = (): void => own.abort(signal?.reason);
    const timer = setTimeout(() => own.abort(new StoreError("unavailable", `no answer within ${timeoutMs / 1000} s`)), timeoutMs);
    signal?.addEventListener("abort", pass, { once: true });
    try {
      return await send(own.signal, attempt);
    } catch (error) {
      signal?.throwIfAborted();
      const { failure, isTransient } = own.signal.aborted
        ? { failure: own.signal.reason as StoreError, isTransient: true }
        : classify(error);
      const [decision, why] = decideRetry({ attempt, isTransient, retryAfterMs: failure.retryAfterMs }, policy, random());
      if (decision.kind === "giveUp") {
        throw new StoreError(failure.fault, `${what}: ${failure.message}${attempt > 1 ? ` (${why})` : ""}`);
      }
      onRetry?.(`${what}: ${failure.message}; ${why}`);
      await pause(decision.delayMs, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", pass);
    }
  }
}
