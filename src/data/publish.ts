/**
 * A prepared data set to a place that every worker reads for itself. Each file is checked on its way out, and the manifest is put
 * last and never over another one: whoever finds a manifest finds all that it lists. What is there already and whole is left, so
 * that an interrupted publication goes on where it was.
 */
import { explained, type ObjectStore, readWhole } from "../storage/object-store.js";
import { openObjectStore, type StorageOptions } from "../storage/open.js";
import { IsoergError } from "../util/error.js";
import { below, locatorText, parseLocator } from "../util/locator.js";
import { openDatasetFiles } from "./dataset-files.js";
import { digestOf, type FileRecord } from "./files.js";
import { MANIFEST_FILE, type Manifest } from "./manifest.js";
import { filesOf } from "./verify.js";

export interface PublishOptions extends StorageOptions {
  readonly onBytes?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export interface Published {
  readonly manifest: Manifest;
  /** Files that were there already, and whole. */
  readonly numReused: number;
  readonly numPut: number;
}

/** Files that are put at once: for many small ones the way there and back is what takes time. */
const AT_ONCE = 4;

/**
 * @param to a locator
 * @throws IsoergError USAGE for a plain path; DATA when the folder is damaged, the place holds another data set or may not be
 * written; NETWORK when nobody answers; STOPPED when the signal came
 */
export async function publishDataset(folder: string, to: string, options: PublishOptions = {}): Promise<Published> {
  const locator = parseLocator(to);
  if (locator === null) {
    throw new IsoergError("USAGE", `'${to}' is a folder of this machine`, {
      hint: `write s3://bucket/prefix, or file://${to.startsWith("/") ? to : "/absolute/path"} for a volume that every machine mounts`,
    });
  }
  const where = locatorText(locator);
  const files = openDatasetFiles(folder);
  const { manifest, bytes: text, sha256 } = await files.readManifest();
  const records = filesOf(manifest);
  const total = records.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const store = await openObjectStore(locator, options);
  const { onBytes = () => {}, signal } = options;
  let [done, numReused, numPut, next] = [0, 0, 0, 0];
  const take = async (): Promise<void> => {
    for (let record = records[next++]; record !== undefined; record = records[next++]) {
      signal?.throwIfAborted();
      if (await isThere(store, record, signal)) numReused++;
      else {
        const bytes = await files.read(record, { verify: true, signal });
        await store.put(record.file, [bytes], { sha256: record.sha256, signal });
        numPut++;
      }
      done += record.sizeBytes;
      onBytes(done, total);
    }
  };
  try {
    await refuseAnother(store, text, where);
    await Promise.all(Array.from({ length: AT_ONCE }, take));
    if ((await store.head(MANIFEST_FILE, signal)) === null) {
      await store.put(MANIFEST_FILE, [text], { ifAbsent: true, sha256, signal });
      numPut++;
    } else numReused++;
    return { manifest, numReused, numPut };
  } catch (error) {
    if (signal?.aborted) {
      throw new IsoergError("STOPPED", `stopped while publishing to ${where}`, {
        hint: "the same command goes on; what is there is used again",
        cause: error,
      });
    }
    throw explained(error, `the data set can't be published to '${where}'`);
  } finally {
    await store.close();
    await files.close();
  }
}

/** Runs may be reading it: a data set in a store is replaced by another place, never under its name. */
async function refuseAnother(store: ObjectStore, text: Uint8Array, where: string): Promise<void> {
  const found = await store.head(MANIFEST_FILE);
  if (found === null) return;
  const there = await readWhole(store, { key: MANIFEST_FILE, sizeBytes: found.sizeBytes });
  if (Buffer.compare(there, text) === 0) return;
  throw new IsoergError("DATA", `'${below(where, MANIFEST_FILE)}' is of another data set`, {
    hint: "publish to another prefix; runs may be reading this one",
  });
}

async function isThere(store: ObjectStore, { file, sizeBytes, sha256 }: FileRecord, signal?: AbortSignal): Promise<boolean> {
  const found = await store.head(file, signal);
  if (found === null || found.sizeBytes !== sizeBytes) return false;
  return (found.sha256 ?? digestOf("sha256", await readWhole(store, { key: file, sizeBytes }, signal))) === sha256;
}
