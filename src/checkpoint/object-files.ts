/**
 * An object store as the file system that checkpoints are written to and read from (`folder.ts`). Files are written once and whole,
 * so nothing needs to be renamed or synced; the rest of `FileSystem` is not for it.
 */
import { type ObjectStore, readWhole } from "../storage/object-store.js";
import type { FileSystem } from "./file-system.js";

export function createObjectFiles(store: ObjectStore): Pick<FileSystem, "writeFile" | "readFile" | "syncFolder"> {
  return {
    /** Never over another one. */
    writeFile: (path, pieces) => store.put(path, pieces, { ifAbsent: true }),
    async readFile(path) {
      const found = await store.head(path);
      if (found === null) throw Object.assign(new Error(`no object '${path}'`), { code: "ENOENT" });
      return readWhole(store, { key: path, sizeBytes: found.sizeBytes });
    },
    async syncFolder() {},
  };
}
