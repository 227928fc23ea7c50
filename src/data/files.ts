/**
 * The file operations of the data layer: durable writes, digests, and reads that check what they read against a manifest.
 * A file is written aside, synced and renamed, so that a name never stands for half a file. Nothing here blocks the event
 * loop for longer than a piece of 1 MiB takes to hash.
 */
import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename } from "node:path";
import { IsoergError } from "../util/error.js";

const PIECE_BYTES = 2 ** 20;

export interface FileRecord {
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export function digestOf(algorithm: "md5" | "sha256" | "sha512", ...pieces: readonly Uint8Array[]): string {
  const hash = createHash(algorithm);
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
}

/** Hashes a file from the disk. */
export async function digestOfFile(algorithm: "md5" | "sha256" | "sha512", path: string, signal?: AbortSignal): Promise<string> {
  await using file = await open(path, "r");
  const hash = createHash(algorithm);
  const piece = new Uint8Array(PIECE_BYTES);
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(piece, 0, piece.length);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(piece.subarray(0, bytesRead));
  }
}

/** Writes a file aside, syncs it and gives it its name; the folder is synced by `syncFolder` once all its files are there. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<FileRecord> {
  const aside = `${path}.${randomBytes(4).toString("hex")}.partial`;
  try {
    {
      await using file = await open(aside, "wx");
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
      await file.sync();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
  return { file: basename(path), sizeBytes: bytes.length, sha256: digestOf("sha256", bytes) };
}

export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, "r");
  await handle.sync();
}

/** @throws IsoergError DATA when the file is missing or is not of the size that the manifest gives. */
export async function checkSize(path: string, expected: FileRecord): Promise<void> {
  await using file = await openRecorded(path);
  checkStat(path, expected, (await file.stat()).size);
}

/**
 * Reads a whole file that a manifest lists.
 * @throws IsoergError DATA when it is missing, of another size or, with `verify`, of other content.
 */
export async function readRecorded(
  path: string,
  expected: FileRecord,
  options: { verify: boolean; signal?: AbortSignal | undefined },
): Promise<Uint8Array> {
  await using file = await openRecorded(path);
  checkStat(path, expected, (await file.stat()).size);
  const bytes = new Uint8Array(expected.sizeBytes);
  const hash = createHash("sha256");
  let at = 0;
  while (at < bytes.length) {
    options.signal?.throwIfAborted();
    const { bytesRead } = await file.read(bytes, at, Math.min(PIECE_BYTES, bytes.length - at), at);
    if (bytesRead === 0) break;
    if (options.verify) hash.update(bytes.subarray(at, at + bytesRead));
    at += bytesRead;
  }
  checkStat(path, expected, at);
  if (options.verify) {
    const found = hash.digest("hex");
    if (found !== expected.sha256) {
      throw damaged(`'${path}' was altered: its sha256 is ${found}, the manifest says ${expected.sha256}`);
    }
  }
  return bytes;
}

async function openRecorded(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    throw damaged(`'${path}' is missing or can't be read (${(error as NodeJS.ErrnoException).code}), though the manifest lists it`, error);
  }
}

function checkStat(path: string, expected: FileRecord, found: number): void {
  if (found === expected.sizeBytes) return;
  const what = found < expected.sizeBytes ? "truncated" : "longer than it should be";
  throw damaged(`'${path}' is ${what}: it has ${found} bytes, the manifest says ${expected.sizeBytes}`);
}

function damaged(message: string, cause?: unknown): IsoergError {
  return new IsoergError("DATA", message, {
    hint: "run `isoerg data prepare` again with the same --out: it rewrites what is damaged",
    cause,
  });
}
