/**
 * How far a run's folder has come with what is wanted of it, so that finished work is used again and nothing of another kind
 * is overwritten. Read from the run's own config.yaml and journal.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config/schema.js";
import { type JournalLine, readJournal } from "../coordinator/journal.js";
import { readRunConfig } from "../evaluate/run-folder.js";

export type Standing =
  | { readonly kind: "new" }
  /** Steps are committed up to the checkpoint; training goes on from there. */
  | { readonly kind: "unfinished"; readonly step: number }
  | { readonly kind: "finished"; readonly step: number }
  /** The folder holds a run with other settings. */
  | { readonly kind: "other" };

export async function standingOf(folder: string, wanted: Config): Promise<Standing> {
  if (!existsSync(join(folder, "config.yaml"))) return { kind: "new" };
  const { lines } = await readJournal(folder);
  return decideStanding(readRunConfig(folder), wanted, lines);
}

export function decideStanding(found: Config, wanted: Config, journal: readonly JournalLine[]): Standing {
  if (!isDeepStrictEqual(found, wanted)) return { kind: "other" };
  const last = journal.findLast((line) => line.event === "end" || line.event === "start");
  if (last?.event === "end" && last.outcome === "finished") return { kind: "finished", step: last.step };
  const checkpoint = journal.findLast((line) => line.event === "checkpoint");
  return { kind: "unfinished", step: checkpoint?.event === "checkpoint" ? checkpoint.step : 0 };
}
