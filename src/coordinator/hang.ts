/**
 * Whether a worker hangs although its link lives: a pure decision on what its heartbeats say.
 *
 * A worker is in one of its own phases (attack, sample, gradient, ...) or waits for others (samples, sums, votes). In a phase of
 * its own it may take a multiple of the longest step that it has shown, and not less than a floor; before its first step (engines
 * warm up, state is loaded) a longer limit holds. If nobody is in a phase of its own and
 * the step still doesn't end, the sum hangs between them and is tried again. Horovod's stall inspector is the model for naming.
 */

export interface WatchedWorker {
  readonly workerId: string;
  readonly incarnation: string;
  readonly rank: number;
  readonly phase: string;
  readonly phaseSinceMs: number;
  /** 0 before its first step since it took over its state. */
  readonly longestStepMs: number;
}

export interface HangState {
  readonly workers: readonly WatchedWorker[];
  /** When the step, or the forming of the generation, began. */
  readonly stageSinceMs: number;
  /** Ranks that are ready, while the generation forms; null in a step. */
  readonly ready: { has(rank: number): boolean } | null;
}

export interface HangOptions {
  /** How many times its longest step a phase may take. */
  readonly factor: number;
  /** No phase is too long before this. */
  readonly floorMs: number;
  /** For a worker's first step, and for the forming of a generation. */
  readonly firstMs: number;
}

export type HangDecision =
  | { readonly kind: "none" }
  | { readonly kind: "evict"; readonly incarnation: string }
  /** Nobody is at fault alone: the step comes again in a new generation. */
  | { readonly kind: "retry" };

/** Phases in which a worker waits for others. */
const WAITING: ReadonlySet<string> = new Set(["wait", "reduce", "vote", "idle", "starting"]);

/** @returns what to do, and why. At most one worker is named at a time: others may only wait for it. */
export function decideHang(nowMs: number, { workers, stageSinceMs, ready }: HangState, options: HangOptions): [HangDecision, string] {
  const own = workers
    .filter(({ phase }) => !WAITING.has(phase))
    .map((worker) => ({ ...worker, ageMs: nowMs - worker.phaseSinceMs, budgetMs: budgetOf(worker, options) }));
  const [hung] = own.filter(({ ageMs, budgetMs }) => ageMs > budgetMs).sort((a, b) => b.ageMs - b.budgetMs - (a.ageMs - a.budgetMs));
  if (hung) {
    const measure = hung.longestStepMs > 0 ? `its longest step took ${seconds(hung.longestStepMs)}` : "it has done no step yet";
    return [
      { kind: "evict", incarnation: hung.incarnation },
      `rank ${hung.rank} (${hung.workerId}) hangs in '${hung.phase}' for ${seconds(hung.ageMs)}; ${measure}`,
    ];
  }
  const longestMs = Math.max(0, ...workers.map(({ longestStepMs }) => longestStepMs));
  const limitMs = longestMs > 0 && ready === null ? Math.max(options.floorMs, options.factor * longestMs) : options.firstMs;
  const waitedMs = nowMs - stageSinceMs;
  if (own.length > 0 || waitedMs <= limitMs) return [{ kind: "none" }, ""];
  const late = ready === null ? undefined : workers.find(({ rank }) => !ready.has(rank));
  if (late)
    return [
      { kind: "evict", incarnation: late.incarnation },
      `rank ${late.rank} (${late.workerId}) is not ready after ${seconds(waitedMs)}`,
    ];
  const where = workers.map(({ workerId, phase }) => `${workerId} in '${phase}'`).join(", ");
  return [{ kind: "retry" }, `the step has been going on for ${seconds(waitedMs)} and everyone waits: ${where}`];
}

function budgetOf({ longestStepMs }: WatchedWorker, { factor, floorMs, firstMs }: HangOptions): number {
  return longestStepMs > 0 ? Math.max(floorMs, factor * longestStepMs) : Math.max(floorMs, firstMs);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
