/**
 * Where a run stands that is taken up again: its identity and generation from the journal, its step from the newest whole
 * checkpoint, which must be of the same data.
 */
import type { Logger } from "pino";
import { z } from "zod";
import type { CheckpointStore } from "../checkpoint/store.js";
import { IsoergError } from "../util/error.js";
import { readJournal } from "./journal.js";

/** Where a run begins: 0 steps and null for a new one. */
export interface Start {
  readonly runId: string | null;
  readonly checkpointStep: number | null;
  readonly generation: number;
}

export const NEW_RUN: Start = { runId: null, checkpointStep: null, generation: 0 };

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
  let generation = 0;
  let runId: string | null = null;
  for (const line of lines) {
    if (line.event === "generation") generation = Math.max(generation, line.generation);
    else if (line.event === "start") runId = line.runId;
  }
  if ((await store.list()).length === 0) return { runId, checkpointStep: null, generation };
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
  return { runId: runId ?? state.data.runId, checkpointStep: checkpoint.step, generation };
}
