/**
 * The workers with an open session, as the run sees them: a port to speak to each, and what was last heard from it.
 * It keeps facts; what follows from them is decided in `membership.ts`.
 */
import type { Range } from "../util/range.js";
import type { Doing, Member, ToWorker } from "../wire/messages.js";
import type { HeldState } from "./lineage.js";
import type { Candidate } from "./membership.js";
import type { Pauses } from "./silence.js";

/** One worker's session, seen from the run: a gRPC stream, or an in-memory one in tests. */
export interface WorkerPort {
  send(message: ToWorker): void;
  /** Ends the session; nothing is sent after it. */
  close(): void;
}

export interface WorkerEntry extends Candidate {
  readonly engine: string;
  readonly peerEndpoint: string;
  readonly port: WorkerPort;
  heardAtMs: number;
  readonly pauses: Pauses;
  isRetiring: boolean;
  /** The state that it holds; null until it was ready once, and while it takes over another one. */
  holds: HeldState | null;
  /** Positions whose chains it has; null where that is not known. */
  rows: Range | null;
  /** By its last heartbeat. */
  doing: Doing;
  step: number;
  /** Of its last step: the time in its own phases. */
  stepMs: number;
  /** Its process has taken part in no step yet, as far as is known: its engine has to warm up. */
  isFresh: boolean;
}

export class Roster {
  readonly #workers = new Map<string, WorkerEntry>();

  add(entry: WorkerEntry): void {
    this.#workers.set(entry.incarnation, entry);
  }

  get(incarnation: string): WorkerEntry | undefined {
    return this.#workers.get(incarnation);
  }

  /** @returns the entry that was there. */
  remove(incarnation: string): WorkerEntry | undefined {
    const entry = this.#workers.get(incarnation);
    this.#workers.delete(incarnation);
    return entry;
  }

  /** In the order of joining. */
  all(): WorkerEntry[] {
    return [...this.#workers.values()];
  }

  /** Speaks to several workers; one that left meanwhile is passed over. */
  send(incarnations: readonly string[], message: ToWorker): void {
    for (const incarnation of incarnations) this.#workers.get(incarnation)?.port.send(message);
  }

  /** For people: the members by rank, then those who wait. */
  describe(members: readonly string[]): Member[] {
    const ranks = new Map(members.map((incarnation, rank) => [incarnation, rank]));
    const waiting = this.all().filter(({ incarnation }) => !ranks.has(incarnation));
    const inOrder = [...members.flatMap((incarnation) => this.#workers.get(incarnation) ?? []), ...waiting];
    const slowestMs = Math.max(0, ...inOrder.map(({ stepMs }) => stepMs));
    return inOrder.map(({ workerId, incarnation, engine, doing, step, stepMs }) => {
      const rank = ranks.get(incarnation) ?? -1;
      const share = slowestMs > 0 ? stepMs / slowestMs : 0;
      return { workerId, rank: Math.max(0, rank), engine, phase: rank < 0 ? "waiting to be let in" : doing.phase, step, stepMs, share };
    });
  }
}
