/**
 * The chunks of one evaluation on disk: a file each, replaced in one move after every task, so that an evaluation that was
 * killed goes on where it was. The folder is named after the fingerprint of all that decides the results; a torn file, or
 * one of anything else, counts as not begun.
 */
import { join } from "node:path";
import { type FileSystem, machineFileSystem } from "../../checkpoint/file-system.js";
import { type Chunk, chunkSchema, newChunk } from "./chunk.js";

export interface ChunkStore {
  readonly folder: string;
  /** What is known of samples from..to-1; a new chunk where that is nothing. */
  load(from: number, to: number): Promise<Chunk>;
  save(chunk: Chunk): Promise<void>;
  /** Writes a file that says, for people, what the folder holds. */
  describe(text: string): Promise<void>;
}

export function createChunkStore(folder: string, fingerprint: string, fileSystem: FileSystem = machineFileSystem): ChunkStore {
  const fileOf = (from: number): string => join(folder, `samples-${String(from).padStart(6, "0")}.json`);
  let made: Promise<void> | undefined;
  const replace = async (path: string, text: string): Promise<void> => {
    made ??= fileSystem.makeFolder(folder);
    await made;
    // A process that was left over from a killed evaluation may still be writing the same chunk.
    const aside = `${path}.${process.pid}.tmp`;
    await fileSystem.writeFile(aside, [Buffer.from(text)]);
    await fileSystem.rename(aside, path);
    await fileSystem.syncFolder(folder);
  };
  return {
    folder,
    async load(from, to) {
      const fresh = newChunk(fingerprint, from, to);
      try {
        const found = chunkSchema.safeParse(JSON.parse(Buffer.from(await fileSystem.readFile(fileOf(from))).toString("utf8")));
        return found.success && found.data.fingerprint === fingerprint && found.data.to === to ? found.data : fresh;
      } catch (error) {
        if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return fresh;
        throw error;
      }
    },
    save: (chunk) => replace(fileOf(chunk.from), `${JSON.stringify(chunk)}\n`),
    describe: (text) => replace(join(folder, "about.json"), text),
  };
}
