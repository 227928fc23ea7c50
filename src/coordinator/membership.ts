/**
 * Who belongs to the run, and when a new generation begins: a pure decision of (now, state, options), with no clock, socket
 * or timer in it. The reason is a sentence for the journal and for `isoerg status`.
 *
 * The first generation waits for all expected workers, or for the minimum once the join timeout is over. After that a loss
 * begins a new generation at once, and a newcomer is admitted at the next checkpoint, from which it (and everyone) starts.
 * Follows torchft's quorum_compute in form: decide here, act elsewhere.
 */

/** A worker process with an open session. */
export interface Candidate {
  readonly workerId: string;
  /** Of this process; unique. */
  readonly incarnation: string;
  readonly joinedAtMs: number;
  /** When anything was last heard from it. */
  readonly heardAtMs: number;
}

export interface MembershipState {
  /** In the order of joining. A second process of one worker id stands after the first. */
  readonly candidates: readonly Candidate[];
  /** Incarnations by rank; null before the first generation. */
  readonly members: readonly string[] | null;
  /** Since when there were too few workers; null when there are enough. */
  readonly belowMinimumSinceMs: number | null;
  /** Whether the present generation must be replaced even if nobody came or went (a collective failed). */
  readonly broken: string | null;
}

export interface MembershipOptions {
  readonly expectedWorkers: number;
  readonly minWorkers: number;
  /** How long the first generation waits for the expected number. */
  readonly joinTimeoutMs: number;
  /** How long a run that lost workers waits to have the minimum again. */
  readonly rejoinTimeoutMs: number;
  /** A worker that is silent for longer is lost. */
  readonly heartbeatTimeoutMs: number;
}

export type MembershipDecision =
  /** End these sessions first; the decision comes again without them. */
  | { readonly kind: "drop"; readonly incarnations: readonly string[] }
  | { readonly kind: "begin"; readonly members: readonly string[] }
  /** Newcomers wait: save a checkpoint after the step under way, then begin. */
  | { readonly kind: "admit"; readonly newcomers: readonly string[] }
  | { readonly kind: "stay" }
  | { readonly kind: "wait" }
  | { readonly kind: "giveUp" };

/** @returns what to do about the membership now, and why. */
export function decideMembership(nowMs: number, state: MembershipState, options: MembershipOptions): [MembershipDecision, string] {
  const fenced = fencedBySuccessor(state.candidates);
  if (fenced.length > 0) {
    return [
      { kind: "drop", incarnations: fenced.map((c) => c.incarnation) },
      `${names(fenced)}: another process of the same name joined later`,
    ];
  }
  const silent = state.candidates.filter((c) => nowMs - c.heardAtMs > options.heartbeatTimeoutMs);
  if (silent.length > 0) {
    return [
      { kind: "drop", incarnations: silent.map((c) => c.incarnation) },
      `${names(silent)}: silent for more than ${seconds(options.heartbeatTimeoutMs)}`,
    ];
  }
  return state.members === null ? decideFirst(nowMs, state, options) : decideNext(nowMs, state, state.members, options);
}

function decideFirst(nowMs: number, state: MembershipState, options: MembershipOptions): [MembershipDecision, string] {
  const { candidates } = state;
  const here = `${candidates.length} of ${options.expectedWorkers} workers are here`;
  const begin: MembershipDecision = { kind: "begin", members: ranked(candidates, []) };
  if (candidates.length >= options.expectedWorkers) return [begin, here];
  const waitedMs = nowMs - (state.belowMinimumSinceMs ?? nowMs);
  if (waitedMs < options.joinTimeoutMs) return [{ kind: "wait" }, here];
  if (candidates.length >= options.minWorkers)
    return [begin, `${here} after ${seconds(options.joinTimeoutMs)}; the minimum is ${options.minWorkers}`];
  return [{ kind: "giveUp" }, `${here} after ${seconds(options.joinTimeoutMs)}, and the minimum is ${options.minWorkers}`];
}

function decideNext(
  nowMs: number,
  state: MembershipState,
  members: readonly string[],
  options: MembershipOptions,
): [MembershipDecision, string] {
  const { candidates } = state;
  const present = new Set(candidates.map((c) => c.incarnation));
  const lost = members.filter((incarnation) => !present.has(incarnation));
  const newcomers = candidates.filter((c) => !members.includes(c.incarnation));
  if (candidates.length < options.minWorkers) {
    const waitedMs = nowMs - (state.belowMinimumSinceMs ?? nowMs);
    const few = `${candidates.length} workers are left and the minimum is ${options.minWorkers}`;
    return waitedMs < options.rejoinTimeoutMs
      ? [{ kind: "wait" }, few]
      : [{ kind: "giveUp" }, `${few}, after a wait of ${seconds(options.rejoinTimeoutMs)}`];
  }
  if (lost.length > 0) {
    return [
      { kind: "begin", members: ranked(candidates, members) },
      `${lost.length} of ${members.length} workers gone, ${candidates.length} to go on`,
    ];
  }
  if (state.broken !== null) return [{ kind: "begin", members: ranked(candidates, members) }, state.broken];
  if (newcomers.length > 0) {
    return [
      { kind: "admit", newcomers: newcomers.map((c) => c.incarnation) },
      `${names(newcomers)} wait to be let in at the next checkpoint`,
    ];
  }
  return [{ kind: "stay" }, `all ${members.length} members are here`];
}

/** Members keep their order, so that most positions stay where they are; newcomers follow, by name. */
export function ranked(candidates: readonly Candidate[], members: readonly string[]): string[] {
  const place = (c: Candidate): number => {
    const rank = members.indexOf(c.incarnation);
    return rank < 0 ? members.length : rank;
  };
  return [...candidates]
    .sort((a, b) => place(a) - place(b) || a.workerId.localeCompare(b.workerId, "en", { numeric: true }))
    .map((c) => c.incarnation);
}

/** Processes whose worker id was taken over by a later one. */
function fencedBySuccessor(candidates: readonly Candidate[]): Candidate[] {
  const last = new Map(candidates.map((c) => [c.workerId, c.incarnation]));
  return candidates.filter((c) => last.get(c.workerId) !== c.incarnation);
}

function names(candidates: readonly Candidate[]): string {
  return candidates.map((c) => c.workerId).join(", ");
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
