/**
 * The checkpoint being saved: which ranks still owe their part, and then the store at work. One object a checkpoint; training
 * goes on meanwhile. It ends once, with the folder or with the reason why there is none.
 */
import type { CheckpointStore } from "../checkpoint/store.js";
import type { StateBlock } from "../wire/messages.js";
import { StateAssembly } from "./assembly.js";

export type SavingResult =
  | { readonly kind: "saved"; readonly path: string }
  | { readonly kind: "failed"; readonly reason: string; readonly cause?: unknown };

export interface SavingOptions {
  readonly step: number;
  /** The generation whose workers send it. It may be over before they have. */
  readonly generation: number;
  readonly worldSize: number;
  readonly store: CheckpointStore;
  readonly metrics: Readonly<Record<string, number>>;
  /** state.json. */
  readonly state: object;
  /** Settles when an earlier save is done with the store. */
  readonly after: Promise<unknown>;
  readonly onEnd: (result: SavingResult) => void;
}

export class Saving {
  readonly step: number;
  readonly generation: number;
  /** Settles with the end, whatever it is. */
  readonly done: Promise<void>;
  readonly #options: SavingOptions;
  readonly #assembly = new StateAssembly();
  readonly #owing: Set<number>;
  #state: "collecting" | "queued" | "writing" | "ended" = "collecting";
  #resolve: () => void = () => {};

  constructor(options: SavingOptions) {
    this.step = options.step;
    this.generation = options.generation;
    this.#options = options;
    this.#owing = new Set(Array.from({ length: options.worldSize }, (_, rank) => rank));
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Takes a piece. @throws IsoergError PROTOCOL when it doesn't fit; the checkpoint is given up then. */
  add(block: StateBlock): void {
    if (this.#state !== "collecting") return;
    try {
      this.#assembly.add(block);
    } catch (cause) {
      this.#end({ kind: "failed", reason: (cause as Error).message, cause });
      throw cause;
    }
  }

  /** A rank has sent all of its part. The last one sets the store to work. */
  complete(rank: number): void {
    this.#owing.delete(rank);
    if (this.#state !== "collecting" || this.#owing.size > 0) return;
    this.#state = "queued";
    void this.#write();
  }

  /** A rank is gone. Without its part there is no checkpoint. */
  lose(rank: number, reason: string): void {
    if (this.#owing.has(rank)) this.abandon(`rank ${rank} was lost before it had sent its part: ${reason}`);
  }

  /** Nothing more will come. A write that has begun is carried through. */
  abandon(reason: string): void {
    if (this.#state === "collecting") this.#end({ kind: "failed", reason });
  }

  /** A newer one has begun. One that still waits for the store gives up its memory: a store that is slow must not fill it. */
  supersede(reason: string): void {
    if (this.#state === "queued") this.#end({ kind: "failed", reason });
    else this.abandon(reason);
  }

  get isCollecting(): boolean {
    return this.#state === "collecting";
  }

  async #write(): Promise<void> {
    const { step, store, state, after, metrics } = this.#options;
    try {
      const content = this.#assembly.content(state);
      await after;
      if ((this.#state as string) === "ended") return;
      this.#state = "writing";
      this.#end({ kind: "saved", path: await store.save(step, content, { metrics }) });
    } catch (cause) {
      this.#end({ kind: "failed", reason: (cause as Error).message, cause });
    }
  }

  #end(result: SavingResult): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#options.onEnd(result);
    this.#resolve();
  }
}
