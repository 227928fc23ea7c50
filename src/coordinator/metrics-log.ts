/**
 * metrics.jsonl: one line for each committed step, in their order. When a run goes back to a checkpoint, the lines of the
 * steps that were taken back are cut off, so that a reader finds each step once.
 */
import { open, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { MetricSink, StepRecord } from "./events.js";

export interface MetricsLog extends MetricSink {
  /** Forgets steps from this one on. */
  rewind(step: number): Promise<void>;
}

/** Opens a run's metrics for appending, without any line of `fromStep` or later. */
export async function openMetricsLog(runFolder: string, fromStep: number): Promise<MetricsLog> {
  const path = join(runFolder, "metrics.jsonl");
  await cut(path, fromStep);
  let file = await open(path, "a");
  let queue: Promise<void> = Promise.resolve();
  const enqueue = (work: () => Promise<void>): Promise<void> => {
    const done = queue.then(work);
    queue = done.catch(() => {});
    return done;
  };
  return {
    write: (record) => enqueue(async () => void (await file.write(`${JSON.stringify(record)}\n`))),
    rewind: (step) =>
      enqueue(async () => {
        await file.close();
        await cut(path, step);
        file = await open(path, "a");
      }),
    async close() {
      await queue;
      await file.close();
    },
  };
}

async function cut(path: string, fromStep: number): Promise<void> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const kept = text.split("\n").filter((line) => isBefore(line, fromStep));
  const next = kept.map((line) => `${line}\n`).join("");
  if (next === text) return;
  await writeFile(`${path}.tmp`, next);
  await rename(`${path}.tmp`, path);
}

/** A line torn by a crash belongs to no step. */
function isBefore(line: string, step: number): boolean {
  try {
    return (JSON.parse(line) as StepRecord).step < step;
  } catch {
    return false;
  }
}
