/** The timeline of a worker: a trace that Chrome and Perfetto read, whose spans nest, whatever happens to the step. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NO_ADJUSTMENT } from "../../src/config/adjustment.js";
import { CollectiveInterrupted, type Link, type Turn } from "../../src/train/link.js";
import { mergeTraces, readTrace, type TraceEvent, TraceFile, traceLink } from "../../src/worker/trace.js";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-trace-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const generation: Turn = {
  kind: "generation",
  assignment: { generation: 3, rank: 1, worldSize: 2, step: 5, chains: { from: 0, to: 1 }, adjustment: NO_ADJUSTMENT },
  state: "keep",
  chains: [],
};
const stepOf = (step: number): Turn => ({
  ...{ kind: "step", step, epoch: 0, batchSize: 2, positions: { from: 0, to: 1 }, dataWaitMs: 0, following: null },
  ...{ ids: new Uint32Array(1), labels: new Int32Array(1), images: new Uint8Array(1) },
});
const verdict: Turn = { kind: "verdict", commit: true, checkpoint: false, reason: "all agree" };
const ballot = { ok: true, fault: "none", reason: "", checksum: 0n, metrics: {}, phasesMs: {} } as const;

/** Two steps as the loop does them, the second one begun ahead; its sums are interrupted. Time goes on by a millisecond a look. */
function traced(path: string): void {
  let clock = 1_700_000_000_000;
  const turns: Turn[] = [generation, stepOf(5), verdict, stepOf(6), verdict, { kind: "stop", outcome: "finished", reason: "" }];
  let finishes = 0;
  const inner: Link = {
    next: () => turns.shift() as Turn,
    ready: () => {},
    allocate: (length) => new Float32Array(length),
    startSum: () => {},
    finishSums: () => {
      if (++finishes === 4) throw new CollectiveInterrupted("rank 0 is gone");
    },
    vote: () => {},
    save: () => {},
    offer: () => {},
    phase: () => {},
  };
  const file = new TraceFile(path, { name: "worker local-1", pid: 77 });
  const link = traceLink(inner, file, () => clock++);
  const begin = (): void => {
    for (const phase of ["data", "attack"] as const) link.phase(phase);
  };
  let isAhead = false;
  for (let turn = link.next(); turn.kind !== "stop"; turn = link.next()) {
    if (turn.kind !== "step") continue;
    if (!isAhead) begin();
    link.phase("gradient");
    link.startSum(new Float32Array(16));
    link.finishSums();
    link.startSum(new Float32Array(1000));
    link.startSum(new Float32Array(500));
    link.phase("reduce");
    try {
      link.finishSums();
    } catch (error) {
      expect(error).toBeInstanceOf(CollectiveInterrupted);
    }
    link.phase("vote");
    link.vote(ballot);
    link.phase("update");
    isAhead = turn.step === 5;
    if (isAhead) begin();
    link.phase("vote");
  }
  file.close();
}

/** In each row a span is inside another one or beside it, never across its end. */
function expectNested(events: readonly TraceEvent[]): void {
  const rows = new Map<string, TraceEvent[]>();
  for (const event of events) {
    const row = `${event.pid} ${event.tid}`;
    if (event.ph === "X") rows.set(row, [...(rows.get(row) ?? []), event]);
  }
  for (const spans of rows.values()) {
    const open: number[] = [];
    for (const { ts = 0, dur = 0 } of spans.toSorted((a, b) => (a.ts ?? 0) - (b.ts ?? 0) || (b.dur ?? 0) - (a.dur ?? 0))) {
      while (open.length > 0 && (open.at(-1) as number) <= ts) open.pop();
      if (open.length > 0) expect(ts + dur).toBeLessThanOrEqual(open.at(-1) as number);
      open.push(ts + dur);
    }
  }
}

describe("a worker's trace", () => {
  it("has every step with its phases, sums and votes, and its spans nest", () => {
    const path = join(folder, "trace.json");
    traced(path);
    const events = readTrace(path);
    expectNested(events);
    const named = (name: string) => events.filter((event) => event.name === name);
    expect(named("process_name")[0]?.args).toEqual({ name: "worker local-1" });
    for (const [step, waits] of [
      [5, []],
      [6, ["vote", "wait"]], // for the verdict on step 5, then for its own turn
    ] as const) {
      const [span] = named(`step ${step}`);
      expect(span).toMatchObject({ ph: "X", pid: 77, args: { step, rank: 1, worldSize: 2, generation: 3 } });
      const inside = events.filter(
        ({ tid, ts = 0, dur = 0 }) => tid === span?.tid && ts >= (span.ts ?? 0) && ts + dur <= (span.ts ?? 0) + (span.dur ?? 0),
      );
      expect(inside.map(({ name }) => name).filter((name) => !name.startsWith("step"))).toEqual([
        ...["data", "attack", ...waits, "gradient", "reduce", "vote", "update"],
      ]);
    }
    expect(named("1 sum")).toHaveLength(2);
    expect(named("2 sums")[0]?.args).toEqual({ values: 1500, bytes: 6000 });
    expect(named("vote").filter(({ args }) => args?.commit === "true")).toHaveLength(2);
    for (const { ts = 0 } of events.filter(({ ph }) => ph === "X")) expect(ts).toBeGreaterThanOrEqual(1_700_000_000_000_000);
  });

  it("is still read when its process was killed in the middle of a line", () => {
    const path = join(folder, "trace.json");
    traced(path);
    const whole = readTrace(path).length;
    appendFileSync(path, '{"name":"reduce","ph":"X","pi');
    expect(readTrace(path)).toHaveLength(whole);
  });

  it("is put beside those of other workers in one JSON document", () => {
    const paths = [join(folder, "a.json"), join(folder, "b.json")];
    for (const path of paths) traced(path);
    const into = join(folder, "sub", "all.json");
    mergeTraces(paths, into);
    const { traceEvents, displayTimeUnit } = JSON.parse(readFileSync(into, "utf8")) as {
      traceEvents: TraceEvent[];
      displayTimeUnit: string;
    };
    expect(displayTimeUnit).toBe("ms");
    expectNested(traceEvents);
    expect(new Set(traceEvents.map(({ pid }) => pid))).toEqual(new Set([1, 2]));
    for (const event of traceEvents) {
      expect(["X", "M"]).toContain(event.ph);
      if (event.ph === "X") expect(Number.isInteger(event.ts) && Number.isInteger(event.dur)).toBe(true);
    }
  });
});
