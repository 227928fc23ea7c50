/**
 * One checkpoint as a folder: model, optimizer and buffer as safetensors, state.json, and manifest.json with the size and
 * sha256 of each, written last. A folder without a manifest, or with a file that differs from it, is torn and never used.
 *
 * Writing goes to a folder that nobody reads yet; making it visible is the store's business (`store.ts`).
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { setImmediate as yieldToOthers } from "node:timers/promises";
import { z } from "zod";
import { IsoergError } from "../util/error.js";
import type { FileSystem } from "./file-system.js";
import { parseSafetensors, safetensorsPieces, type Tensors } from "./safetensors.js";

const FILES = ["model", "optimizer", "buffer"] as const;
const PIECE_BYTES = 4 * 2 ** 20; // hashed and written at a time, so that a process that also serves peers is never away for long

export type CheckpointFile = (typeof FILES)[number];

export interface CheckpointContent {
  /** One safetensors file each; a file may hold no tensors. */
  readonly files: Readonly<Record<CheckpointFile, Tensors>>;
  /** What else a resume needs, as plain JSON: position in the plan, digests, the resolved configuration. */
  readonly state: object;
}

export interface LoadedContent {
  readonly step: number;
  readonly sequence: number;
  readonly files: Readonly<Record<CheckpointFile, Tensors>>;
  /** To be parsed by whoever wrote it. */
  readonly state: unknown;
}

const manifestSchema = z.object({
  format: z.literal("isoerg-checkpoint"),
  version: z.literal(1),
  step: z.int().nonnegative(),
  /** Counts the saves of a run. */
  sequence: z.int().positive(),
  /** The figure by which the best are kept, where that is asked for. */
  score: z.number().optional(),
  files: z.record(z.string(), z.object({ sizeBytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** Writes all files of a checkpoint into an existing folder and syncs them and it. */
export async function writeFolder(
  fileSystem: Pick<FileSystem, "writeFile" | "syncFolder">,
  path: string,
  head: { step: number; sequence: number; score?: number },
  content: CheckpointContent,
): Promise<void> {
  const files: Manifest["files"] = {};
  const write = async (name: string, pieces: readonly Uint8Array[]): Promise<void> => {
    const hash = createHash("sha256");
    let sizeBytes = 0;
    function* hashed(): Generator<Uint8Array> {
      for (const piece of cut(pieces)) {
        hash.update(piece);
        sizeBytes += piece.length;
        yield piece;
      }
    }
    await fileSystem.writeFile(join(path, name), hashed());
    files[name] = { sizeBytes, sha256: hash.digest("hex") };
  };
  for (const file of FILES)
    await write(`${file}.safetensors`, safetensorsPieces(content.files[file], { producer: "isoerg", step: String(head.step) }));
  await write("state.json", [jsonBytes(content.state)]);
  const manifest: Manifest = { format: "isoerg-checkpoint", version: 1, ...head, files };
  await fileSystem.writeFile(join(path, "manifest.json"), [jsonBytes(manifest)]);
  await fileSystem.syncFolder(path);
}

/** @throws IsoergError CHECKPOINT when there is none, or it is not one of ours. */
export async function readManifest(fileSystem: Pick<FileSystem, "readFile">, path: string): Promise<Manifest> {
  const bytes = await readNamed(fileSystem, path, "manifest.json");
  const manifest = manifestSchema.safeParse(parseJson(bytes, path, "manifest.json"));
  if (!manifest.success) throw torn(path, `manifest.json is not a checkpoint's manifest: ${manifest.error.issues[0]?.message}`);
  return manifest.data;
}

/**
 * Reads a checkpoint and proves each file against the manifest before it is parsed.
 * @throws IsoergError CHECKPOINT that names the file and what is wrong with it.
 */
export async function readFolder(fileSystem: Pick<FileSystem, "readFile">, path: string): Promise<LoadedContent> {
  const manifest = await readManifest(fileSystem, path);
  const read = async (name: string): Promise<Uint8Array> => {
    const expected = manifest.files[name];
    if (!expected) throw torn(path, `manifest.json does not list ${name}`);
    const bytes = await readNamed(fileSystem, path, name);
    if (bytes.length !== expected.sizeBytes)
      throw torn(path, `${name} has ${bytes.length} bytes, manifest.json says ${expected.sizeBytes}`);
    const sha256 = await digest(bytes);
    if (sha256 !== expected.sha256) throw torn(path, `${name} was altered: its sha256 is ${sha256}, manifest.json says ${expected.sha256}`);
    return bytes;
  };
  const tensors = async (file: CheckpointFile): Promise<Tensors> => {
    const name = `${file}.safetensors`;
    return parseSafetensors(await read(name), join(path, name)).tensors;
  };
  const files = { model: await tensors("model"), optimizer: await tensors("optimizer"), buffer: await tensors("buffer") };
  const state = parseJson(await read("state.json"), path, "state.json");
  return { step: manifest.step, sequence: manifest.sequence, files, state };
}

async function readNamed(fileSystem: Pick<FileSystem, "readFile">, path: string, name: string): Promise<Uint8Array> {
  try {
    return await fileSystem.readFile(join(path, name));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw torn(path, code === "ENOENT" ? `${name} is missing` : `${name} can't be read: ${message}`, cause);
  }
}

function parseJson(bytes: Uint8Array, path: string, name: string): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw torn(path, `${name} is not JSON`, cause);
  }
}

function torn(path: string, what: string, cause?: unknown): IsoergError {
  return new IsoergError("CHECKPOINT", `checkpoint ${path} can't be used: ${what}`, {
    hint: "Restore the folder from a copy, or name an earlier checkpoint of the run.",
    cause,
  });
}

async function digest(bytes: Uint8Array): Promise<string> {
  const hash = createHash("sha256");
  for (const piece of cut([bytes])) {
    hash.update(piece);
    await yieldToOthers();
  }
  return hash.digest("hex");
}

function* cut(pieces: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += PIECE_BYTES) yield piece.subarray(at, at + PIECE_BYTES);
  }
}

function jsonBytes(value: object): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
}
