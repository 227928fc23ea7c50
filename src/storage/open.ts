/** From a locator and the configuration's `storage` to an object store. A bucket's SDK is loaded here, and nowhere else. */

import { storageSchema } from "../config/schema/storage.js";
import type { StorageConfig } from "../config/schema.js";
import type { Locator } from "../util/locator.js";
import { createFolderStore } from "./folder-store.js";
import type { ObjectStore } from "./object-store.js";
import { openS3Store } from "./s3-store.js";

/** Delay before the first retry, at most. */
const BASE_MS = 200;

export interface StorageOptions {
  readonly storage?: StorageConfig;
  /** Told of attempts that failed and are repeated, and of a cache that can't be used. */
  readonly onNotice?: (message: string) => void;
}

/** What holds where no configuration says otherwise. */
export function defaultStorage(): StorageConfig {
  return storageSchema.parse(undefined);
}

export async function openObjectStore(
  locator: Locator,
  { storage = defaultStorage(), onNotice }: StorageOptions = {},
): Promise<ObjectStore> {
  if (locator.kind === "file") return createFolderStore(locator.path);
  const { endpoint, region, pathStyle, attempts, maxDelay, timeout } = storage;
  return openS3Store(locator, {
    endpoint,
    region,
    pathStyle,
    retrying: {
      policy: { attempts, baseMs: BASE_MS, capMs: 1000 * maxDelay },
      timeoutMs: 1000 * timeout,
      ...(onNotice && { onRetry: onNotice }),
    },
  });
}
