/**
 * Who exchanges what with whom in recursive doubling and halving: pure, from one rank's place.
 *
 * The largest power of two of ranks, the core, does the exchanges; a rank beyond it hands its vector to its partner in the core
 * before them and gets the sum after them. In `doubling` partners at distance 1, 2, 4, ... exchange all they have and add.
 * In `halving` partners at distance core/2, ..., 1 each keep one half of what they hold and send the other to be added; then the
 * same partners, in the opposite order, give each other what is complete (Thakur, Rabenseifner & Gropp 2005).
 * Same bits everywhere: partners add the same two numbers, and a + b = b + a in float32; the rest is copied.
 */
import type { ElementRange } from "./ring-plan.js";

export type PeerStep =
  /** Sends a range, and waits for nothing. */
  | { readonly kind: "send"; readonly partner: number; readonly range: ElementRange }
  /** Waits for a range, and adds it or puts it in place. */
  | { readonly kind: "receive"; readonly partner: number; readonly range: ElementRange; readonly action: "add" | "replace" }
  /** Both at once. */
  | {
      readonly kind: "exchange";
      readonly partner: number;
      readonly send: ElementRange;
      readonly receive: ElementRange;
      readonly action: "add" | "replace";
    };

export interface PeerShape {
  readonly rank: number;
  readonly worldSize: number;
  readonly numValues: number;
}

export function coreSize(worldSize: number): number {
  return 2 ** Math.floor(Math.log2(worldSize));
}

export function planPeers(algorithm: "doubling" | "halving", { rank, worldSize, numValues }: PeerShape): readonly PeerStep[] {
  const core = coreSize(worldSize);
  const all = { from: 0, to: numValues };
  if (rank >= core) {
    const partner = rank - core;
    return [
      { kind: "send", partner, range: all },
      { kind: "receive", partner, range: all, action: "replace" },
    ];
  }
  const steps: PeerStep[] = [];
  const beyond = rank + core < worldSize ? rank + core : null;
  if (beyond !== null) steps.push({ kind: "receive", partner: beyond, range: all, action: "add" });
  steps.push(...(algorithm === "doubling" ? double(rank, core, all) : halve(rank, core, all)));
  if (beyond !== null) steps.push({ kind: "send", partner: beyond, range: all });
  return steps;
}

/** Ranks that this one ever exchanges with, in ascending order. */
export function partnersOf(rank: number, worldSize: number): readonly number[] {
  const core = coreSize(worldSize);
  if (rank >= core) return [rank - core];
  const partners: number[] = [];
  for (let distance = 1; distance < core; distance *= 2) partners.push(rank ^ distance);
  if (rank + core < worldSize) partners.push(rank + core);
  return partners.sort((a, b) => a - b);
}

const OUT_OF_CORE = 1000;

/** Rounds are numbered alike on both sides of an exchange: 0 into the core, 1 and on inside, the last out of it. */
export function roundOf(numMoves: number, index: number, rank: number, worldSize: number): number {
  const core = coreSize(worldSize);
  if (rank >= core) return index === 0 ? 0 : OUT_OF_CORE;
  const hasBeyond = rank + core < worldSize;
  if (hasBeyond && index === numMoves - 1) return OUT_OF_CORE;
  return hasBeyond ? index : index + 1;
}

function double(rank: number, core: number, all: ElementRange): PeerStep[] {
  const steps: PeerStep[] = [];
  for (let distance = 1; distance < core; distance *= 2) {
    steps.push({ kind: "exchange", partner: rank ^ distance, send: all, receive: all, action: "add" });
  }
  return steps;
}

function halve(rank: number, core: number, all: ElementRange): PeerStep[] {
  const steps: PeerStep[] = [];
  const halvings: { partner: number; kept: ElementRange; given: ElementRange }[] = [];
  let mine = all;
  for (let distance = core / 2; distance >= 1; distance /= 2) {
    const middle = mine.from + Math.floor((mine.to - mine.from) / 2);
    const [lower, upper] = [
      { from: mine.from, to: middle },
      { from: middle, to: mine.to },
    ];
    const partner = rank ^ distance;
    const [kept, given] = (rank & distance) === 0 ? [lower, upper] : [upper, lower];
    steps.push({ kind: "exchange", partner, send: given, receive: kept, action: "add" });
    halvings.push({ partner, kept, given });
    mine = kept;
  }
  for (const { partner, kept, given } of halvings.reverse()) {
    steps.push({ kind: "exchange", partner, send: kept, receive: given, action: "replace" });
  }
  return steps;
}
