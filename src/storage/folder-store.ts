/**
 * A folder as an object store, for volumes that several machines mount. An object is a file, written aside, synced and renamed;
 * a conditional one is linked to its name, which fails where that is taken. Files of other names (`.…`) are nobody's objects.
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { invariant } from "../util/error.js";
import { type ObjectEntry, type ObjectStore, StoreError } from "./object-store.js";

const READ_BYTES = 2 ** 20;

export function createFolderStore(folder: string): ObjectStore {
  const where = `file://${folder}`;
  const pathOf = (key: string): string => {
    invariant(
      key.split("/").every((name) => name !== "" && !name.startsWith(".")),
      `a key of storage: '${key}'`,
    );
    return join(folder, key);
  };
  const failed = (doing: string, key: string, error: unknown): StoreError => {
    const { code = "", message } = error as NodeJS.ErrnoException;
    const said = `${where}/${key} can't be ${doing} (${code === "" ? message : code})`;
    if (code === "ENOENT" || code === "ENOTDIR") return new StoreError("missing", said);
    if (code === "EEXIST") return new StoreError("exists", `${where}/${key} is there already`);
    if (code === "EACCES" || code === "EPERM" || code === "EROFS") return new StoreError("denied", said);
    return new StoreError("unavailable", said); // a full disk, a server that is away
  };

  return {
    where,

    async get(key, { range, signal } = {}) {
      try {
        await using file = await open(pathOf(key), "r");
        const { from, to } = range ?? { from: 0, to: (await file.stat()).size };
        const bytes = new Uint8Array(to - from);
        for (let at = 0; at < bytes.length; ) {
          signal?.throwIfAborted();
          const { bytesRead } = await file.read(bytes, at, Math.min(READ_BYTES, bytes.length - at), from + at);
          if (bytesRead === 0) throw new StoreError("short", `${where}/${key} ends at byte ${from + at}, ${to} were asked for`);
          at += bytesRead;
        }
        return bytes;
      } catch (error) {
        signal?.throwIfAborted();
        throw error instanceof StoreError ? error : failed("read", key, error);
      }
    },

    async put(key, pieces, { ifAbsent = false, signal } = {}) {
      const path = pathOf(key);
      const aside = join(dirname(path), `.put-${randomBytes(6).toString("hex")}`);
      try {
        await mkdir(dirname(path), { recursive: true });
        {
          await using file = await open(aside, "wx");
          for (const piece of pieces) {
            signal?.throwIfAborted();
            for (let at = 0; at < piece.length; ) at += (await file.write(piece, at, piece.length - at)).bytesWritten;
          }
          await file.sync();
        }
        if (ifAbsent) await link(aside, path);
        else await rename(aside, path);
        await using parent = await open(dirname(path), "r");
        await parent.sync();
      } catch (error) {
        signal?.throwIfAborted();
        throw failed("written", key, error);
      } finally {
        await rm(aside, { force: true }).catch(() => {});
      }
    },

    async head(key) {
      try {
        const found = await stat(pathOf(key));
        return found.isFile() ? { sizeBytes: found.size, sha256: null } : null;
      } catch (error) {
        const told = failed("looked at", key, error);
        if (told.fault === "missing") return null;
        throw told;
      }
    },

    async *list(prefix, signal) {
      const found: ObjectEntry[] = [];
      for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(nothing)) {
        signal?.throwIfAborted();
        const key = join(entry.parentPath, entry.name).slice(join(folder, "/").length);
        if (!entry.isFile() || !key.startsWith(prefix) || key.split("/").some((name) => name.startsWith("."))) continue;
        const size = await stat(join(folder, key)).catch(() => null); // removed meanwhile
        if (size !== null) found.push({ key, sizeBytes: size.size });
      }
      yield* found.sort((a, b) => (a.key < b.key ? -1 : 1));
    },

    async remove(key) {
      try {
        await rm(pathOf(key), { force: true });
      } catch (error) {
        throw failed("removed", key, error);
      }
    },

    async close() {},
  };

  function nothing(error: NodeJS.ErrnoException): [] {
    if (error.code === "ENOENT") return [];
    throw failed("listed", "", error);
  }
}
