/**
 * Whether a worker hangs although its link lives: a pure decision on what its heartbeats say.
 *
 * Heartbeats come from a worker's link thread. A process that is stopped, or cut off, sends none: that is silence, and told in
 * `membership.ts`. One that sends them says what its training thread does: whether it waits for an answer, and if not, since when
 * nothing was heard of it and since when the process uses no processor. A thread that waits is never at fault. One that computes
 * may take a multiple of what the same phase took lately in this run (`pace.ts`), and not less than a floor: a short one while the
 * processor stands idle (a lock, a dead device, a lost disk), a longer one while it works, since that may be mere slowness. What
 * was never seen (the first step of the first workers, a state being loaded) has a limit of its own. If nobody computes and the
 * step still doesn't end, the sum hangs between them and is tried again. Horovod's stall inspector is the model for naming.
 */

export interface WatchedWorker {
  readonly workerId: string;
  readonly incarnation: string;
  readonly rank: number;
  /** By its last heartbeat: what its training thread does, for how long, and how long without a processor. */
  readonly phase: string;
  readonly phaseMs: number;
  readonly idleMs: number;
  readonly waits: boolean;
  /** The longest that this has taken lately; null where it was never seen. */
  readonly expectedMs: number | null;
}

export interface HangState {
  readonly workers: readonly WatchedWorker[];
  /** How long the step, or the forming of the generation, has been going on. */
  readonly stageMs: number;
  /** The longest that such a one has taken lately; null where none was seen. */
  readonly stageExpectedMs: number | null;
  /** Ranks that are ready, while the generation forms; null in a step. */
  readonly ready: { has(rank: number): boolean } | null;
}

export interface Limit {
  /** How many times the longest lately. */
  readonly factor: number;
  /** Nothing is too long before this. */
  readonly floorMs: number;
}

export interface HangOptions {
  /** Of a thread that should compute, and whose process uses no processor. */
  readonly idle: Limit;
  /** Of any phase, and of a step in which everyone waits. */
  readonly busy: Limit;
  /** For what was never seen in this run. */
  readonly firstMs: number;
}

export type HangDecision =
  | { readonly kind: "none" }
  | { readonly kind: "evict"; readonly incarnation: string }
  /** Nobody is at fault alone: the step comes again in a new generation. */
  | { readonly kind: "retry" };

/** @returns what to do, and why. At most one worker is named at a time: others may only wait for it. */
export function decideHang({ workers, stageMs, stageExpectedMs, ready }: HangState, options: HangOptions): [HangDecision, string] {
  const computing = workers.filter(({ waits }) => !waits).map((worker) => ({ ...worker, overMs: overMs(worker, options) }));
  const [hung] = computing.filter((worker) => worker.overMs > 0).sort((a, b) => b.overMs - a.overMs);
  if (hung) {
    const { rank, workerId, phase, phaseMs, idleMs, expectedMs } = hung;
    const measure = expectedMs === null ? "none was seen to end in this run" : `the longest lately took ${seconds(expectedMs)}`;
    return [
      { kind: "evict", incarnation: hung.incarnation },
      `rank ${rank} (${workerId}) hangs in '${phase}' for ${seconds(phaseMs)}, without a processor for ${seconds(idleMs)}; ${measure}`,
    ];
  }
  const limitMs = stageExpectedMs === null ? options.firstMs : longer(options.busy, stageExpectedMs);
  if (computing.length > 0 || stageMs <= limitMs) return [{ kind: "none" }, ""];
  const late = ready === null ? undefined : workers.find(({ rank }) => !ready.has(rank));
  if (late)
    return [
      { kind: "evict", incarnation: late.incarnation },
      `rank ${late.rank} (${late.workerId}) is not ready after ${seconds(stageMs)}`,
    ];
  const where = workers.map(({ workerId, phase }) => `${workerId} in '${phase}'`).join(", ");
  return [{ kind: "retry" }, `the step has been going on for ${seconds(stageMs)} and everyone waits: ${where}`];
}

/** By how much a thread that computes is over its limit. */
function overMs({ expectedMs, phaseMs, idleMs }: WatchedWorker, { idle, busy, firstMs }: HangOptions): number {
  if (expectedMs === null) return phaseMs - firstMs;
  return Math.max(idleMs - longer(idle, expectedMs), phaseMs - longer(busy, expectedMs));
}

function longer({ factor, floorMs }: Limit, expectedMs: number): number {
  return Math.max(floorMs, factor * expectedMs);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
