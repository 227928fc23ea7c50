/**
 * The journal of a run: one JSON object a line, appended, never changed. It says who was a member, which generations began,
 * which steps were committed and which checkpoints saved, each with the reason.
 *
 * It is written ahead: `append` returns when the system has the line, and only then is anybody told what it says. So a
 * coordinator that is killed at any moment has told nothing that its successor can't read. What must outlive a power loss as
 * well (generations, checkpoints, the end) is on the medium when `append` returns; commits follow within about a second,
 * and workers can tell of those that a power loss took.
 * One process writes at a time: before each line the file must be as long as this process left it. A coordinator that was
 * suspended, and replaced meanwhile, finds it longer and is fenced (FENCED) before it has told anybody anything.
 * A crash may tear the last line only; reading back drops it, and the next append begins on a fresh line.
 */
import { closeSync, fdatasync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Adjustment } from "../config/adjustment.js";
import { crc32 } from "../util/crc32.js";
import { IsoergError } from "../util/error.js";
import { complaintAbout, eventSchemas } from "./journal-schema.js";
import type { SlowWorker } from "./speeds.js";

export type JournalEntry =
  | {
      readonly event: "start";
      readonly runId: string;
      readonly config: string;
      readonly dataset: string;
      readonly numSteps: number;
      readonly step: number;
      /** Counts the coordinators of the run. */
      readonly term?: number;
      readonly reason: string;
    }
  | { readonly event: "join"; readonly worker: string; readonly incarnation: string; readonly engine: string }
  | { readonly event: "leave"; readonly worker: string; readonly incarnation: string; readonly reason: string }
  | {
      readonly event: "generation";
      readonly generation: number;
      readonly step: number;
      readonly workers: readonly string[];
      /** The same, by process. */
      readonly members?: readonly string[];
      /** `keep`: some worker holds the state, and those who don't take it from one. */
      readonly restore: "fresh" | "checkpoint" | "keep";
      readonly reason: string;
    }
  /** What became of the chains, by position, when a generation with other ranks had formed. */
  | {
      readonly event: "chains";
      readonly generation: number;
      readonly kept: number;
      /** From the worker that had them. */
      readonly moved: number;
      /** From the checkpoint of this step, since no worker has them any more. */
      readonly restored: number;
      readonly checkpointStep: number | null;
      readonly startedAnew: number;
    }
  /** `ids` is the CRC-32 of the batch's sample ids; `checksum` is of the parameters that the step was computed from. */
  | {
      readonly event: "commit";
      readonly generation: number;
      readonly step: number;
      readonly samples: number;
      readonly ids: string;
      readonly checksum: string;
      /** Told by this worker to a coordinator whose journal had lost it. */
      readonly toldBy?: string;
    }
  | { readonly event: "retry"; readonly generation: number; readonly step: number; readonly reason: string }
  | ({ readonly event: "slow"; readonly step: number } & SlowWorker)
  | { readonly event: "checkpoint"; readonly step: number; readonly path: string; readonly ms: number }
  | { readonly event: "checkpointFailed"; readonly step: number; readonly reason: string }
  | { readonly event: "checkpointDeleted"; readonly step: number; readonly reason: string }
  /** The stability guard takes the run back to `restoredStep` (0 without a checkpoint: the beginning) and changes the configuration. */
  | {
      readonly event: "alarm";
      readonly step: number;
      readonly rule: string;
      readonly reason: string;
      readonly restoredStep: number;
      readonly adjustment: Adjustment;
    }
  | {
      readonly event: "end";
      readonly outcome: "finished" | "asked" | "failed";
      readonly step: number;
      readonly code?: string;
      readonly reason: string;
    };

export type JournalLine = JournalEntry & { readonly time: string };

/** The line of a committed step. */
export function commitEntry(commit: {
  generation: number;
  step: number;
  ids: Uint32Array;
  checksum: bigint;
  toldBy?: string;
}): JournalEntry {
  const { generation, step, ids, checksum, toldBy } = commit;
  const digest = crc32(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
  const entry = { event: "commit", generation, step, samples: ids.length, ids: hex(digest, 8), checksum: hex(checksum, 16) } as const;
  return toldBy === undefined ? entry : { ...entry, toldBy };
}

function hex(value: number | bigint, width: number): string {
  return value.toString(16).padStart(width, "0");
}

const DURABLE: ReadonlySet<JournalEntry["event"]> = new Set(["start", "generation", "checkpoint", "alarm", "end"]);

export interface Journal {
  /** Lines are in the order of the calls. When it returns, a crash of this process can't lose the line. Throws where it can't be written. */
  append(entry: JournalEntry): void;
  /** Before something else is written. Throws IsoergError FENCED where another process has written to the journal. */
  check?(): void;
  close(): void;
}

/** How long a commit may take to be on the medium. */
const SYNC_MS = 1_000;

/** Opens a run's journal for appending; a line torn by a crash is closed off first. `append` throws IsoergError FENCED. */
export function openJournal(runFolder: string, now: () => Date): Journal {
  const file = openSync(join(runFolder, "journal.jsonl"), "a+");
  if (endsInTornLine(file)) writeSync(file, "\n");
  let size = fstatSync(file).size;
  let timer: NodeJS.Timeout | undefined;
  let syncing: Promise<void> | undefined;
  const syncSoon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      syncing = new Promise((resolve) => fdatasync(file, () => resolve())); // a medium that fails shows at the next durable line
    }, SYNC_MS).unref();
  };
  const check = (): void => {
    if (fstatSync(file).size === size) return;
    throw new IsoergError("FENCED", `another process writes to ${join(runFolder, "journal.jsonl")}`, {
      hint: "Another coordinator leads this run now; this one was away, and has nothing more to say.",
    });
  };
  return {
    check,
    append(entry) {
      check();
      const line = Buffer.from(`${JSON.stringify({ time: now().toISOString(), ...entry })}\n`);
      writeWhole(file, line);
      size += line.length;
      if (DURABLE.has(entry.event)) fdatasyncSync(file);
      else syncSoon();
    },
    close() {
      clearTimeout(timer);
      fdatasyncSync(file);
      void Promise.resolve(syncing).then(() => closeSync(file));
    },
  };
}

function writeWhole(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}

/** A journal in memory, for dry runs and tests. */
export function createMemoryJournal(now: () => Date = () => new Date(0)): Journal & { readonly lines: readonly JournalLine[] } {
  const lines: JournalLine[] = [];
  return {
    lines,
    append(entry) {
      lines.push({ time: now().toISOString(), ...entry });
    },
    close() {},
  };
}

/**
 * The lines of a run's journal; none where there is no journal. Torn lines (a crash leaves at most one at the end of each
 * session) are counted, not returned.
 * @throws IsoergError DATA when a whole line is no journal entry.
 */
export async function readJournal(runFolder: string): Promise<{ lines: JournalLine[]; numTorn: number }> {
  const path = join(runFolder, "journal.jsonl");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { lines: [], numTorn: 0 };
    throw error;
  }
  const lines: JournalLine[] = [];
  let numTorn = 0;
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      numTorn++;
      continue;
    }
    // The compiler asks for a schema of each event that is added.
    const complaint = complaintAbout(value, eventSchemas satisfies Readonly<Record<JournalEntry["event"], unknown>>);
    if (complaint !== undefined) {
      throw new IsoergError("DATA", `${path}:${index + 1} is not a journal entry: ${complaint}`, {
        hint: "The journal is written by the coordinator only; restore it from a copy.",
      });
    }
    lines.push(value as JournalLine);
  }
  return { lines, numTorn };
}

function endsInTornLine(file: number): boolean {
  const { size } = fstatSync(file);
  if (size === 0) return false;
  const last = Buffer.alloc(1);
  readSync(file, last, 0, 1, size - 1);
  return last[0] !== 0x0a;
}
