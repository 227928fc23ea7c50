/** Every file of a prepared data set against its manifest: presence, size, sha256. */
import { join } from "node:path";
import { IsoergError } from "../util/error.js";
import { checkSize, type FileRecord, readRecorded } from "./files.js";
import { type Manifest, SPLITS } from "./manifest.js";

export interface VerifyOptions {
  /** `sha256` reads every file; `size` only looks whether it is there, and how large. */
  readonly by?: "sha256" | "size";
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

/** Returns what is wrong, file by file, and nothing when all is well. */
export async function verifyDataset(folder: string, manifest: Manifest, options: VerifyOptions = {}): Promise<Damage[]> {
  const { by = "sha256", signal } = options;
  const files = filesOf(manifest);
  const total = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const damages: Damage[] = [];
  let done = 0;
  for (const file of files) {
    try {
      const path = join(folder, file.file);
      if (by === "sha256") await readRecorded(path, file, { verify: true, signal });
      else await checkSize(path, file);
    } catch (error) {
      if (!(error instanceof IsoergError) || error.code !== "DATA") throw error;
      damages.push({ file: file.file, problem: error.message });
    }
    done += file.sizeBytes;
    options.onBytes?.(done, total);
  }
  return damages;
}
