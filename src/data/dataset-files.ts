/**
 * The files of a prepared data set, wherever it lies: a folder of this machine, or a place that every worker reads for itself
 * (`s3://…`, `file:///…`). From there files come through this host's cache. Whatever is given back was checked against its record;
 * where what came is not what the record says it is asked for once more, since torn downloads are common, and then refused by name.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ContentCache, sha256Of } from "../storage/content-cache.js";
import { explained, type ObjectStore, readWhole, StoreError } from "../storage/object-store.js";
import { defaultStorage, openObjectStore, type StorageOptions } from "../storage/open.js";
import { IsoergError } from "../util/error.js";
import { below, type Locator, locatorText, parseLocator } from "../util/locator.js";
import { checkSize, digestOf, type FileRecord, readRecorded } from "./files.js";
import { MANIFEST_FILE, type Manifest, parseManifest } from "./manifest.js";
import { defaultCacheFolder } from "./sources/fetcher.js";

export interface ReadOptions {
  /** Whether content is checked beside size. Default: true; what comes from elsewhere always is. */
  readonly verify?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface ManifestFile {
  readonly manifest: Manifest;
  readonly bytes: Uint8Array;
  /** Of these bytes: what tells this data set from every other. */
  readonly sha256: string;
}

export interface DatasetFiles extends AsyncDisposable {
  /** The folder or locator. */
  readonly where: string;
  /** One file's path or locator, for messages. */
  nameOf(file: string): string;
  /** @throws IsoergError DATA when there is none or it can't be used, NETWORK when nobody answers */
  readManifest(): Promise<ManifestFile>;
  /** What checks that a file is there and of its size, without reading it; that throws IsoergError DATA. */
  sizes(): Promise<(record: FileRecord) => void | Promise<void>>;
  /** @throws IsoergError DATA for a file that is missing, truncated or altered, NETWORK when nobody answers */
  read(record: FileRecord, options?: ReadOptions): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Files of a plain path, or of a locator. Nothing is opened before it is needed. @throws IsoergError CONFIG */
export function openDatasetFiles(place: string, options: StorageOptions = {}): DatasetFiles {
  const locator = parseLocator(place);
  return locator === null ? createFolderFiles(place) : createStoredFiles(locator, options);
}

/** @throws IsoergError DATA when there is none or it can't be used, NETWORK when nobody answers */
export async function readManifest(place: string, options: StorageOptions = {}): Promise<Manifest> {
  const files = openDatasetFiles(place, options);
  return files
    .readManifest()
    .then(({ manifest }) => manifest)
    .finally(() => files.close());
}

function createFolderFiles(folder: string): DatasetFiles {
  const nameOf = (file: string): string => join(folder, file);
  return {
    where: folder,
    nameOf,
    async readManifest() {
      const path = nameOf(MANIFEST_FILE);
      let bytes: Uint8Array;
      try {
        bytes = await readFile(path);
      } catch (error) {
        throw noDataset(folder, (error as NodeJS.ErrnoException).code ?? String(error), error);
      }
      return manifestOf(bytes, path);
    },
    sizes: async () => (record) => checkSize(nameOf(record.file), record),
    read: (record, { verify = true, signal } = {}) => readRecorded(nameOf(record.file), record, { verify, signal }),
    async close() {},
    async [Symbol.asyncDispose]() {},
  };
}

function manifestOf(bytes: Uint8Array, path: string): ManifestFile {
  return { manifest: parseManifest(new TextDecoder().decode(bytes), path), bytes, sha256: digestOf("sha256", bytes) };
}

function noDataset(place: string, why: string, cause?: unknown): IsoergError {
  return new IsoergError("DATA", `no data set in '${place}': ${MANIFEST_FILE} can't be read (${why})`, {
    hint: `prepare it first, for example: isoerg data prepare cifar10 --out ${place}`,
    cause,
  });
}

function createStoredFiles(locator: Locator, options: StorageOptions): DatasetFiles {
  const where = locatorText(locator);
  const { storage = defaultStorage(), onNotice } = options;
  const cache = new ContentCache({
    folder: storage.cache ?? join(defaultCacheFolder(), "shards"),
    maxBytes: storage.cacheMiB * 2 ** 20,
    ...(onNotice && { onNotice }),
  });
  let opened: Promise<ObjectStore> | undefined;
  const store = (): Promise<ObjectStore> => {
    opened ??= openObjectStore(locator, options);
    return opened;
  };
  const nameOf = (file: string): string => below(where, file);
  const damaged = (record: FileRecord, what: string): IsoergError =>
    new IsoergError("DATA", `'${nameOf(record.file)}' ${what}`, {
      hint: `publish it again from a whole copy: isoerg data publish DIR ${where}`,
    });
  const explain = (error: unknown, record: FileRecord): unknown => {
    if (error instanceof StoreError && error.fault === "missing") return damaged(record, "is missing, though the manifest lists it");
    if (error instanceof StoreError && error.fault === "short")
      return damaged(record, `is truncated: the manifest says ${record.sizeBytes} bytes; ${error.message}`);
    return explained(error, `'${nameOf(record.file)}' can't be read`);
  };
  const fetch = async (record: FileRecord, signal: AbortSignal | undefined): Promise<Uint8Array> => {
    for (let attempt = 1; ; attempt++) {
      const bytes = await readWhole(await store(), { key: record.file, sizeBytes: record.sizeBytes }, signal);
      const found = await sha256Of(bytes);
      if (found === record.sha256) return bytes;
      const what = `was altered: its sha256 is ${found}, the manifest says ${record.sha256}`;
      if (attempt === 2) throw damaged(record, `${what}; so twice`);
      onNotice?.(`'${nameOf(record.file)}' ${what}; it is read once more`);
    }
  };

  const close = async (): Promise<void> => (await opened?.catch(() => undefined))?.close();

  return {
    where,
    nameOf,
    close,
    [Symbol.asyncDispose]: close,

    async readManifest() {
      let bytes: Uint8Array;
      try {
        bytes = await (await store()).get(MANIFEST_FILE);
      } catch (error) {
        if (!(error instanceof StoreError) || error.fault !== "missing") throw explained(error, `the data set in '${where}' can't be read`);
        throw new IsoergError("DATA", `no data set in '${where}': it has no ${MANIFEST_FILE}`, {
          hint: `publish a prepared one there: isoerg data publish DIR ${where}`,
        });
      }
      return manifestOf(bytes, nameOf(MANIFEST_FILE));
    },

    // A page of the list tells of a thousand files: several thousand shards cost a few requests.
    async sizes() {
      const sizes = new Map<string, number>();
      try {
        for await (const { key, sizeBytes } of (await store()).list("")) sizes.set(key, sizeBytes);
      } catch (error) {
        throw explained(error, `the files in '${where}' can't be listed`);
      }
      return (record) => {
        const found = sizes.get(record.file);
        if (found === undefined) throw damaged(record, "is missing, though the manifest lists it");
        if (found === record.sizeBytes) return;
        const what = found < record.sizeBytes ? "truncated" : "longer than it should be";
        throw damaged(record, `is ${what}: it has ${found} bytes, the manifest says ${record.sizeBytes}`);
      };
    },

    async read(record, { signal } = {}) {
      try {
        return await cache.get(record, () => fetch(record, signal), signal);
      } catch (error) {
        signal?.throwIfAborted();
        throw explain(error, record);
      }
    },
  };
}
