/**
 * Taking the files that are needed out of a .tar.gz, into a folder that lasts as long as they are read.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import * as tar from "tar";
import { IsoergError } from "../../util/error.js";

export interface Unpacked extends AsyncDisposable {
  /** @throws IsoergError DATA when the archive has no such file. */
  read(name: string): Promise<Buffer>;
}

/** Unpacks the files with these names, wherever in the archive they lie; no folder of the archive is created. */
export async function unpack(archive: string, names: readonly string[], cacheFolder: string): Promise<Unpacked> {
  const folder = await mkdtemp(join(cacheFolder, "unpacked-"));
  const dispose = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await tar.x({
      file: archive,
      cwd: folder,
      filter: (path) => names.includes(basename(path)),
      onReadEntry: (entry) => {
        entry.path = basename(entry.path);
      },
    });
  } catch (error) {
    await dispose();
    throw new IsoergError("DATA", `'${archive}' can't be unpacked: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  return {
    async read(name) {
      try {
        return await readFile(join(folder, name));
      } catch (error) {
        throw new IsoergError("DATA", `'${archive}' has no file '${name}'`, { cause: error });
      }
    },
    [Symbol.asyncDispose]: dispose,
  };
}
