/**
 * What the training thread does next, made from where this worker stands: the verdict on its vote, an offer that others wait for, a
 * generation whose state has come, a checkpoint's part, a step whose samples are there. Every wait is given up when something
 * changed, and looked at anew; so a generation or a stop that comes meanwhile is never missed.
 *
 * A step's turn brings the samples of the step after it along, so that the thread can begin that while the verdict is under way; the
 * verdict and the turn of that step are told together where both are there.
 */
import { type Client, type ServiceError, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { Security } from "../security/security.js";
import type { Phase } from "../train/clock.js";
import type { Turn, Verdict } from "../train/link.js";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import type { VerdictMessage } from "../wire/messages.js";
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

/** A step as a ballot names it. */
export interface ComputedStep {
  readonly generation: number;
  readonly step: number;
  /** Of its samples. */
  readonly ids: Uint32Array;
}

/** A vote whose verdict the training thread has not been told. */
interface OpenVote {
  readonly generation: number;
  readonly step: number;
  verdict: Verdict | null;
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
  #computing: ComputedStep | null = null;
  #vote: OpenVote | null = null;
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
  get computing(): ComputedStep | null {
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
    this.#voidVote();
    this.#place = place;
    this.#pending = place;
    this.#saveTurn = false;
  }

  release(step: number): void {
    this.#voidVote();
    this.#place = null;
    this.#pending = null;
    this.#releasing = { step, isOffered: false };
  }

  save(): void {
    this.#saveTurn = true;
  }

  // ---- votes ----

  /** The training thread votes. @returns for what; null where that doesn't count any more, and there is nobody to tell. */
  vote(): ComputedStep | null {
    const computing = this.#computing;
    const { generation = 0, step = 0 } = computing ?? {};
    const isCurrent = computing !== null && this.isCurrent;
    this.#vote = { generation, step, verdict: isCurrent ? null : this.#overdue() };
    return isCurrent ? computing : null;
  }

  /** The coordinator's word on a vote. @returns whether this worker waits for it. */
  decided({ generation, step, commit, checkpoint, reason }: VerdictMessage): boolean {
    const vote = this.#vote;
    if (vote === null || vote.verdict !== null || vote.generation !== generation || vote.step !== step) return false;
    vote.verdict = { commit, checkpoint, reason };
    this.#use.holdings.settle({ commit });
    return true;
  }

  /** There will be no verdict: the generation is over. */
  #voidVote(): void {
    if (this.#vote === null || this.#vote.verdict !== null) return;
    this.#vote.verdict = this.#overdue();
    this.#use.holdings.settle({ commit: false });
  }

  #overdue(): Verdict {
    return { commit: false, checkpoint: false, reason: this.#use.stop()?.reason ?? "the generation is over" };
  }

  // ---- turns ----

  /** What to do next; several things, in their order, where they are known. */
  async next(): Promise<readonly Turn[]> {
    this.#computing = null;
    for (;;) {
      const verdict = this.#verdictTurn();
      if (verdict && !this.#isStepDue) return [verdict];
      const turn = this.#use.stop() ?? (await this.#turn());
      if (verdict) return turn ? [verdict, turn] : [verdict];
      if (turn) return [turn];
    }
  }

  /** Whether the next turn is a step, without a wait. */
  get #isStepDue(): boolean {
    const { proceed = null, slices = null } = this.#place ?? {};
    return !this.#use.stop() && !this.#pending && !this.#saveTurn && proceed !== null && slices?.following?.step === proceed;
  }

  /** @returns null where there is no vote, or it is still open */
  #verdictTurn(): Turn | null {
    if (this.#use.stop()) this.#voidVote();
    const verdict = this.#vote?.verdict ?? null;
    if (verdict) this.#vote = null;
    return verdict && { kind: "verdict", ...verdict };
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
    this.#use.phase(this.#vote ? "vote" : "idle");
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
    return { kind: "step", ...samples, dataWaitMs: now() - since, following: place.slices.following };
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
