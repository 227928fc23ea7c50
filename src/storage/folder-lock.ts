/**
 * One process at a time in a folder that several share. Each puts a file of its own name there, then looks: whoever sees nobody
 * else's has the lock; whoever sees one takes its own away and comes back after a random pause. Of two at once at least one sees
 * the other, since both write before they look. Names are never used twice, so a file that a dead process left can be removed
 * by anyone without harm: one of this host whose process is gone, or one of another host (or container) that is over a minute old.
 */
import { randomBytes } from "node:crypto";
import { readdir, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const PREFIX = ".lock-";
/** The lock is held for as long as a shard takes to be written to a local disk. */
const STALE_MS = 60_000;
const MAX_PAUSE_MS = 40;

/** Calls with the lock held. @throws the signal's reason, when it comes before the lock is had */
export async function withFolderLock<T>(folder: string, call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const host = Buffer.from(hostname()).toString("hex");
  const own = `${PREFIX}${host}-${process.pid}-${randomBytes(6).toString("hex")}`;
  for (;;) {
    signal?.throwIfAborted();
    await writeFile(join(folder, own), "", { flag: "wx" });
    try {
      if (!(await othersIn(folder, own, host))) return await call();
    } finally {
      await rm(join(folder, own), { force: true });
    }
    await pause(1 + MAX_PAUSE_MS * Math.random());
  }
}

/** Whether a living process has, or wants, the lock. What dead ones left is removed. */
async function othersIn(folder: string, own: string, host: string): Promise<boolean> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(PREFIX) || name === own) continue;
    if (await isLiving(folder, name, host)) return true;
    await rm(join(folder, name), { force: true });
  }
  return false;
}

async function isLiving(folder: string, name: string, host: string): Promise<boolean> {
  const [theirHost, pid] = name.slice(PREFIX.length).split("-");
  if (theirHost === host && Number(pid) !== process.pid) {
    try {
      process.kill(Number(pid), 0);
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "EPERM";
    }
  }
  const found = await stat(join(folder, name)).catch(() => null);
  return found !== null && Date.now() - found.mtimeMs < STALE_MS;
}
