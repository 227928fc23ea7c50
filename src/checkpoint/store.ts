/**
 * The checkpoints of one run: saved so that whatever happens while saving, the one before stays whole and is found again.
 *
 * A checkpoint is written aside (`.tmp-*`), hashed, synced, renamed to `step-NNNNNN`, and only then named in the file
 * `latest`. Reading proves every hash; `latest` falls back to the newest one that holds and says so. One process may
 * save at a time; any number may read, at any time, from a read-only medium as well.
 */
import { basename, dirname, join, resolve } from "node:path";
import { IsoergError } from "../util/error.js";
import { createMemoryFileSystem, type FileSystem, machineFileSystem } from "./file-system.js";
import { type CheckpointContent, type LoadedContent, readFolder, readManifest, writeFolder } from "./folder.js";
import { type Deletion, retention } from "./retention.js";

export type { CheckpointContent, CheckpointFile } from "./folder.js";

export interface LoadedCheckpoint extends LoadedContent {
  readonly path: string;
  /** Sentences for people: newer checkpoints that were torn, a pointer that was lost. */
  readonly warnings: readonly string[];
}

export interface CheckpointEntry {
  readonly step: number;
  readonly path: string;
  /** Counts the saves of the run; 0 where the folder does not say. */
  readonly sequence: number;
  /** `torn` where a look at the manifest, or an earlier load, showed it; `whole` is only proved by loading. */
  readonly condition: "whole" | "torn";
  /** What `keepBest` orders by, where it was known. */
  readonly score: number | undefined;
}

export interface AboutCheckpoint {
  /** Figures of the step before it. */
  readonly metrics?: Readonly<Record<string, number>>;
}

export interface CheckpointStore {
  /**
   * Saves a checkpoint and returns its folder. Arrays must not change until the promise settles.
   * @throws IsoergError CHECKPOINT when it can't be written; the ones before are intact then.
   */
  save(step: number, content: CheckpointContent, about?: AboutCheckpoint): Promise<string>;
  /**
   * Loads a step, or the newest that is whole.
   * @throws IsoergError CHECKPOINT when there is none, or the step asked for is torn.
   */
  load(which: number | "latest"): Promise<LoadedCheckpoint>;
  /** All checkpoints, in the order of saving. */
  list(): Promise<CheckpointEntry[]>;
  /** Deletes the checkpoints of these steps, which nobody shall go on from; `latest` names the newest of the others then. Not while one is saved. */
  discard(steps: readonly number[], reason: string): Promise<void>;
}

export interface CheckpointStoreOptions {
  /** How many to keep; the one saved last is kept in any case. */
  readonly keepLast: number;
  /** How many of the best to keep besides, by the figure `by`: the lowest, or the highest with `higherIsBetter`. Default: none. */
  readonly keepBest?: { readonly count: number; readonly by: string; readonly higherIsBetter: boolean };
  readonly fileSystem?: FileSystem;
  /** Told of each checkpoint deleted, for the journal. */
  readonly onDelete?: (deletion: Deletion) => void;
}

const FOLDER = /^step-(\d{6,})$/;
const DISPLACED = /^\.old-(step-\d{6,})$/;

/** Checkpoints in a folder, which is created on the first save. */
export function createCheckpointStore(dir: string, options: CheckpointStoreOptions): CheckpointStore {
  return new FolderStore(dir, options);
}

/** Checkpoints that live as long as the process: the same code over a file system in memory. */
export function createMemoryCheckpointStore(options: Omit<CheckpointStoreOptions, "fileSystem">): CheckpointStore {
  return new FolderStore("/checkpoints", { ...options, fileSystem: createMemoryFileSystem() });
}

/** One checkpoint by its folder, wherever that lies. */
export async function loadCheckpointFolder(path: string): Promise<LoadedCheckpoint> {
  return { ...(await readFolder(machineFileSystem, path)), path, warnings: [] };
}

/** How a step's folder is called. */
export function checkpointName(step: number): string {
  return `step-${String(step).padStart(6, "0")}`;
}

class FolderStore implements CheckpointStore {
  readonly #dir: string;
  readonly #options: CheckpointStoreOptions;
  readonly #fileSystem: FileSystem;
  readonly #foundTorn = new Set<string>(); // paths
  #tidied = false;
  #saving = false;

  constructor(dir: string, options: CheckpointStoreOptions) {
    this.#dir = resolve(dir);
    this.#options = options;
    this.#fileSystem = options.fileSystem ?? machineFileSystem;
  }

  async save(step: number, content: CheckpointContent, { metrics = {} }: AboutCheckpoint = {}): Promise<string> {
    if (this.#saving) throw new Error(`bug in isoerg: the checkpoint of step ${step} was begun while another is being written`);
    this.#saving = true;
    const path = join(this.#dir, checkpointName(step));
    try {
      const score = this.#options.keepBest && metrics[this.#options.keepBest.by];
      await this.#publish({ step, ...(score !== undefined && Number.isFinite(score) && { score }) }, path, content);
    } catch (cause) {
      const { message } = cause as Error;
      throw new IsoergError("CHECKPOINT", `the checkpoint of step ${step} could not be written to ${path}: ${message}`, {
        hint: "Free space on that disk or make the folder writable; then resume. Checkpoints saved before are intact.",
        cause,
      });
    } finally {
      this.#saving = false;
    }
    await this.#deleteOld(step);
    return path;
  }

  /** Everything up to the moment from which `latest` names the new checkpoint. */
  async #publish(about: { step: number; score?: number }, path: string, content: CheckpointContent): Promise<void> {
    const fs = this.#fileSystem;
    await fs.makeFolder(this.#dir);
    if (!this.#tidied) await this.#tidy();
    this.#tidied = true;
    const entries = await this.list();
    const sequence = 1 + Math.max(0, ...entries.map((entry) => entry.sequence));
    const aside = join(this.#dir, `.tmp-${basename(path)}-${sequence}`);
    try {
      await fs.makeFolder(aside);
      await writeFolder(fs, aside, { ...about, sequence }, content);
      await this.#makeVisible(aside, path);
    } catch (error) {
      await fs.remove(aside).catch(() => {}); // the error at hand says more; what is left is removed by the next run's first save
      throw error;
    }
    this.#foundTorn.delete(path);
    await this.#pointTo(basename(path));
  }

  async #pointTo(name: string): Promise<void> {
    const fs = this.#fileSystem;
    const pointer = join(this.#dir, ".tmp-latest");
    await fs.writeFile(pointer, [new TextEncoder().encode(`${name}\n`)]);
    await fs.rename(pointer, join(this.#dir, "latest"));
    await fs.syncFolder(this.#dir);
  }

  async discard(steps: readonly number[], reason: string): Promise<void> {
    const entries = await this.list();
    const left = entries.filter(({ step, condition }) => !steps.includes(step) && condition === "whole");
    // The pointer first: a crash in between leaves a checkpoint too many, never a name without one.
    const newest = left.at(-1);
    if (newest) await this.#pointTo(checkpointName(newest.step));
    else await this.#fileSystem.remove(join(this.#dir, "latest"));
    for (const { step } of entries) if (steps.includes(step)) await this.#delete({ step, reason });
  }

  async #delete(deletion: Deletion): Promise<void> {
    const fs = this.#fileSystem;
    const name = checkpointName(deletion.step);
    // Renamed first: a deletion cut short must not leave half a checkpoint under its name.
    await fs.rename(join(this.#dir, name), join(this.#dir, `.tmp-delete-${name}`));
    await fs.remove(join(this.#dir, `.tmp-delete-${name}`));
    this.#options.onDelete?.(deletion);
  }

  /** A folder can't be replaced in one move: one of the same step steps aside as `.old-*`, where readers still find it. */
  async #makeVisible(aside: string, path: string): Promise<void> {
    const fs = this.#fileSystem;
    const displaced = join(this.#dir, `.old-${basename(path)}`);
    const occupied = (await fs.list(this.#dir)).includes(basename(path));
    if (occupied) await fs.rename(path, displaced);
    try {
      await fs.rename(aside, path);
      await fs.syncFolder(this.#dir);
    } catch (error) {
      if (occupied) await fs.rename(displaced, path).catch(() => {}); // a reader finds it under either name
      throw error;
    }
    if (occupied) await fs.remove(displaced).catch(() => {});
  }

  /** Removes what an interrupted save left behind, and puts back what it had displaced. */
  async #tidy(): Promise<void> {
    const fs = this.#fileSystem;
    const names = await fs.list(this.#dir);
    for (const name of names) {
      const displaced = DISPLACED.exec(name)?.[1];
      if (displaced !== undefined && !names.includes(displaced)) await fs.rename(join(this.#dir, name), join(this.#dir, displaced));
      else if (displaced !== undefined || name.startsWith(".tmp-")) await fs.remove(join(this.#dir, name));
    }
  }

  /** A failure to delete costs space, not safety: the next save tries again. */
  async #deleteOld(provedGood: number): Promise<void> {
    const entries = await this.list().catch(() => []);
    for (const deletion of retention(entries, { ...this.#options, provedGood })) {
      try {
        await this.#delete(deletion);
      } catch {
        this.#tidied = false;
      }
    }
  }

  async load(which: number | "latest"): Promise<LoadedCheckpoint> {
    const entries = await this.list();
    if (which === "latest") return this.#loadLatest(entries);
    const entry = entries.find(({ step }) => step === which);
    if (!entry) {
      const steps = entries.map(({ step }) => step).join(", ");
      throw new IsoergError("CHECKPOINT", `there is no checkpoint of step ${which} in ${this.#dir}`, {
        hint: steps === "" ? "No step of this run was saved." : `Saved steps: ${steps}.`,
      });
    }
    return this.#loadEntry(entry, []);
  }

  async #loadLatest(entries: readonly CheckpointEntry[]): Promise<LoadedCheckpoint> {
    const named = await this.#latestName();
    const warnings: string[] = [];
    const newestFirst = [...entries].reverse();
    const pointed = newestFirst.find(({ step }) => checkpointName(step) === named);
    if (entries.length > 0 && !pointed) {
      warnings.push(
        `${join(this.#dir, "latest")} ${named === undefined ? "is missing" : `names '${named}', which is not here`}; the newest whole checkpoint is used`,
      );
    }
    for (const entry of pointed ? [pointed, ...newestFirst.filter((entry) => entry !== pointed)] : newestFirst) {
      try {
        return await this.#loadEntry(entry, warnings);
      } catch (error) {
        if (!(error instanceof IsoergError)) throw error;
        warnings.push(`${error.message}; the one before it is used`);
      }
    }
    throw new IsoergError("CHECKPOINT", [`there is no whole checkpoint in ${this.#dir}`, ...warnings].join("\n  "), {
      hint: "Start the run anew in another folder, or restore a checkpoint from a copy.",
    });
  }

  async #loadEntry(entry: CheckpointEntry, warnings: readonly string[]): Promise<LoadedCheckpoint> {
    try {
      const content = await readFolder(this.#fileSystem, entry.path);
      if (content.step !== entry.step) {
        throw new IsoergError("CHECKPOINT", `checkpoint ${entry.path} can't be used: its manifest says step ${content.step}`, {
          hint: "The folder was renamed or copied over another; give it its own name again.",
        });
      }
      return { ...content, path: entry.path, warnings };
    } catch (error) {
      this.#foundTorn.add(entry.path);
      throw error;
    }
  }

  async list(): Promise<CheckpointEntry[]> {
    const names = await this.#fileSystem.list(this.#dir);
    const entries: CheckpointEntry[] = [];
    for (const name of names) {
      const displaced = DISPLACED.exec(name)?.[1];
      const step = FOLDER.exec(displaced ?? name)?.[1];
      if (step === undefined || (displaced !== undefined && names.includes(displaced))) continue;
      const path = join(this.#dir, name);
      const manifest = await readManifest(this.#fileSystem, path).catch(() => undefined);
      const condition = manifest === undefined || this.#foundTorn.has(path) ? "torn" : "whole";
      entries.push({ step: Number(step), path, sequence: manifest?.sequence ?? 0, condition, score: manifest?.score });
    }
    return entries.sort((a, b) => a.sequence - b.sequence || a.step - b.step);
  }

  async #latestName(): Promise<string | undefined> {
    try {
      return new TextDecoder().decode(await this.#fileSystem.readFile(join(this.#dir, "latest"))).trim();
    } catch {
      return undefined;
    }
  }
}

/** The store and step of a path such as `runs/a/checkpoints/step-000500`; undefined for any other path. */
export function checkpointOfPath(path: string): { dir: string; step: number } | undefined {
  const step = FOLDER.exec(basename(resolve(path)))?.[1];
  return step === undefined ? undefined : { dir: dirname(resolve(path)), step: Number(step) };
}
