/**
 * What the training thread does next, made from where this worker stands: an offer that others wait for, a generation whose state
 * has come, a checkpoint's part, a step whose samples are there. Every wait is given up when something changed, and looked at
 * anew; so a generation or a stop that comes meanwhile is never missed.
 */
import { type Client, type ServiceError, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { Security } from "../security/security.js";
import type { Phase } from "../train/clock.js";
import type { Turn } from "../train/link.js";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import type { Change } from "./change.js";
import { heal } from "./healing.js";
import type { Holdings } from "./holdings.js";
import type { Offers } from "./offers.js";
import type { Place } from "./place.js";

export type StopTurn = Extract<Turn, { kind: "stop" }> & {
  /** An error's code, or empty. */
  readonly code: string;
};

export interface TurnsUse {
  readonly change: Change;
  readonly holdings: Holdings;
  readonly offers: Offers;
  readonly security?: Security | undefined;
  readonly log: Logger;
  readonly now: () => number;
  /** To the coordinator; null while it is away. */
  readonly client: () => Client | null;
  readonly stop: () => StopTurn | null;
  readonly phase: (name: Phase) => void;
  /** Training can't go on here. */
  readonly fail: (reason: string, code?: string) => Promise<void>;
}

/** After a stream of samples broke: how long its session's end, or a new generation, may take to come. */
const FOLLOWED_MS = 5_000;

export class Turns {
  readonly #use: TurnsUse;
  #place: Place | null = null;
  /** A generation that the training thread has not been told of. */
  #pending: Place | null = null;
  /** Not a member any more, but others still need this worker's chains. */
  #releasing: { readonly step: number; isOffered: boolean } | null = null;
  /** Positions whose chains the training thread holds. */
  #rows: Range = { from: 0, to: 0 };
  #computing: { readonly generation: number; readonly step: number; readonly ids: Uint32Array } | null = null;
  /** A checkpoint is wanted without a step before it. */
  #saveTurn = false;

  constructor(use: TurnsUse) {
    this.#use = use;
  }

  // ---- where this worker stands ----

  /** In the present generation; null for none. */
  get place(): Place | null {
    return this.#place;
  }

  /** The step that was handed out last, until the next turn is asked for. */
  get computing(): { readonly generation: number; readonly step: number; readonly ids: Uint32Array } | null {
    return this.#computing;
  }

  /** Whether what the training thread computes still counts. */
  get isCurrent(): boolean {
    return !this.#use.stop() && !this.#pending && this.#computing?.generation === this.#place?.message.generation;
  }

  /** The step whose state an offer is of. */
  get offeredStep(): number | undefined {
    return this.#releasing?.step ?? this.#pending?.message.step ?? this.#place?.message.step;
  }

  begin(place: Place): void {
    this.#place = place;
    this.#pending = place;
    this.#saveTurn = false;
  }

  release(step: number): void {
    this.#place = null;
    this.#pending = null;
    this.#releasing = { step, isOffered: false };
  }

  save(): void {
    this.#saveTurn = true;
  }

  // ---- turns ----

  async next(): Promise<Turn> {
    this.#computing = null;
    for (;;) {
      const turn = this.#use.stop() ?? (await this.#turn());
      if (turn) return turn;
    }
  }

  /** @returns null when there is none yet: look again */
  async #turn(): Promise<Turn | null> {
    const pending = this.#pending;
    const giving = this.#releasing ?? pending;
    if (giving && !giving.isOffered && (this.#releasing || pending?.message.give)) {
      giving.isOffered = true;
      this.#use.phase("offer");
      return { kind: "offer", what: !this.#releasing && pending?.message.give === "everything" ? "everything" : "chains" };
    }
    if (pending) return this.#generationTurn(pending);
    if (this.#saveTurn) {
      this.#saveTurn = false;
      this.#use.phase("save");
      return { kind: "save" };
    }
    if (this.#place && this.#place.proceed !== null) return this.#stepTurn(this.#place);
    this.#use.phase("idle");
    await this.#use.change.wait();
    return null;
  }

  /** @returns null when another generation has begun meanwhile. */
  async #generationTurn(place: Place): Promise<Turn | null> {
    const { change, log, fail, stop, phase, offers, security, holdings } = this.#use;
    const { generation, rank, worldSize, step, restore, adjustment } = place.message;
    const coordinator = this.#use.client();
    if (place.healing === null && coordinator) {
      phase(restore === "checkpoint" ? "load" : "heal");
      const held = restore === "keep" ? this.#rows : { from: 0, to: 0 };
      const options = { coordinator, message: place.message, positions: place.chains, held, offers, security };
      place.healing = heal({ ...options, signal: place.signal, log }).then(
        (healed) => ({ healed }),
        (error: Error) => ({ error }),
      );
    }
    const result = await Promise.race([place.healing ?? change.wait(), change.wait()]);
    if (!result || this.#pending !== place || stop()) return null;
    if ("error" in result) {
      log.error({ generation, err: result.error }, "the state could not be had");
      // From a peer or coordinator that is gone: a new generation follows. Otherwise it is this worker's fault.
      if (result.error instanceof IsoergError && result.error.code === "NETWORK") await change.wait();
      else await fail(`the state of step ${step} could not be had: ${result.error.message}`);
      return null;
    }
    this.#pending = null;
    place.healed = result.healed;
    if (restore !== "keep") holdings.loseHold();
    this.#rows = place.chains;
    const { state, chains } = result.healed;
    return { kind: "generation", assignment: { generation, rank, worldSize, step, chains: place.chains, adjustment }, state, chains };
  }

  /** @returns null when the wait was broken off. */
  async #stepTurn(place: Place): Promise<Turn | null> {
    const { change, now, phase, stop, fail } = this.#use;
    const since = now();
    phase("wait");
    place.taking ??= place.slices.next().then(
      (taken) => ({ slice: taken }),
      (error: Error) => ({ error }),
    );
    const taken = await Promise.race([place.taking, change.wait()]);
    if (!taken || this.#place !== place || this.#pending || stop()) return null;
    if ("error" in taken) {
      await this.#samplesFailed(place, taken.error);
      return null;
    }
    place.taking = null;
    const { slice: samples } = taken;
    if (samples.step !== place.proceed) {
      await fail(`samples of step ${samples.step} came for step ${place.proceed}`, "PROTOCOL");
      return null;
    }
    place.proceed = null;
    place.sums.beginStep(samples.step);
    this.#computing = { generation: place.message.generation, step: samples.step, ids: samples.ids };
    return { kind: "step", ...samples, dataWaitMs: now() - since };
  }

  /** A stream that ended with its coordinator, or with its generation, is followed by another; anything else is a failure. */
  async #samplesFailed(place: Place, error: Error): Promise<void> {
    const { change, fail, client, stop } = this.#use;
    const { code } = error as Partial<ServiceError>;
    const what = `no samples came for step ${place.proceed}: ${error.message}`;
    if (code === status.DATA_LOSS) return fail(what, "DATA");
    if (error instanceof IsoergError && (error.code === "PROTOCOL" || error.code === "DATA")) return fail(what, error.code);
    if (error instanceof IsoergError && error.code === "NETWORK") return fail(what, "UNREACHABLE"); // storage, which may come back
    let timer: NodeJS.Timeout | undefined;
    const overdue = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(true), FOLLOWED_MS);
    });
    const isOverdue = await Promise.race([overdue, change.wait().then(() => false)]);
    clearTimeout(timer);
    if (isOverdue && client() !== null && this.#place === place && !this.#pending && !stop()) await fail(what, "PROTOCOL");
  }
}
