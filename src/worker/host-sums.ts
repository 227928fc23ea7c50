/**
 * The training thread's own sums, where all workers are on one host: posted and finished in shared memory by the thread that
 * has the gradient, without a message to the link thread. Otherwise every call says "not here", and the link thread sums.
 *
 * A generation's memory is put in place when the training thread is told of the generation, so nothing of the last one is
 * pending, and before the worker says that it is ready, so no sum begins without it.
 */
import { BlockingSums } from "../collective/host-member.js";
import type { HostMemory } from "../collective/host-memory.js";
import { CollectiveInterrupted, type Turn } from "../train/link.js";
import type { ArenaRange } from "./thread-messages.js";

export class HostSums {
  readonly #memory: HostMemory;
  readonly #arena: number;
  #sums: BlockingSums | null = null;
  #step = 0;
  #bucket = 0;

  constructor(memory: HostMemory, arena: number) {
    this.#memory = memory;
    this.#arena = arena;
  }

  /** To be told of each turn; `member` is the generation's part in the host's memory. */
  take(turn: Turn, member: number | null): void {
    if (turn.kind === "generation") {
      this.#sums = member === null ? null : new BlockingSums(this.#memory, member);
      // Renewed in every case: a process that slept through the change may still write into the last generation's memory.
      if (this.#sums) this.#sums.adopt();
      else this.#memory.renew(this.#arena);
    } else if (turn.kind === "step") {
      this.#step = turn.step;
      this.#bucket = 0;
    }
  }

  allocate(numFloats: number): { readonly values: Float32Array; readonly range: ArenaRange } {
    const bytes = Math.max(numFloats, 1) * Float32Array.BYTES_PER_ELEMENT;
    const offset = this.#memory.allocate(this.#arena, bytes);
    const values = new Float32Array(this.#memory.view(this.#arena, offset, bytes), 0, numFloats);
    return { values, range: { arena: this.#arena, offset, bytes } };
  }

  /** Whether sums are done here now. */
  get isDirect(): boolean {
    return this.#sums?.isDirect() === true;
  }

  /** Starts a sum. @returns whether it is done here. */
  post(values: Float32Array): boolean {
    return this.#attempt((sums) => sums.post(values, { step: this.#step, bucket: this.#bucket++ }));
  }

  /** Waits for all sums started. @returns whether they are done here. Throws CollectiveInterrupted. */
  finish(): boolean {
    return this.#attempt((sums) => sums.finish());
  }

  #attempt(action: (sums: BlockingSums) => void): boolean {
    const sums = this.#sums;
    if (!sums?.isDirect()) return false;
    try {
      action(sums);
    } catch (error) {
      throw new CollectiveInterrupted(error instanceof Error ? error.message : String(error));
    }
    return true;
  }
}
