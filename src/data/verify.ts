/** Every file of a prepared data set against its manifest: presence, size, sha256. */
import { join } from "node:path";
import { IsoergError } from "../util/error.js";
import { type FileRecord, readRecorded } from "./files.js";
import { type Manifest, SPLITS } from "./manifest.js";

export interface VerifyOptions {
  readonly onBytes?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface Damage {
  readonly file: string;
  readonly problem: string;
}

/** All files that a manifest lists. */
export function filesOf(manifest: Manifest): FileRecord[] {
  return [...SPLITS.flatMap((split) => manifest.splits[split].shards), manifest.classGaussians];
}

/** Reads everything; returns what is wrong, file by file, and nothing when all is well. */
export async function verifyDataset(folder: string, manifest: Manifest, options: VerifyOptions = {}): Promise<Damage[]> {
  const files = filesOf(manifest);
  const total = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const damages: Damage[] = [];
  let done = 0;
  for (const file of files) {
    try {
      await readRecorded(join(folder, file.file), file, { verify: true, signal: options.signal });
    } catch (error) {
      if (!(error instanceof IsoergError) || error.code !== "DATA") throw error;
      damages.push({ file: file.file, problem: error.message });
    }
    done += file.sizeBytes;
    options.onBytes?.(done, total);
  }
  return damages;
}
