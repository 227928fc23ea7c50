/**
 * All that a run's folder tells a report: configuration, metrics, evaluation, samples, where and how it ran. What a run does
 * not have yet is undefined, and the report says so instead of showing nothing.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { z } from "zod";
import { checkpointName } from "../checkpoint/store.js";
import type { Config } from "../config/schema.js";
import { readJournal } from "../coordinator/journal.js";
import { ANALYSIS_FILE, type Analysis, readAnalysis } from "../evaluate/analysis/analysis.js";
import { type Evaluation, readEvaluation } from "../evaluate/evaluation.js";
import { readRunConfig } from "../evaluate/run-folder.js";
import { IsoergError } from "../util/error.js";
import type { AlarmLine } from "./alarms.js";
import type { Doc } from "./cite.js";

const stepSchema = z.object({
  step: z.int().nonnegative(),
  epoch: z.number(),
  worldSize: z.int(),
  time: z.string(),
  stepMs: z.number(),
  samplesPerSecond: z.number(),
  metrics: z.record(z.string(), z.number()),
  phasesMs: z.array(z.record(z.string(), z.number())),
});

export type StepMetrics = z.infer<typeof stepSchema>;

export interface RunRecord {
  readonly name: string;
  readonly folder: string;
  readonly config: Config;
  readonly steps: readonly StepMetrics[];
  readonly evaluation: Evaluation | undefined;
  readonly analysis: Analysis | undefined;
  /** What the stability guard did; undefined where there is no journal to tell. */
  readonly alarms: readonly AlarmLine[] | undefined;
  /** The run's identity by its journal; undefined where there is none. */
  readonly runId: string | undefined;
  /** sha256 of config.yaml as it lies there. */
  readonly configDigest: string;
  /** environment.json, whatever it holds. */
  readonly environment: unknown;
  /** Grid of generated samples of the evaluated step, or the newest there is. */
  readonly samples: { readonly step: string; readonly png: Buffer } | undefined;
}

/** @throws IsoergError USAGE for a folder that is no run, DATA for a file of it that can't be read. */
export async function readRunRecord(path: string): Promise<RunRecord> {
  const folder = resolve(path);
  const config = readRunConfig(folder);
  const evaluation = await readEvaluation(join(folder, "evaluation.json"));
  return {
    name: config.name,
    folder,
    config,
    steps: parseMetrics((await readIfThere(join(folder, "metrics.jsonl")))?.toString() ?? ""),
    evaluation,
    analysis: await readAnalysis(join(folder, ANALYSIS_FILE)),
    ...(await readHistory(folder)),
    configDigest: createHash("sha256")
      .update(await readFile(join(folder, "config.yaml")))
      .digest("hex"),
    environment: parseEnvironment((await readIfThere(join(folder, "environment.json")))?.toString()),
    samples: await readSamples(join(folder, "samples"), evaluation?.step),
  };
}

/** A file of the run, for citing. */
export function docOf({ name, evaluation, analysis }: RunRecord, file: "evaluation.json" | "analysis.json"): Doc {
  return { run: name, file, json: file === "evaluation.json" ? evaluation : analysis, at: "" };
}

/** Whether analysis.json and evaluation.json tell of different checkpoints: such figures must not be read together. */
export function isOfAnotherStep({ evaluation, analysis }: Pick<RunRecord, "evaluation" | "analysis">): boolean {
  return evaluation !== undefined && analysis !== undefined && analysis.model.step !== null && analysis.model.step !== evaluation.step;
}

/** Runs of the same name are told apart by their folders. */
export function distinctNames(records: readonly RunRecord[]): RunRecord[] {
  const taken = (name: string): number => records.filter((record) => record.name === name).length;
  return records.map((record) => (taken(record.name) > 1 ? { ...record, name: basename(record.folder) } : record));
}

/** Lines that are torn or of another kind are passed over: a run may be writing while it is read. */
export function parseMetrics(text: string): StepMetrics[] {
  const steps: StepMetrics[] = [];
  for (const line of text.split("\n")) {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      continue;
    }
    const parsed = stepSchema.safeParse(value);
    if (parsed.success) steps.push(parsed.data);
  }
  return steps;
}

async function readHistory(folder: string): Promise<Pick<RunRecord, "alarms" | "runId">> {
  const { lines } = await readJournal(folder);
  return {
    alarms: lines.length === 0 ? undefined : lines.filter((line): line is AlarmLine => line.event === "alarm"),
    runId: lines.find((line) => line.event === "start")?.runId,
  };
}

function parseEnvironment(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readSamples(folder: string, step: number | undefined): Promise<RunRecord["samples"]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => /^step-\d+\.png$/.test(name)).sort();
  const wanted = step === undefined ? undefined : `${checkpointName(step)}.png`;
  const name = wanted !== undefined && names.includes(wanted) ? wanted : names.at(-1);
  const png = name === undefined ? undefined : await readIfThere(join(folder, name));
  return name !== undefined && png ? { step: String(Number(name.slice(5, -4))), png } : undefined;
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new IsoergError("DATA", `${path} can't be read: ${(cause as Error).message}`, { cause });
  }
}
