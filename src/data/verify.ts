/** Every file of a prepared data set against its manifest: presence, size, sha256. */
import { IsoergError } from "../util/error.js";
import type { DatasetFiles } from "./dataset-files.js";
import type { FileRecord } from "./files.js";
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

/** Returns what is wrong, file by file, and nothing when all is well. @throws IsoergError NETWORK when the files can't be asked after */
export async function verifyDataset(files: DatasetFiles, manifest: Manifest, options: VerifyOptions = {}): Promise<Damage[]> {
  const { by = "sha256", signal } = options;
  const records = filesOf(manifest);
  const total = records.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const damages: Damage[] = [];
  const check = by === "size" ? await files.sizes() : null;
  let done = 0;
  for (const record of records) {
    try {
      if (check) await check(record);
      else await files.read(record, { verify: true, signal });
    } catch (error) {
      if (!(error instanceof IsoergError) || error.code !== "DATA") throw error;
      damages.push({ file: record.file, problem: error.message });
    }
    done += record.sizeBytes;
    options.onBytes?.(done, total);
  }
  return damages;
}
