/**
 * A folder of this host with files named by their SHA-256, shared by all its processes: what one of them fetched the others find.
 *
 * - What is fetched is checked in memory and only then written, aside and renamed; a process that is killed leaves nothing under a
 *   name. What lies there is checked again whenever it is read: a disk may lie, and a power loss tear.
 * - The folder's files together never exceed `maxBytes`, half-written ones included: room is made, least recently used first, and
 *   the file written, under one lock. A file that is evicted while another process reads it stays readable to that one.
 * - Of several processes that lack the same content one fetches it (it says so in a claim, kept fresh) and the others wait.
 * - A folder that can't be used costs the cache, not the run: contents are then fetched whenever they are needed.
 */
import { randomBytes, webcrypto } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type CachedFile, evictions } from "./eviction.js";
import { withFolderLock } from "./folder-lock.js";

export interface Content {
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface ContentCacheOptions {
  readonly folder: string;
  readonly maxBytes: number;
  /** Told, once, why the folder can't be used. */
  readonly onNotice?: (message: string) => void;
}

export interface CacheCounts {
  readonly hits: number;
  readonly fetched: number;
}

const CONTENT = /^[0-9a-f]{64}$/;
const CLAIM_FRESH_MS = 10_000;
const CLAIM_TOUCH_MS = 2_000;
const LOOK_AGAIN_MS = 20;

export class ContentCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #onNotice: (message: string) => void;
  #isUsable: boolean;
  #hits = 0;
  #fetched = 0;

  constructor({ folder, maxBytes, onNotice = () => {} }: ContentCacheOptions) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
    this.#onNotice = onNotice;
    this.#isUsable = maxBytes > 0;
  }

  get counts(): CacheCounts {
    return { hits: this.#hits, fetched: this.#fetched };
  }

  /**
   * Content from the folder, or by `fetch`, which is believed: it checks what it gives.
   * @throws what `fetch` does, or the signal's reason
   */
  async get(content: Content, fetch: () => Promise<Uint8Array>, signal?: AbortSignal): Promise<Uint8Array> {
    if (!(await this.#canUse(content))) return this.#fetch(fetch);
    const claim = join(this.#folder, `.claim-${content.sha256}`);
    for (;;) {
      signal?.throwIfAborted();
      const found = (await this.#read(content)) ?? (await this.#claimed(claim, content, fetch, signal));
      if (found !== null) return found;
      await pause(LOOK_AGAIN_MS); // another process fetches it
    }
  }

  async #fetch(fetch: () => Promise<Uint8Array>): Promise<Uint8Array> {
    this.#fetched++;
    return fetch();
  }

  async #canUse({ sizeBytes }: Content): Promise<boolean> {
    if (!this.#isUsable || sizeBytes > this.#maxBytes) return false;
    try {
      await mkdir(this.#folder, { recursive: true });
      return true;
    } catch (error) {
      return this.#giveUp(error);
    }
  }

  #giveUp(error: unknown): false {
    if (this.#isUsable) this.#onNotice(`nothing is kept in ${this.#folder}: ${(error as Error).message}`);
    this.#isUsable = false;
    return false;
  }

  /** What lies in the folder, if it is what it should be; it counts as used now. */
  async #read({ sha256, sizeBytes }: Content): Promise<Uint8Array | null> {
    const path = join(this.#folder, sha256);
    let bytes: Uint8Array;
    try {
      bytes = await readFile(path);
    } catch {
      return null; // never there, or evicted
    }
    if (bytes.length !== sizeBytes || (await sha256Of(bytes)) !== sha256) {
      await rm(path, { force: true }).catch(() => {});
      return null;
    }
    const now = new Date();
    await utimes(path, now, now).catch(() => {}); // evicted meanwhile
    this.#hits++;
    return bytes;
  }

  /** Fetches and keeps the content, unless another process is about to. @returns null where one is, and has not come to its end */
  async #claimed(claim: string, content: Content, fetch: () => Promise<Uint8Array>, signal?: AbortSignal): Promise<Uint8Array | null> {
    try {
      await writeFile(claim, "", { flag: "wx" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
        this.#giveUp(error);
        return this.#fetch(fetch);
      }
      const since = await stat(claim).then(
        ({ mtimeMs }) => mtimeMs,
        () => null,
      );
      // Its process is gone. Two that see so at once may both fetch, which costs a request and no more.
      if (since !== null && Date.now() - since > CLAIM_FRESH_MS) await rm(claim, { force: true });
      return null;
    }
    const touch = setInterval(() => {
      const now = new Date();
      utimes(claim, now, now).catch(() => {});
    }, CLAIM_TOUCH_MS);
    try {
      const found = await this.#read(content); // another process came to its end between our two looks
      if (found !== null) return found;
      const bytes = await this.#fetch(fetch);
      await this.#keep(content, bytes, signal);
      return bytes;
    } finally {
      clearInterval(touch);
      await rm(claim, { force: true }).catch(() => {});
    }
  }

  async #keep({ sha256, sizeBytes }: Content, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const folder = this.#folder;
    const write = async (): Promise<void> => {
      const files: CachedFile[] = [];
      for (const name of await readdir(folder)) {
        if (name.startsWith(".write-")) await rm(join(folder, name), { force: true }); // its process died: the lock is ours
        if (!CONTENT.test(name) || name === sha256) continue;
        const found = await stat(join(folder, name)).catch(() => null);
        if (found !== null) files.push({ name, sizeBytes: found.size, usedAtMs: found.mtimeMs });
      }
      await rm(join(folder, sha256), { force: true }); // a damaged one
      for (const name of evictions(files, sizeBytes, this.#maxBytes) ?? []) await rm(join(folder, name), { force: true });
      const aside = join(folder, `.write-${randomBytes(6).toString("hex")}`);
      try {
        {
          await using file = await open(aside, "wx");
          for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
        }
        await rename(aside, join(folder, sha256));
      } catch (error) {
        await rm(aside, { force: true });
        throw error;
      }
    };
    try {
      await withFolderLock(folder, write, signal);
    } catch (error) {
      if (!signal?.aborted) this.#giveUp(error);
    }
  }
}

/** Off this thread. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)).toString("hex");
}
