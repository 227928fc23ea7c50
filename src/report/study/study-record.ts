/** All that a study's folder tells a report: the sweep, its jobs, and the learning curves that its trials left. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Job, lastJobs } from "../../sweep/job.js";
import { readStudy, STUDY_FILE } from "../../sweep/journal.js";
import { createSpace, type Space } from "../../sweep/space.js";
import { type SweepSpec, sweepSchema } from "../../sweep/spec.js";
import { trialFolder } from "../../sweep/trial/folder.js";
import { IsoergError } from "../../util/error.js";
import { parseMetrics, type StepMetrics } from "../run-record.js";

export interface StudyRecord {
  readonly name: string;
  readonly folder: string;
  readonly spec: SweepSpec;
  readonly space: Space;
  /** Of a whole training. */
  readonly epochs: number;
  /** In the order of decisions; a study that is under way has jobs without a result. */
  readonly jobs: readonly Job[];
  /** By trial, of its first seed; trials that left none are missing. */
  readonly curves: ReadonlyMap<number, readonly StepMetrics[]>;
  /** best.yaml, relative to where the reader is; undefined until the study is over. */
  readonly best: string | undefined;
}

/** Whether a folder holds a study rather than a run. */
export function isStudy(folder: string): boolean {
  return existsSync(join(folder, STUDY_FILE));
}

/** @throws IsoergError DATA for files that are no study's. */
export async function readStudyRecord(path: string): Promise<StudyRecord> {
  const folder = resolve(path);
  const { spec: written, epochs, jobs } = readStudy(folder);
  const parsed = sweepSchema.safeParse(written ?? (await specOfStudyJson(folder)));
  if (!parsed.success) {
    throw new IsoergError("DATA", `${join(path, STUDY_FILE)} does not tell which sweep it is of`, {
      hint: "it was begun by an earlier version: run the same isoerg sweep again, which finishes it and writes study.json",
    });
  }
  const spec = parsed.data;
  const curves = new Map<number, readonly StepMetrics[]>();
  for (const trial of lastJobs(jobs).keys()) {
    const text = await readFile(join(trialFolder(folder, trial, 1), "metrics.jsonl"), "utf8").catch(() => "");
    const steps = parseMetrics(text);
    if (steps.length > 0) curves.set(trial, steps);
  }
  return {
    name: spec.name,
    folder,
    spec,
    space: createSpace(spec.space),
    epochs: epochs ?? spec.epochs ?? Math.max(0, ...jobs.map(({ to }) => to)),
    jobs,
    curves,
    best: existsSync(join(folder, "best.yaml")) ? join(path, "best.yaml") : undefined,
  };
}

/** Studies of before the journal named its sweep have it here, once they are over. */
async function specOfStudyJson(folder: string): Promise<unknown> {
  try {
    return (JSON.parse(await readFile(join(folder, "study.json"), "utf8")) as { spec?: unknown }).spec;
  } catch {
    return undefined;
  }
}
