/**
 * Where a run stands that is taken up again: its identity, history and first uncommitted step from the journal, the newest
 * whole checkpoint from the store, which must be of the same data. Which of the two the run goes on from depends on who comes
 * back: workers that still hold the journal's step, or only new ones (`restore.ts`).
 */
import type { Logger } from "pino";
import { z } from "zod";
import type { CheckpointStore } from "../checkpoint/store.js";
import { IsoergError } from "../util/error.js";
import { type JournalLine, readJournal } from "./journal.js";
import { Lineage } from "./lineage.js";

/** Where a run begins. */
export interface Start {
  readonly runId: string | null;
  readonly checkpointStep: number | null;
  /** The first step that the journal doesn't have as committed. */
  readonly step: number;
  /** The last generation's number; 0 for none. */
  readonly generation: number;
  readonly lineage: Lineage;
  /** Who was in the last generation, by rank, and may still hold its state; empty where all were told that the run is over. */
  readonly members: readonly { readonly workerId: string; readonly incarnation: string }[];
  /** Processes whose place another one of the same name took. */
  readonly superseded: readonly string[];
  /** Counts the coordinators of the run before this one. */
  readonly term: number;
}

export function newRun(): Start {
  return { runId: null, checkpointStep: null, step: 0, generation: 0, lineage: new Lineage(), members: [], superseded: [], term: 0 };
}

const stateSchema = z.object({ runId: z.string(), dataset: z.string() });

export interface StandingOptions {
  readonly runFolder: string;
  readonly store: CheckpointStore;
  readonly log: Logger;
}

/** What the run folder says about the run so far: its id, its last whole checkpoint, its last generation. @throws IsoergError CHECKPOINT */
export async function whereItStands({ runFolder, store, log }: StandingOptions, dataset: string): Promise<Start> {
  const { lines, numTorn } = await readJournal(runFolder);
  if (numTorn > 0) log.warn({ numTorn }, "the journal has torn lines; they are passed over");
  const history = historyOf(lines);
  if ((await store.list()).length === 0) return { ...history, checkpointStep: null };
  const checkpoint = await store.load("latest");
  for (const warning of checkpoint.warnings) log.warn(warning);
  const state = stateSchema.safeParse(checkpoint.state);
  if (!state.success)
    throw new IsoergError("CHECKPOINT", `${checkpoint.path}/state.json says nothing of a run`, {
      hint: "It was not written by `isoerg train`.",
    });
  if (state.data.dataset !== dataset) {
    throw new IsoergError(
      "CHECKPOINT",
      `${checkpoint.path} was trained on other data than the configuration names (manifest ${state.data.dataset.slice(0, 12)}, not ${dataset.slice(0, 12)})`,
      {
        hint: "Give the data set that the run began with, or start a new run in another folder.",
      },
    );
  }
  const step = Math.max(history.step, checkpoint.step); // a journal that was lost says nothing of steps
  return { ...history, runId: history.runId ?? state.data.runId, checkpointStep: checkpoint.step, step };
}

/** What a journal says of the run so far. */
export function historyOf(lines: readonly JournalLine[]): Omit<Start, "checkpointStep"> {
  const lineage = new Lineage();
  let runId: string | null = null;
  let generation = 0;
  let term = 0;
  let members: { workerId: string; incarnation: string }[] = [];
  const latest = new Map<string, string>(); // incarnation by worker
  const superseded = new Set<string>();
  for (const line of lines) {
    if (line.event === "start") {
      runId = line.runId;
      term = Math.max(term + 1, line.term ?? 0);
    } else if (line.event === "join") {
      const before = latest.get(line.worker);
      if (before !== undefined && before !== line.incarnation) superseded.add(before);
      if (!superseded.has(line.incarnation)) latest.set(line.worker, line.incarnation);
    } else if (line.event === "generation") {
      generation = Math.max(generation, line.generation);
      lineage.begin(line.generation, line.step);
      members = line.workers.map((workerId, rank) => ({ workerId, incarnation: line.members?.[rank] ?? "" }));
    } else if (line.event === "alarm") {
      lineage.forget(line.restoredStep);
    } else if (line.event === "commit") {
      lineage.commit(line.step);
    } else if (line.event === "end" && line.code !== "TERMINATED") {
      members = [];
    }
  }
  return { runId, step: lineage.step, generation, lineage, members, superseded: [...superseded], term };
}
