/**
 * The few file operations that a checkpoint store needs, each durable when it returns, and two sets of them: the machine's
 * own and one in memory (dry runs, tests). Faults are injected by wrapping one of these.
 *
 * `rename` replaces a file atomically, as POSIX says; neither it nor a new file is sure to survive a power loss before its
 * folder is synced, so callers sync folders.
 */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

export interface FileSystem {
  /** Creates a folder and those above it. */
  makeFolder(path: string): Promise<void>;
  /** Creates or replaces a file with these pieces and waits until they are on the medium. */
  writeFile(path: string, pieces: Iterable<Uint8Array>): Promise<void>;
  /** The file's bytes in fresh memory. Fails with code ENOENT where there is none. */
  readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Names in a folder; none where there is no folder. */
  list(path: string): Promise<string[]>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a folder with all in it; nothing happens where there is none. */
  remove(path: string): Promise<void>;
  /** Makes the names in a folder durable. */
  syncFolder(path: string): Promise<void>;
}

const READ_BYTES = 64 * 2 ** 20;

export const machineFileSystem: FileSystem = {
  async makeFolder(path) {
    await mkdir(path, { recursive: true });
  },

  async writeFile(path, pieces) {
    await using file = await open(path, "w");
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; ) at += (await file.write(piece, at, piece.length - at)).bytesWritten;
    }
    await file.sync();
  },

  async readFile(path) {
    await using file = await open(path, "r");
    const bytes = new Uint8Array((await file.stat()).size);
    let at = 0;
    while (at < bytes.length) {
      const { bytesRead } = await file.read(bytes, at, Math.min(READ_BYTES, bytes.length - at), at);
      if (bytesRead === 0) break; // it shrank meanwhile
      at += bytesRead;
    }
    return bytes.subarray(0, at);
  },

  async list(path) {
    try {
      return await readdir(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  },

  async rename(from, to) {
    await rename(from, to);
  },

  async remove(path) {
    await rm(path, { recursive: true, force: true });
  },

  async syncFolder(path) {
    await using folder = await open(path, "r");
    await folder.sync();
  },
};

/** Files in a map from path to bytes; folders exist as soon as they are named. */
export function createMemoryFileSystem(): FileSystem {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const missing = (path: string): Error => Object.assign(new Error(`ENOENT: no such file '${path}'`), { code: "ENOENT" });
  const within = (path: string): string[] => [...files.keys()].filter((name) => name === path || name.startsWith(`${path}/`));

  return {
    async makeFolder() {},
    async writeFile(path, pieces) {
      files.set(path, new Uint8Array(Buffer.concat([...pieces])));
    },
    async readFile(path) {
      const bytes = files.get(path);
      if (!bytes) throw missing(path);
      return bytes.slice();
    },
    async list(path) {
      return [...new Set(within(path).map((name) => name.slice(path.length + 1).split("/")[0] ?? ""))].filter((name) => name !== "");
    },
    async rename(from, to) {
      const moved = within(from);
      if (moved.length === 0) throw missing(from);
      if (within(to).some((name) => name !== to))
        throw Object.assign(new Error(`ENOTEMPTY: '${dirname(to)}' has '${to}'`), { code: "ENOTEMPTY" });
      for (const name of moved) {
        files.set(to + name.slice(from.length), files.get(name) as Uint8Array<ArrayBuffer>);
        files.delete(name);
      }
    },
    async remove(path) {
      for (const name of within(path)) files.delete(name);
    },
    async syncFolder() {},
  };
}
