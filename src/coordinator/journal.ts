/**
 * The journal of a run: one JSON object a line, appended, never changed. It says who was a member, which generations began,
 * which steps were committed and which checkpoints saved, each with the reason.
 *
 * A crash may tear the last line only; reading back drops it, and the next append begins on a fresh line. What recovery
 * depends on (generations, checkpoints, the end) is on the medium before `append` resolves; commits and the like are in the
 * order of the file and follow with the next of those.
 */
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Adjustment } from "../config/adjustment.js";
import { crc32 } from "../util/crc32.js";
import { IsoergError } from "../util/error.js";

export type JournalEntry =
  | {
      readonly event: "start";
      readonly runId: string;
      readonly config: string;
      readonly dataset: string;
      readonly numSteps: number;
      readonly step: number;
      readonly reason: string;
    }
  | { readonly event: "join"; readonly worker: string; readonly incarnation: string; readonly engine: string }
  | { readonly event: "leave"; readonly worker: string; readonly incarnation: string; readonly reason: string }
  | {
      readonly event: "generation";
      readonly generation: number;
      readonly step: number;
      readonly workers: readonly string[];
      readonly restore: "fresh" | "checkpoint" | "keep";
      /** With `keep` after a change of ranks: chains that stay and that start anew. */
      readonly chains?: { readonly kept: number; readonly startedAnew: number };
      readonly reason: string;
    }
  /** `ids` is the CRC-32 of the batch's sample ids; `checksum` is of the parameters that the step was computed from. */
  | {
      readonly event: "commit";
      readonly generation: number;
      readonly step: number;
      readonly samples: number;
      readonly ids: string;
      readonly checksum: string;
    }
  | { readonly event: "retry"; readonly generation: number; readonly step: number; readonly reason: string }
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
  | { readonly event: "end"; readonly outcome: "finished" | "asked" | "failed"; readonly step: number; readonly reason: string };

export type JournalLine = JournalEntry & { readonly time: string };

/** The line of a committed step. */
export function commitEntry(commit: { generation: number; step: number; ids: Uint32Array; checksum: bigint }): JournalEntry {
  const { generation, step, ids, checksum } = commit;
  const digest = crc32(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
  return { event: "commit", generation, step, samples: ids.length, ids: hex(digest, 8), checksum: hex(checksum, 16) };
}

function hex(value: number | bigint, width: number): string {
  return value.toString(16).padStart(width, "0");
}

const DURABLE: ReadonlySet<JournalEntry["event"]> = new Set(["start", "generation", "checkpoint", "alarm", "end"]);

export interface Journal extends AsyncDisposable {
  /** Lines are written in the order of the calls. Resolves when the line is written, and for important ones when it is durable. */
  append(entry: JournalEntry): Promise<void>;
}

/** Opens a run's journal for appending; a line torn by a crash is closed off first. */
export async function openJournal(runFolder: string, now: () => Date): Promise<Journal> {
  const path = join(runFolder, "journal.jsonl");
  const file = await open(path, "a+");
  if (await endsInTornLine(file)) await file.write("\n");
  let queue: Promise<void> = Promise.resolve();
  return {
    append(entry) {
      const line = `${JSON.stringify({ time: now().toISOString(), ...entry })}\n`;
      const written = queue.then(async () => {
        await file.write(line);
        if (DURABLE.has(entry.event)) await file.sync();
      });
      queue = written.catch(() => {}); // the caller of this append hears of it; later lines are still tried
      return written;
    },
    async [Symbol.asyncDispose]() {
      await queue;
      await file.close();
    },
  };
}

/** A journal in memory, for dry runs and tests. */
export function createMemoryJournal(now: () => Date = () => new Date(0)): Journal & { readonly lines: readonly JournalLine[] } {
  const lines: JournalLine[] = [];
  return {
    lines,
    async append(entry) {
      lines.push({ time: now().toISOString(), ...entry });
    },
    async [Symbol.asyncDispose]() {},
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
    if (typeof value !== "object" || value === null || !("event" in value) || typeof value.event !== "string") {
      throw new IsoergError("DATA", `${path}:${index + 1} is not a journal entry`, {
        hint: "The journal is written by the coordinator only; restore it from a copy.",
      });
    }
    lines.push(value as JournalLine);
  }
  return { lines, numTorn };
}

async function endsInTornLine(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat();
  if (size === 0) return false;
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] !== 0x0a;
}
