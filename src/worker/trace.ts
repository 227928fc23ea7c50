/**
 * A worker's time, span by span, as a Chrome trace (Trace Event Format, JSON array of complete events "X"): what chrome://tracing and
 * ui.perfetto.dev open. Taken at the link, through which a training says all that it does: its phases, sums and votes.
 *
 * Three rows a worker: the step with its phases, the sums under way, the votes under way. Spans of a row nest. Times are
 * microseconds of the wall clock, so that the rows of all processes of a machine stand side by side; those of other machines
 * are as far off as their clocks are.
 */
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Phase } from "../train/clock.js";
import type { Link, Verdict } from "../train/link.js";

export interface TraceEvent {
  readonly name: string;
  /** X: a span; M: what a row is called. */
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  /** Microseconds since 1970, and of length. */
  readonly ts?: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, number | string>>;
}

/** Rows of a worker. */
const ROW = { training: 1, sums: 2, votes: 3 } as const;
type Row = keyof typeof ROW;

export interface Span {
  readonly row: Row;
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly args?: Readonly<Record<string, number | string>>;
}

/** Milliseconds since 1970, to the microsecond, alike in all threads and processes of a machine. */
export function wallClockMs(): number {
  return performance.timeOrigin + performance.now();
}

/** A file that is a trace at every moment up to its last line, also when its process is killed: the format lets the end of the array be missing. */
export class TraceFile {
  readonly #file: number;
  readonly #pid: number;
  #lines: string[] = [];

  constructor(path: string, { name, pid = process.pid }: { readonly name: string; readonly pid?: number }) {
    mkdirSync(dirname(path), { recursive: true });
    this.#file = openSync(path, "w");
    this.#pid = pid;
    this.#lines.push("[");
    this.#add({ name: "process_name", ph: "M", pid, tid: 0, args: { name } });
    for (const [row, tid] of Object.entries(ROW)) this.#add({ name: "thread_name", ph: "M", pid, tid, args: { name: row } });
    this.flush();
  }

  add({ row, name, fromMs, toMs, args }: Span): void {
    const ts = Math.round(fromMs * 1000);
    const dur = Math.max(0, Math.round(toMs * 1000) - ts);
    this.#add({ name, ph: "X", pid: this.#pid, tid: ROW[row], ts, dur, ...(args && { args }) });
  }

  flush(): void {
    if (this.#lines.length > 0) writeSync(this.#file, `${this.#lines.join("\n")}\n`);
    this.#lines = [];
  }

  close(): void {
    this.flush();
    closeSync(this.#file);
  }

  #add(event: TraceEvent): void {
    this.#lines.push(`${JSON.stringify(event)},`);
  }
}

/** A link that writes down what goes through it. Spans end when the next begins, and reach the file once a step. */
export function traceLink(link: Link, file: Pick<TraceFile, "add" | "flush">, now: () => number = wallClockMs): Link {
  let phase: { readonly name: Phase; readonly fromMs: number } | null = null;
  let step: { readonly step: number; readonly fromMs: number; hasVoted: boolean } | null = null;
  let rank = { rank: 0, worldSize: 1, generation: 0 };
  let sums: { readonly fromMs: number; count: number; values: number } | null = null;
  let castMs: number | null = null;
  const endPhase = (at: number): void => {
    if (phase) file.add({ row: "training", name: phase.name, fromMs: phase.fromMs, toMs: at, args: { step: step?.step ?? -1 } });
    phase = null;
  };
  const endStep = (at: number): void => {
    endPhase(at);
    if (step) file.add({ row: "training", name: `step ${step.step}`, fromMs: step.fromMs, toMs: at, args: { step: step.step, ...rank } });
    step = null;
    file.flush();
  };
  const endVote = (at: number, { commit, reason }: Verdict): void => {
    if (castMs !== null) file.add({ row: "votes", name: "vote", fromMs: castMs, toMs: at, args: { commit: String(commit), reason } });
    castMs = null;
  };
  return {
    ...link,
    next() {
      const asked = now();
      const waitsForVerdict = castMs !== null; // that is the phase "vote"
      if (!waitsForVerdict) endPhase(asked);
      const turn = link.next();
      const at = now();
      if (waitsForVerdict) endPhase(at);
      else file.add({ row: "training", name: turn.kind === "step" ? "wait" : `wait (${turn.kind})`, fromMs: asked, toMs: at });
      if (turn.kind === "verdict") {
        endVote(at, turn);
      } else if (turn.kind === "step") {
        if (step?.step !== turn.step) {
          endStep(at);
          step = { step: turn.step, fromMs: at, hasVoted: false };
        }
      } else {
        endStep(asked);
        if (turn.kind === "generation") {
          const { assignment } = turn;
          rank = { rank: assignment.rank, worldSize: assignment.worldSize, generation: assignment.generation };
        }
      }
      return turn;
    },
    phase(name) {
      const at = now();
      endPhase(at);
      if (step?.hasVoted && name !== "update") {
        // What follows is of the next step, begun ahead of its turn, or a wait.
        const next = step.step + 1;
        endStep(at);
        if (name !== "vote") step = { step: next, fromMs: at, hasVoted: false };
      }
      phase = { name, fromMs: at };
      link.phase(name);
    },
    startSum(values) {
      sums ??= { fromMs: now(), count: 0, values: 0 };
      sums.count++;
      sums.values += values.length;
      link.startSum(values);
    },
    finishSums() {
      const waitedFrom = now();
      try {
        link.finishSums();
      } finally {
        const at = now();
        if (sums) {
          const { count, values, fromMs } = sums;
          const by = link.carrier?.() ?? null;
          const args = { values, bytes: 4 * values, ...(by !== null && { by }) };
          file.add({ row: "sums", name: count === 1 ? "1 sum" : `${count} sums`, fromMs, toMs: at, args });
          file.add({ row: "sums", name: "waited for", fromMs: waitedFrom, toMs: at });
        }
        sums = null;
      }
    },
    vote(ballot) {
      castMs = now();
      if (step) step.hasVoted = true;
      link.vote(ballot);
    },
  };
}

/** The events of a trace file; a last line that was cut off is left out. */
export function readTrace(path: string): TraceEvent[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .flatMap((line) => {
      try {
        return [JSON.parse(line.replace(/,$/, "")) as TraceEvent];
      } catch {
        return [];
      }
    });
}

/** Puts the traces of several workers into one file, a worker a process of its own there, in this order. */
export function mergeTraces(paths: readonly string[], into: string): void {
  const traceEvents = paths.flatMap((path, index) => [
    { name: "process_sort_index", ph: "M", pid: index + 1, tid: 0, args: { sort_index: index } },
    ...readTrace(path).map((event) => ({ ...event, pid: index + 1 })),
  ]);
  mkdirSync(dirname(into), { recursive: true });
  writeFileSync(into, `{"displayTimeUnit":"ms","traceEvents":[\n${traceEvents.map((event) => JSON.stringify(event)).join(",\n")}\n]}\n`);
}
