/**
 * Who belongs to the run, and when a new generation begins: a pure decision of (now, state, options), with no clock, socket
 * or timer in it. The reason is a sentence for the journal and for `isoerg status`.
 *
 * The first generation waits for all expected workers, or for the minimum once the join timeout is over; a run that was taken
 * up again also waits a while for those who may still hold its state. After that a loss begins a new generation at once;
 * newcomers and workers that want to leave are looked after when the step under way is done.
 * Follows torchft's quorum_compute in form: decide here, act elsewhere.
 */
import { type SilenceOptions, silenceLimitMs } from "./silence.js";

/** A worker process with an open session. */
export interface Candidate {
  readonly workerId: string;
  /** Of this process; unique. */
  readonly incarnation: string;
  readonly joinedAtMs: number;
  /** When anything was last heard from it. */
  readonly heardAtMs: number;
  /** Between its last heartbeats. */
  readonly longestPauseMs: number;
  /** It was told to terminate, and waits to be released. */
  readonly isRetiring: boolean;
}

export interface MembershipState {
  /** In the order of joining. A second process of one worker id stands after the first. */
  readonly candidates: readonly Candidate[];
  /** Incarnations by rank; null before the first generation of this coordinator. */
  readonly members: readonly string[] | null;
  /**
   * Those of the generation before this coordinator that are not back yet, and until when nothing begins without them; by `foundByMs`
   * those who are alive have come, as long as nobody else comes.
   */
  readonly awaited: { readonly workers: readonly string[]; readonly numBack: number; readonly untilMs: number; readonly foundByMs: number };
  /** Since when there were too few workers; null when there are enough. */
  readonly belowMinimumSinceMs: number | null;
  /** Whether the present generation must be replaced even if nobody came or went (a collective failed). */
  readonly broken: string | null;
}

export interface MembershipOptions {
  readonly expectedWorkers: number;
  readonly minWorkers: number;
  /** More than these wait as spares. */
  readonly maxWorkers: number;
  /** How long the first generation waits for the expected number. */
  readonly joinTimeoutMs: number;
  /** How long a run that lost workers waits to have the minimum again. */
  readonly rejoinTimeoutMs: number;
  /** A worker that is silent for longer is lost (`silence.ts`). */
  readonly silence: SilenceOptions;
}

export type MembershipDecision =
  /** End these sessions first; the decision comes again without them. `fenced`: another process has their place. */
  | { readonly kind: "drop"; readonly incarnations: readonly string[]; readonly fenced: boolean }
  | { readonly kind: "begin"; readonly members: readonly string[] }
  /** Begin when the step under way is done: nothing is broken, somebody wants in or out. */
  | { readonly kind: "regroup" }
  /** Who wants to leave is needed: save, after the step under way if it can be finished, then let them go. */
  | { readonly kind: "saveAndRelease" }
  | { readonly kind: "stay" }
  | { readonly kind: "wait" }
  | { readonly kind: "giveUp" };

/** @returns what to do about the membership now, and why. */
export function decideMembership(nowMs: number, state: MembershipState, options: MembershipOptions): [MembershipDecision, string] {
  const fenced = fencedBySuccessor(state.candidates);
  if (fenced.length > 0) {
    return [
      { kind: "drop", incarnations: fenced.map((c) => c.incarnation), fenced: true },
      `${names(fenced)}: another process of the same name joined later`,
    ];
  }
  const silent = state.candidates.filter((c) => nowMs - c.heardAtMs > silenceLimitMs(c.longestPauseMs, options.silence));
  if (silent.length > 0) {
    const limitMs = Math.min(...silent.map((c) => silenceLimitMs(c.longestPauseMs, options.silence)));
    return [
      { kind: "drop", incarnations: silent.map((c) => c.incarnation), fenced: false },
      `${names(silent)}: silent for more than ${seconds(limitMs)}`,
    ];
  }
  return state.members === null ? decideFirst(nowMs, state, options) : decideNext(nowMs, state, state.members, options);
}

function decideFirst(nowMs: number, state: MembershipState, options: MembershipOptions): [MembershipDecision, string] {
  const { awaited } = state;
  const candidates = staying(state);
  const here = `${candidates.length} of ${options.expectedWorkers} workers are here`;
  const begin = (): MembershipDecision => ({ kind: "begin", members: chosen(candidates, [], options) });
  if (awaited.workers.length > 0 && nowMs < awaited.untilMs) {
    return [{ kind: "wait" }, `${here}; ${awaited.workers.join(", ")} may still hold the run's state`];
  }
  if (candidates.length >= options.expectedWorkers) return [begin(), here];
  if (awaited.numBack > 0 && awaited.workers.length === 0 && candidates.length >= options.minWorkers)
    return [begin(), `all ${awaited.numBack} workers of the last generation are back`];
  if (awaited.numBack > 0 && nowMs >= awaited.foundByMs && candidates.length >= options.minWorkers)
    return [begin(), `${here}; of the last generation ${awaited.workers.join(", ")} did not come back`];
  const waitedMs = nowMs - (state.belowMinimumSinceMs ?? nowMs);
  if (waitedMs < options.joinTimeoutMs) return [{ kind: "wait" }, here];
  if (candidates.length >= options.minWorkers)
    return [begin(), `${here} after ${seconds(options.joinTimeoutMs)}; the minimum is ${options.minWorkers}`];
  return [{ kind: "giveUp" }, `${here} after ${seconds(options.joinTimeoutMs)}, and the minimum is ${options.minWorkers}`];
}

function decideNext(
  nowMs: number,
  state: MembershipState,
  members: readonly string[],
  options: MembershipOptions,
): [MembershipDecision, string] {
  const candidates = staying(state);
  const present = new Set(state.candidates.map((c) => c.incarnation));
  const isMember = isOneOf(members);
  const lost = members.filter((incarnation) => !present.has(incarnation));
  const retiring = state.candidates.filter((c) => c.isRetiring);
  if (candidates.length < options.minWorkers) {
    if (retiring.length > 0) return [{ kind: "saveAndRelease" }, `${names(retiring)} leave, and the minimum is ${options.minWorkers}`];
    const waitedMs = nowMs - (state.belowMinimumSinceMs ?? nowMs);
    const few = `${candidates.length} workers are left and the minimum is ${options.minWorkers}`;
    return waitedMs < options.rejoinTimeoutMs
      ? [{ kind: "wait" }, few]
      : [{ kind: "giveUp" }, `${few}, after a wait of ${seconds(options.rejoinTimeoutMs)}`];
  }
  const begin = (): MembershipDecision => ({ kind: "begin", members: chosen(candidates, members, options) });
  if (lost.length > 0) return [begin(), `${lost.length} of ${members.length} workers gone, ${candidates.length} to go on`];
  if (state.broken !== null) return [begin(), state.broken];
  const leaving = retiring.filter(isMember);
  if (leaving.length > 0) return [{ kind: "regroup" }, `${names(leaving)} leave in order after this step`];
  const newcomers = candidates.filter((c) => !isMember(c));
  if (newcomers.length > 0 && members.length < options.maxWorkers)
    return [{ kind: "regroup" }, `${names(newcomers)} are let in after this step`];
  const spare = newcomers.length === 0 ? "" : `; ${newcomers.length} more wait, the maximum is ${options.maxWorkers}`;
  return [{ kind: "stay" }, `all ${members.length} members are here${spare}`];
}

function isOneOf(members: readonly string[]): (candidate: Candidate) => boolean {
  const incarnations = new Set(members);
  return ({ incarnation }) => incarnations.has(incarnation);
}

function staying(state: MembershipState): Candidate[] {
  return state.candidates.filter((c) => !c.isRetiring);
}

/** Members before newcomers, in the order of joining, as many as may be; then by rank. */
function chosen(candidates: readonly Candidate[], members: readonly string[], { maxWorkers }: MembershipOptions): string[] {
  const isMember = isOneOf(members);
  const first = candidates.filter(isMember);
  const then = candidates.filter((c) => !isMember(c));
  return ranked([...first, ...then].slice(0, Math.max(maxWorkers, 1)), members);
}

const byName = new Intl.Collator("en", { numeric: true });

/** Members keep their order, so that most positions stay where they are; newcomers follow, by name. */
export function ranked(candidates: readonly Pick<Candidate, "workerId" | "incarnation">[], members: readonly string[]): string[] {
  const ranks = new Map(members.map((incarnation, rank) => [incarnation, rank]));
  const place = (c: Pick<Candidate, "incarnation">): number => ranks.get(c.incarnation) ?? members.length;
  return [...candidates].sort((a, b) => place(a) - place(b) || byName.compare(a.workerId, b.workerId)).map((c) => c.incarnation);
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
  return `${Math.round(ms / 100) / 10} s`;
}
