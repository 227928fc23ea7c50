/**
 * The checkpoints of one run in an object store. An object can't be renamed, so validity is in the order of writing: each save has
 * names of its own, `step-NNNNNN.SSSSSS/` with the number of the save, and its manifest.json is put last, on the condition that there
 * is none. What has no manifest is no checkpoint, whenever its writer died; nothing is ever written over, so the one before stays
 * as it is. Deleting begins with the manifest for the same reason.
 *
 * There is no pointer: the newest is the one with the highest number. A store that can't be reached is an error, never an absence:
 * a resume must not fall back to an older checkpoint because a request failed.
 */

import { explained, type ObjectEntry, type ObjectStore, StoreError } from "../storage/object-store.js";
import { IsoergError } from "../util/error.js";
import { type LoadedContent, type Manifest, readFolder, readManifest, writeFolder } from "./folder.js";
import { createObjectFiles } from "./object-files.js";
import { retention } from "./retention.js";
import {
  type AboutCheckpoint,
  type CheckpointContent,
  type CheckpointEntry,
  type CheckpointStore,
  type CheckpointStoreOptions,
  checkpointName,
  type LoadedCheckpoint,
} from "./store.js";

const FOLDER = /^(step-(\d{6,})\.(\d{6,}))\/([^/]+)$/;
const MANIFEST = "manifest.json";

/** What lies under one save's names. */
interface Saved {
  readonly folder: string;
  readonly step: number;
  readonly sequence: number;
  readonly files: Map<string, ObjectEntry>;
}

/** The store is closed by whoever opened it. */
export function createObjectCheckpoints(
  open: () => Promise<ObjectStore>,
  where: string,
  options: Omit<CheckpointStoreOptions, "fileSystem">,
): CheckpointStore {
  return new ObjectCheckpoints(open, where, options);
}

class ObjectCheckpoints implements CheckpointStore {
  readonly #open: () => Promise<ObjectStore>;
  readonly #where: string;
  readonly #options: Omit<CheckpointStoreOptions, "fileSystem">;
  /** Written once, so read once; undefined for one that is no manifest. */
  readonly #manifests = new Map<string, Manifest | undefined>();
  readonly #foundTorn = new Set<string>(); // folders
  #opened: Promise<ObjectStore> | undefined;
  #tidied = false;
  #saving = false;

  constructor(open: () => Promise<ObjectStore>, where: string, options: Omit<CheckpointStoreOptions, "fileSystem">) {
    this.#open = open;
    this.#where = where;
    this.#options = options;
  }

  async save(step: number, content: CheckpointContent, { metrics = {} }: AboutCheckpoint = {}): Promise<string> {
    if (this.#saving) throw new Error(`bug in isoerg: the checkpoint of step ${step} was begun while another is being written`);
    this.#saving = true;
    try {
      const score = this.#options.keepBest && metrics[this.#options.keepBest.by];
      const store = await this.#store();
      const before = await this.#saved();
      if (!this.#tidied) await this.#tidy(store, before);
      this.#tidied = true;
      const sequence = 1 + Math.max(0, ...before.map((saved) => saved.sequence));
      const folder = `${checkpointName(step)}.${String(sequence).padStart(6, "0")}`;
      const head = { step, sequence, ...(score !== undefined && Number.isFinite(score) && { score }) };
      await writeFolder(createObjectFiles(store), folder, head, content);
      await this.#deleteOld(store, folder, step);
      return this.#pathOf(folder);
    } catch (cause) {
      this.#tidied = false; // what is there of this one is removed by the next save
      throw new IsoergError(
        "CHECKPOINT",
        `the checkpoint of step ${step} could not be written to ${this.#where}: ${(cause as Error).message}`,
        {
          hint: "Mend what the store complains of; then resume. Checkpoints saved before are intact.",
          cause,
        },
      );
    } finally {
      this.#saving = false;
    }
  }

  async load(which: number | "latest"): Promise<LoadedCheckpoint> {
    const newestFirst = (await this.list()).reverse();
    if (which !== "latest") {
      const entry = newestFirst.find(({ step }) => step === which);
      if (entry) return this.#load(entry, []);
      const steps = newestFirst.map(({ step }) => step).reverse();
      throw new IsoergError("CHECKPOINT", `there is no checkpoint of step ${which} in ${this.#where}`, {
        hint: steps.length === 0 ? "No step of this run was saved." : `Saved steps: ${steps.join(", ")}.`,
      });
    }
    const warnings: string[] = [];
    for (const entry of newestFirst) {
      try {
        return await this.#load(entry, warnings);
      } catch (error) {
        if (!(error instanceof IsoergError) || !this.#foundTorn.has(folderOf(entry))) throw error;
        warnings.push(`${error.message}; the one before it is used`);
      }
    }
    throw new IsoergError("CHECKPOINT", [`there is no whole checkpoint in ${this.#where}`, ...warnings].join("\n  "), {
      hint: "Start the run anew with another checkpoint.path, or restore a checkpoint from a copy.",
    });
  }

  async #load(entry: CheckpointEntry, warnings: readonly string[]): Promise<LoadedCheckpoint> {
    const folder = folderOf(entry);
    let content: LoadedContent;
    try {
      content = await readFolder(createObjectFiles(await this.#store()), folder);
    } catch (error) {
      const { cause } = error as { cause?: unknown };
      if (cause instanceof StoreError) throw explained(cause, `checkpoint ${entry.path} can't be read`, "CHECKPOINT");
      if (error instanceof StoreError) throw explained(error, `checkpoint ${entry.path} can't be read`, "CHECKPOINT");
      this.#foundTorn.add(folder);
      throw error;
    }
    return { ...content, path: entry.path, warnings };
  }

  /** Of several saves of one step the newest counts; the others are about to go. */
  async list(): Promise<CheckpointEntry[]> {
    try {
      const entries = new Map<number, CheckpointEntry>();
      for (const saved of await this.#saved()) {
        if (!saved.files.has(MANIFEST)) continue;
        const manifest = await this.#manifest(saved.folder);
        const { step, sequence } = saved;
        const isWhole = manifest !== undefined && isComplete(manifest, saved) && !this.#foundTorn.has(saved.folder);
        entries.delete(step);
        entries.set(step, {
          step,
          sequence,
          path: this.#pathOf(saved.folder),
          condition: isWhole ? "whole" : "torn",
          score: manifest?.score,
        });
      }
      return [...entries.values()];
    } catch (error) {
      throw explained(error, `the checkpoints in ${this.#where} can't be listed`, "CHECKPOINT");
    }
  }

  async discard(steps: readonly number[], reason: string): Promise<void> {
    const store = await this.#store();
    for (const saved of await this.#saved()) {
      if (!steps.includes(saved.step)) continue;
      await remove(store, saved);
      this.#options.onDelete?.({ step: saved.step, reason });
    }
  }

  #store(): Promise<ObjectStore> {
    this.#opened ??= this.#open();
    return this.#opened;
  }

  #pathOf(folder: string): string {
    return `${this.#where}/${folder}`;
  }

  /** All saves, complete or not, in their order. */
  async #saved(): Promise<Saved[]> {
    const found = new Map<string, Saved>();
    for await (const entry of (await this.#store()).list("")) {
      const [, folder, step, sequence, file] = FOLDER.exec(entry.key) ?? [];
      if (folder === undefined || file === undefined) continue;
      const saved = found.get(folder) ?? { folder, step: Number(step), sequence: Number(sequence), files: new Map() };
      saved.files.set(file, entry);
      found.set(folder, saved);
    }
    return [...found.values()].sort((a, b) => a.sequence - b.sequence);
  }

  async #manifest(folder: string): Promise<Manifest | undefined> {
    if (this.#manifests.has(folder)) return this.#manifests.get(folder);
    let manifest: Manifest | undefined;
    try {
      manifest = await readManifest(createObjectFiles(await this.#store()), folder);
    } catch (error) {
      const { cause } = error as { cause?: unknown };
      if (cause instanceof StoreError || !(error instanceof IsoergError)) throw cause ?? error; // not known, rather than torn
    }
    this.#manifests.set(folder, manifest);
    return manifest;
  }

  /** Removes what interrupted saves left behind. */
  async #tidy(store: ObjectStore, all: readonly Saved[]): Promise<void> {
    for (const saved of all) if (!saved.files.has(MANIFEST)) await remove(store, saved);
  }

  /** A failure to delete costs space, not safety: the next save tries again. */
  async #deleteOld(store: ObjectStore, folder: string, provedGood: number): Promise<void> {
    try {
      const all = await this.#saved();
      const entries = await this.list();
      const replaced = all.filter((saved) => saved.step === provedGood && saved.folder !== folder);
      for (const saved of replaced) await remove(store, saved);
      for (const deletion of retention(entries, { ...this.#options, provedGood })) {
        for (const saved of all) if (saved.step === deletion.step) await remove(store, saved);
        this.#options.onDelete?.(deletion);
      }
    } catch {
      this.#tidied = false;
    }
  }
}

function folderOf({ path }: CheckpointEntry): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The manifest first: a deletion cut short leaves no checkpoint, rather than half of one. */
async function remove(store: ObjectStore, { files }: Saved): Promise<void> {
  const manifest = files.get(MANIFEST);
  if (manifest) await store.remove(manifest.key);
  for (const [name, { key }] of files) if (name !== MANIFEST) await store.remove(key);
}

function isComplete(manifest: Manifest, { files }: Saved): boolean {
  return Object.entries(manifest.files).every(([name, { sizeBytes }]) => files.get(name)?.sizeBytes === sizeBytes);
}
