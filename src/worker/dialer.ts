/**
 * Finding the coordinator, and finding it again: addresses are asked for anew at each attempt, each attempt is a channel of its
 * own (so that a name is resolved again), and between attempts stands a jittered, growing pause, so that a hundred workers
 * don't fall upon a coordinator that has just come back (AWS's "full jitter").
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@grpc/grpc-js";
import { NO_SECURITY, type Security } from "../security/security.js";
import { IsoergError } from "../util/error.js";
import { openClient, RefusedByTls, waitForCoordinator } from "../wire/client.js";
import { RECONNECT } from "../wire/reconnect.js";

/** Where the coordinator may be now, the likeliest first; empty where nobody knows at present. */
export type Whereabouts = () => Promise<readonly string[]>;

export interface DialerOptions {
  readonly whereabouts: Whereabouts;
  readonly security?: Security | undefined;
  readonly random?: () => number;
  readonly pauseMs?: { readonly first: number; readonly longest: number };
}

export interface Reached {
  readonly client: Client;
  readonly address: string;
}

export class Dialer {
  readonly #whereabouts: Whereabouts;
  readonly #security: Security;
  readonly #random: () => number;
  readonly #pauseMs: { readonly first: number; readonly longest: number };
  #failures = 0;
  #turn = 0;

  constructor({
    whereabouts,
    security = NO_SECURITY,
    random = Math.random,
    pauseMs = { first: RECONNECT.firstPauseMs, longest: RECONNECT.longestPauseMs },
  }: DialerOptions) {
    this.#whereabouts = whereabouts;
    this.#security = security;
    this.#random = random;
    this.#pauseMs = pauseMs;
  }

  /** The coordinator took this worker in: the next loss begins with a short pause again. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** Tries until one answers. @throws IsoergError NETWORK after `timeoutMs`, or the signal's reason. */
  async reach(timeoutMs: number, signal: AbortSignal): Promise<Reached> {
    const until = performance.now() + timeoutMs;
    let last = "nobody knows its address";
    for (;;) {
      signal.throwIfAborted();
      if (this.#failures > 0) await pause(Math.min(this.#pause(), Math.max(0, until - performance.now())), undefined, { signal });
      this.#failures++;
      const addresses = await this.#whereabouts();
      const address = addresses[this.#turn++ % Math.max(1, addresses.length)];
      if (address !== undefined) {
        const client = openClient(address, this.#security);
        try {
          await waitForCoordinator(client, address, Math.max(1, Math.min(RECONNECT.attemptMs, until - performance.now())), this.#security);
          return { client, address };
        } catch (error) {
          client.close();
          if (error instanceof RefusedByTls) throw error;
          last = (error as Error).message;
        }
      }
      if (performance.now() >= until) {
        throw new IsoergError("NETWORK", `no coordinator was reached within ${Math.round(timeoutMs / 1000)} s: ${last}`, {
          hint: "Check host and port; `isoerg train` and `isoerg coordinator` print the address they listen on.",
        });
      }
    }
  }

  #pause(): number {
    const { first, longest } = this.#pauseMs;
    return this.#random() * Math.min(longest, first * 2 ** Math.min(this.#failures, 16));
  }
}
