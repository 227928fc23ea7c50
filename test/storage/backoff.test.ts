import { describe, expect, it } from "vitest";
import { backoffMs, decideRetry } from "../../src/storage/backoff.js";
import { StoreError } from "../../src/storage/object-store.js";
import { retrying } from "../../src/storage/retrying.js";
import * as fc from "../kit/property.js";

const policy = { attempts: 5, baseMs: 200, capMs: 3_000 };

describe("the delay before a retry", () => {
  it("is uniform below a bound that doubles up to the cap", () => {
    const bounds = [0, 1, 2, 3, 4, 5, 1000].map((retry) => backoffMs(retry, policy, 1 - 2 ** -53));
    for (const [i, bound] of [200, 400, 800, 1600, 3000, 3000, 3000].entries()) expect(bounds[i]).toBeCloseTo(bound, 6);
    expect(backoffMs(3, policy, 0)).toBe(0);
    expect(backoffMs(3, policy, 0.25)).toBe(400);
  });

  it("is never outside [0, cap), whatever is drawn, and follows the draw", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (retry, uniform) => {
        const delay = backoffMs(retry, policy, uniform);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(policy.capMs);
        expect(delay).toBeCloseTo(uniform * Math.min(policy.capMs, policy.baseMs * 2 ** retry), 6);
      }),
    );
  });
});

describe("whether there is a retry", () => {
  const failed = { attempt: 1, isTransient: true, retryAfterMs: null };

  it("depends on the failure and on how many there were", () => {
    expect(decideRetry(failed, policy, 0.5)).toEqual([{ kind: "again", delayMs: 100 }, "attempt 1 of 5 failed; again in 0.1 s"]);
    expect(decideRetry({ ...failed, isTransient: false }, policy, 0.5)[0]).toEqual({ kind: "giveUp" });
    expect(decideRetry({ ...failed, attempt: 5 }, policy, 0.5)).toEqual([{ kind: "giveUp" }, "5 attempts failed"]);
  });

  it("waits as long as the server asks, up to the cap", () => {
    expect(decideRetry({ ...failed, retryAfterMs: 1000 }, policy, 0.5)[0]).toEqual({ kind: "again", delayMs: 1000 });
    expect(decideRetry({ ...failed, retryAfterMs: 60_000 }, policy, 0.5)[0]).toEqual({ kind: "again", delayMs: 3000 });
    expect(decideRetry({ ...failed, attempt: 4, retryAfterMs: 1 }, policy, 0.5)[0]).toEqual({ kind: "again", delayMs: 800 });
  });
});

describe("a request", () => {
  const classify = (error: unknown) => ({ failure: new StoreError("unavailable", (error as Error).message), isTransient: true });
  const quick = { policy: { attempts: 3, baseMs: 0, capMs: 0 }, timeoutMs: 10_000 };

  it("is sent until it succeeds, and each failure is told", async () => {
    const told: string[] = [];
    const send = async (_: AbortSignal, attempt: number): Promise<number> => {
      if (attempt < 3) throw new Error(`no ${attempt}`);
      return attempt;
    };
    expect(await retrying({ what: "GET x", send, classify }, { ...quick, onRetry: (message) => told.push(message) })).toBe(3);
    expect(told).toEqual(["GET x: no 1; attempt 1 of 3 failed; again in 0.0 s", "GET x: no 2; attempt 2 of 3 failed; again in 0.0 s"]);
  });

  it("says in the end what failed, and how often", async () => {
    const send = () => Promise.reject(new Error("gone"));
    await expect(retrying({ what: "GET x", send, classify }, quick)).rejects.toMatchObject({
      fault: "unavailable",
      message: "GET x: gone (3 attempts failed)",
    });
  });

  it("has a deadline for each attempt", async () => {
    const signals: AbortSignal[] = [];
    const send = (signal: AbortSignal) => {
      signals.push(signal);
      return new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    };
    await expect(retrying({ what: "GET x", send, classify }, { ...quick, timeoutMs: 5 })).rejects.toThrow(
      "GET x: no answer within 0.005 s (3 attempts failed)",
    );
    expect(new Set(signals).size).toBe(3);
  });

  it("ends with the caller's signal, while it is under way and while it waits", async () => {
    const asked = new AbortController();
    const reason = new Error("asked to");
    const send = (signal: AbortSignal) =>
      new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(new Error("aborted")));
        asked.abort(reason);
      });
    await expect(retrying({ what: "GET x", send, classify }, quick, asked.signal)).rejects.toBe(reason);
    const later = new AbortController();
    const slow = {
      policy: { attempts: 3, baseMs: 1e6, capMs: 1e6 },
      timeoutMs: 10_000,
      random: () => 0.9,
      onRetry: () => later.abort(reason),
    };
    await expect(retrying({ what: "GET x", send: () => Promise.reject(new Error("no")), classify }, slow, later.signal)).rejects.toBe(
      reason,
    );
  });
});
