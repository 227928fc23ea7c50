/**
 * This process among those of its host, for one generation: its segment, the others' segments, and the sums in them.
 *
 * `post` and `finish` are for a thread that may block; `sum` waits in the background. Whatever ends a wait comes out as one
 * error: the generation is over, a peer is gone (noticed within 20 ms of its process's end), ranks disagree, time is up.
 */
import { randomInt } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { IsoergError } from "../util/error.js";
import { type HostMemory, OPERATION, type Operation, OUTCOMES, type Outcome } from "./host-memory.js";
import type { HostOffer } from "./host-plan.js";
import type { SumTag } from "./transport.js";

const DEFAULT_TIMEOUT_MS = 600_000;

/** Same for processes of this machine that see each other's process numbers; null where that can't be told. */
export function hostIdentity(): string | null {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${boot} ${readlinkSync("/proc/self/ns/pid")} ${process.getuid?.() ?? ""}`;
  } catch {
    return null;
  }
}

/** Sums from a thread that may block: the training thread's side of a member that another thread has opened. */
export class BlockingSums {
  readonly #memory: HostMemory;
  readonly #member: number;
  readonly #timeoutMs: number;
  #reason: Error | undefined;

  constructor(memory: HostMemory, member: number, timeoutMs = DEFAULT_TIMEOUT_MS) {
    this.#memory = memory;
    this.#member = member;
    this.#timeoutMs = timeoutMs;
  }

  /** What an end from outside is told as. */
  endsWith(reason: Error): void {
    this.#reason ??= reason;
  }

  /** Whether these are all the ranks there are, all of them connected: only then may a thread sum by itself. */
  isDirect(): boolean {
    return this.#memory.isDirect(this.#member) === 1;
  }

  /** The vectors' memory is this generation's from now on, and zero. For the thread that writes there. */
  adopt(): void {
    this.#memory.adopt(this.#member);
  }

  /** Starts a sum, in place; does what others have left to do meanwhile. Throws when the generation is over. */
  post(values: Float32Array, { step, bucket }: SumTag, operation: Operation = "sum"): void {
    this.#check(this.#memory.post(this.#member, values, OPERATION[operation], step, bucket, this.#timeoutMs));
  }

  /** Sleeps until all sums posted are done. Throws when the generation is over or a peer is. */
  finish(): void {
    this.#check(this.#memory.finish(this.#member, this.#timeoutMs));
  }

  async finishLater(): Promise<void> {
    this.#check(await this.#memory.finishLater(this.#member, this.#timeoutMs));
  }

  #check(number: number): void {
    const outcome = OUTCOMES[number] as Outcome;
    if (outcome === "done") return;
    const culprit = this.#memory.culprit(this.#member);
    const who = culprit < 0 ? "a process of this host" : `process ${culprit} of this host`;
    switch (outcome) {
      case "gone":
        throw new IsoergError("NETWORK", `${who} is gone`);
      case "disagree":
        throw new IsoergError("PROTOCOL", `${who} posted another sum than the one that is due`, {
          hint: "all ranks must sum the same vectors in the same order",
        });
      case "timed-out":
        throw new IsoergError("NETWORK", `nothing came from ${who} for ${this.#timeoutMs} ms`);
      case "worn-out":
        throw new IsoergError("NETWORK", "a generation has 2^32 sums at most");
      case "closed":
      case "pending":
        throw this.#reason ?? new IsoergError("STOPPED", "the sums of this generation are over");
      default:
        outcome satisfies never;
    }
  }
}

export interface HostMemberOptions {
  readonly memory: HostMemory;
  readonly arena: number;
  readonly place: { readonly run: number; readonly generation: number; readonly rank: number };
  /** Default: this machine's. */
  readonly host?: string;
  readonly timeoutMs?: number;
}

export class HostMember {
  /** For other threads of this process. */
  readonly handle: number;
  readonly offer: HostOffer;
  readonly sums: BlockingSums;
  readonly #memory: HostMemory;
  readonly #rank: number;
  #closed = false;

  /** @throws where the system gives no such memory */
  constructor({ memory, arena, place, host, timeoutMs }: HostMemberOptions) {
    const identity = host ?? hostIdentity();
    if (identity === null) throw new IsoergError("NETWORK", "this machine can't be told from others");
    const nonce = randomInt(2 ** 48 - 1);
    this.#memory = memory;
    this.#rank = place.rank;
    this.handle = memory.open(arena, place.run, place.generation, place.rank, nonce);
    this.offer = { host: identity, pid: process.pid, file: memory.fileOf(this.handle), nonce };
    this.sums = new BlockingSums(memory, this.handle, timeoutMs);
  }

  /** Maps the segments of the group's ranks. @throws where that can't be done */
  attach(group: readonly number[], offers: readonly (HostOffer | null)[]): void {
    group.forEach((rank, index) => {
      const offer = rank === this.#rank ? this.offer : offers[rank];
      if (!offer) throw new IsoergError("PROTOCOL", `rank ${rank} shares no memory`);
      this.#memory.attach(this.handle, index, group.length, offer.pid, offer.file, offer.nonce, rank);
    });
  }

  /** All of the group have attached. `direct`: they are all the ranks there are, so that any thread may sum by itself. */
  connect({ direct }: { direct: boolean }): void {
    this.#memory.connect(this.handle, direct ? 1 : 0);
  }

  /** Ends pending and later sums, and tells the others of this host that nothing more comes from here. */
  close(reason?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    if (reason) this.sums.endsWith(reason);
    this.#memory.close(this.handle);
  }
}
