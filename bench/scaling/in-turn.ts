/**
 * Two groups of processes on one machine, in turn: while one computes the other is stopped (SIGSTOP), and after each turn they change
 * places. A machine whose speed drifts (other guests, heat, a cron job) then slows both alike; measured one after the other they would
 * have met two machines, and their ratio would tell of those.
 */
import { spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";

/** Processes that compute together. */
export interface Group {
  /** As `kill` takes them: a negative one is a whole process group. */
  readonly pids: readonly number[];
  /** Settles when all of it is done. */
  readonly ended: Promise<unknown>;
}

/** From when to when a group computed, in milliseconds since the epoch. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/**
 * Lets the first begin and returns when both have ended. Where this process is killed meanwhile, so are they: nobody stays stopped.
 * @param turnMs long against the filling of caches, short against a drift
 * @returns by group, when it computed. @throws what a group ends with; the caller ends the processes then.
 */
export async function inTurn(groups: readonly [Group, Group], turnMs: number): Promise<readonly [readonly Span[], readonly Span[]]> {
  const spans: [Span[], Span[]] = [[], []];
  const open = new Set([0, 1] as const);
  const ends = groups.map(({ ended }, i) => ended.then(() => open.delete(i as 0 | 1)));
  for (const end of ends) end.catch(() => {}); // thrown where it is waited for
  const release = killWithMe(groups.flatMap(({ pids }) => pids));
  try {
    signal(groups[1], "SIGSTOP");
    for (let now: 0 | 1 = 0; open.size > 0; now = now === 0 ? 1 : 0) {
      if (!open.has(now)) continue;
      const from = Date.now();
      signal(groups[now], "SIGCONT");
      const turn = new AbortController();
      const isAlone = open.size === 1;
      await Promise.race([ends[now], ...(isAlone ? [] : [pause(turnMs, undefined, { signal: turn.signal }).catch(() => {})])]);
      turn.abort();
      signal(groups[now], "SIGSTOP");
      spans[now].push({ from, to: Date.now() });
    }
    return spans;
  } finally {
    release();
  }
}

function signal({ pids }: Group, name: "SIGSTOP" | "SIGCONT"): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // it has ended
    }
  }
}

/** A shell that waits for the end of its input, which this process's end is too. @returns what sends it away */
function killWithMe(pids: readonly number[]): () => void {
  const script = 'read -r _; kill -s KILL -- "$@"';
  const shell = spawn("sh", ["-c", script, "sh", ...pids.map(String)], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  shell.on("error", () => {}); // no shell: then the risk stays
  return () => void shell.kill("SIGKILL");
}

/** How much of an interval a group computed, in milliseconds. */
export function activeMs(spans: readonly Span[], { from, to }: Span): number {
  return spans.reduce((sum, span) => sum + Math.max(0, Math.min(to, span.to) - Math.max(from, span.from)), 0);
}

/** In which of a group's turns a moment lies; the last one begun before it, where it lies in none. */
export function turnAt(spans: readonly Span[], at: number): number {
  const next = spans.findIndex(({ from }) => from > at);
  return (next < 0 ? spans.length : next) - 1;
}
