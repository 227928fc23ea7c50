/** Where a run's checkpoints are kept: in its folder, in another one, or in a bucket, as `checkpoint.path` says. */
import { join } from "node:path";
import type { Config } from "../config/schema.js";
import { openObjectStore, type StorageOptions } from "../storage/open.js";
import { locatorText, parseLocator } from "../util/locator.js";
import { createObjectCheckpoints } from "./object-checkpoints.js";
import { type CheckpointStore, type CheckpointStoreOptions, createCheckpointStore } from "./store.js";

export interface OpenCheckpointsOptions extends Pick<StorageOptions, "onNotice">, Pick<CheckpointStoreOptions, "onDelete"> {
  readonly config: Pick<Config, "checkpoint" | "storage">;
  readonly runFolder: string;
}

/** Nothing is read or written before the store is used. */
export function openCheckpoints({ config, runFolder, onNotice, onDelete }: OpenCheckpointsOptions): CheckpointStore {
  const { path, keepLast, keepBest, bestBy } = config.checkpoint;
  const options = {
    keepLast,
    ...(keepBest > 0 && { keepBest: { count: keepBest, by: bestBy, higherIsBetter: bestBy.startsWith("accuracy") } }),
    ...(onDelete && { onDelete }),
  };
  const locator = path === null ? null : parseLocator(path);
  if (locator === null) return createCheckpointStore(join(runFolder, "checkpoints"), options);
  if (locator.kind === "file") return createCheckpointStore(locator.path, options);
  const open = () => openObjectStore(locator, { storage: config.storage, ...(onNotice && { onNotice }) });
  return createObjectCheckpoints(open, locatorText(locator), options);
}
