/**
 * The journal of a study: one JSON object a line, appended, never changed. It holds the sweep as it was begun, every decision with
 * its reason, and every result; the study is what these lines add up to.
 *
 * A decision is on the medium before its job begins, a result before the next decision. A crash tears the last line at most; reading
 * drops it. A job without a result was under way: it is run again from where its trial's last job ended.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { IsoergError, invariant } from "../util/error.js";
import type { Job, JobPlan, Result } from "./job.js";

const pointSchema = z.record(z.string(), z.union([z.number(), z.string(), z.boolean()]));
const resultSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("value"),
    value: z.number(),
    bySeed: z.array(z.number()),
    measured: z.record(z.string(), z.number()).optional(),
  }),
  z.object({ kind: z.literal("failed"), reason: z.string(), how: z.enum(["diverged", "broke"]).optional() }),
]);
const lineSchema = z.discriminatedUnion("event", [
  z.object({
    event: z.literal("study"),
    sweep: z.string(),
    digest: z.string(),
    spec: z.unknown().optional(),
    epochs: z.number().optional(),
  }),
  z.object({
    event: z.literal("job"),
    index: z.int(),
    trial: z.int(),
    point: pointSchema,
    from: z.number(),
    to: z.number(),
    copyOf: z.int().nullable(),
    reason: z.string(),
  }),
  z.object({ event: z.literal("result"), index: z.int(), result: resultSchema }),
]);

type Line = z.infer<typeof lineSchema>;

export interface Study {
  readonly jobs: readonly Job[];
  decided(job: JobPlan, reason: string): Job;
  finished(index: number, result: Result): void;
  close(): void;
}

/** How a study was begun. */
export interface Beginning {
  /** The sweep's file. */
  readonly sweep: string;
  /** Of the resolved sweep. */
  readonly digest: string;
  /** The sweep itself, and the epochs of a whole training; studies of before these were written down have neither. */
  readonly spec?: unknown;
  readonly epochs?: number | undefined;
}

export const STUDY_FILE = "study.jsonl";

/**
 * Opens a study's journal in its folder, or begins one.
 * @throws IsoergError CONFIG where the folder holds a study of another sweep, DATA where a whole line is no entry.
 */
export function openStudy(folder: string, { now, ...begun }: Beginning & { readonly now: () => Date }): Study {
  const path = join(folder, STUDY_FILE);
  const lines = readLines(path);
  const jobs = jobsOf(lines, path);
  const [head] = lines;
  if (head && (head.event !== "study" || head.digest !== begun.digest)) {
    throw new IsoergError("CONFIG", `${folder} holds a study of another sweep`, {
      hint: "take another --run folder, or go on with the sweep file that the study was begun with (study.jsonl, first line)",
    });
  }
  const file = openSync(path, "a");
  if (endsTorn(path)) writeSync(file, "\n");
  const append = (line: Line): void => {
    writeSync(file, `${JSON.stringify({ time: now().toISOString(), ...line })}\n`);
    fsyncSync(file);
    apply(jobs, line);
  };
  if (!head) append({ event: "study", ...begun });
  return {
    jobs,
    decided(job, reason) {
      append({ event: "job", index: jobs.length, ...job, point: { ...job.point }, reason });
      return jobs.at(-1) as Job;
    },
    finished(index, result) {
      append({ event: "result", index, result: result.kind === "value" ? { ...result, bySeed: [...result.bySeed] } : result });
    },
    close: () => closeSync(file),
  };
}

/**
 * A study as its journal tells it, finished or not; nothing is written.
 * @throws IsoergError DATA where a whole line is no entry, or the journal has no beginning.
 */
export function readStudy(folder: string): Beginning & { readonly jobs: readonly Job[] } {
  const path = join(folder, STUDY_FILE);
  const lines = readLines(path);
  const [head] = lines;
  if (head?.event !== "study") {
    throw new IsoergError("DATA", `${path} does not begin as a study's journal does`, { hint: "isoerg sweep writes this file" });
  }
  const { event: _, ...begun } = head;
  return { ...begun, jobs: jobsOf(lines, path) };
}

function jobsOf(lines: readonly Line[], path: string): Job[] {
  const jobs: Job[] = [];
  for (const line of lines) {
    const contradiction = contradictionOf(jobs, line);
    if (contradiction !== undefined) {
      throw new IsoergError("DATA", `${path} contradicts itself: ${contradiction}`, {
        hint: "the file is written by isoerg sweep only; restore it from a copy",
      });
    }
    apply(jobs, line);
  }
  return jobs;
}

/** Why a line can't follow those before it: one was lost, doubled or altered. */
function contradictionOf(jobs: readonly Job[], line: Line): string | undefined {
  if (line.event === "job" && line.index !== jobs.length) return `job ${line.index} stands where job ${jobs.length} is due`;
  if (line.event === "result" && jobs[line.index] === undefined) return `a result of job ${line.index}, which was never decided`;
  return undefined;
}

function apply(jobs: Job[], line: Line): void {
  if (line.event === "job") {
    invariant(line.index === jobs.length, `job ${line.index} is line ${jobs.length} of its study`);
    const { index, trial, point, from, to, copyOf } = line;
    jobs.push({ index, trial, point, from, to, copyOf, result: null });
  } else if (line.event === "result") {
    const job = jobs[line.index];
    invariant(job, `a result of job ${line.index}, which was never decided`);
    jobs[line.index] = { ...job, result: line.result };
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

function endsTorn(path: string): boolean {
  const text = readText(path);
  return text !== "" && !text.endsWith("\n");
}

function readLines(path: string): Line[] {
  const lines: Line[] = [];
  for (const [i, text] of readText(path).split("\n").entries()) {
    if (text === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      continue; // torn by a crash
    }
    const parsed = lineSchema.safeParse(value);
    if (!parsed.success) {
      throw new IsoergError("DATA", `${path}:${i + 1} is not an entry of a study`, {
        hint: "the file is written by isoerg sweep only; restore it from a copy",
      });
    }
    lines.push(parsed.data);
  }
  return lines;
}
