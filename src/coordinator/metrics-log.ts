/**
 * metrics.jsonl: one line for each committed step, in their order. When a run goes back to a checkpoint, the lines of the
 * steps that were taken back are cut off, so that a reader finds each step once.
 */
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { StepRecord } from "./events.js";

export interface MetricsLog {
  /** The last records that were there when it was opened. */
  readonly recent: readonly StepRecord[];
  /** Done when it returns, so that the journal never has a step whose figures are missing. */
  write(record: StepRecord): void;
  /** Forgets steps from this one on. */
  rewind(step: number): void;
  close(): void;
}

/** Records that are given back. */
const RECENT = 64;

/** Opens a run's metrics for appending, without any line of `fromStep` or later. */
export function openMetricsLog(runFolder: string, fromStep: number): MetricsLog {
  const path = join(runFolder, "metrics.jsonl");
  const recent = cut(path, fromStep).slice(-RECENT);
  let file = openSync(path, "a");
  return {
    recent: recent.map((line) => JSON.parse(line) as StepRecord),
    write(record) {
      writeSync(file, `${JSON.stringify(record)}\n`);
    },
    rewind(step) {
      closeSync(file);
      cut(path, step);
      file = openSync(path, "a");
    },
    close: () => closeSync(file),
  };
}

/** @returns the lines that are left */
function cut(path: string, fromStep: number): string[] {
  const text = readIfThere(path);
  const kept = text.split("\n").filter((line) => isBefore(line, fromStep));
  const next = kept.map((line) => `${line}\n`).join("");
  if (next !== text) {
    writeFileSync(`${path}.tmp`, next);
    renameSync(`${path}.tmp`, path);
  }
  return kept;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** A line torn by a crash belongs to no step. */
function isBefore(line: string, step: number): boolean {
  try {
    return (JSON.parse(line) as StepRecord).step < step;
  } catch {
    return false;
  }
}
