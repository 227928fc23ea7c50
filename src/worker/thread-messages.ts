/** What the training thread says to the link thread, and what it gets back. Arrays are over shared memory or handed over. */
import type { StatePart } from "../checkpoint/state-part.js";
import type { SummableMemory } from "../collective/reduce.js";
import type { Ballot, Turn } from "../train/link.js";

export type ToLink =
  /** The engine runs; described for people. */
  | { readonly kind: "started"; readonly engine: string }
  /** Asks for the assignment of this run: a `Briefing`. Answered when the coordinator has welcomed this worker. */
  | { readonly kind: "briefing" }
  | { readonly kind: "next" }
  | { readonly kind: "ready"; readonly generation: number }
  | { readonly kind: "allocated"; readonly id: number; readonly memory: SummableMemory | ArenaRange }
  | { readonly kind: "sum"; readonly id: number; readonly offset: number; readonly length: number }
  | { readonly kind: "finishSums" }
  | { readonly kind: "vote"; readonly ballot: Ballot }
  | { readonly kind: "save"; readonly parts: readonly StatePart[] }
  | { readonly kind: "offer"; readonly parts: readonly StatePart[] }
  /** Training broke; nothing follows. */
  | { readonly kind: "failed"; readonly reason: string; readonly hint: string | undefined; readonly code: string };

/** Memory of the process's arena (../collective/host-memory.ts), which any of its threads can view. */
export interface ArenaRange {
  readonly arena: number;
  readonly offset: number;
  readonly bytes: number;
}

/** What training is about. */
export interface Briefing {
  readonly runId: string;
  readonly configJson: string;
  readonly manifestJson: string;
  /** The data set's Gaussians for the starts of chains; null where the configuration doesn't use them. */
  readonly gaussians: Uint8Array | null;
}

/** `by`: what carried the sums, as people are told; null for a worker alone. */
export type SumsResult = { readonly done: true; readonly by: string | null } | { readonly done: false; readonly reason: string };

export type FromLink =
  | { readonly kind: "briefing"; readonly briefing: Briefing | null }
  /** One at least. `member`: the generation's part in the host's shared memory, null for none. */
  | { readonly kind: "turns"; readonly turns: readonly Turn[]; readonly member?: number | null }
  | { readonly kind: "sums"; readonly result: SumsResult };
