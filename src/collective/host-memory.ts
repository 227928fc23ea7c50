/**
 * Memory that several processes of one host have mapped, as `native/host_memory.cc` gives it: loading it, and its calls as types.
 *
 * Handles are numbers, the same in all threads of a process. An arena is memory at fixed addresses from which vectors are
 * allocated; a member is this process's part in the sums of one generation, with a segment that lies in the arena's place
 * once it is adopted. Calls that fail throw; waits return an outcome instead, since an end is what they are expected to meet.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { packageRoot } from "../util/package.js";

/** What a sum ended with, in the order of native/outcome.h. */
export const OUTCOMES = ["done", "pending", "gone", "disagree", "timed-out", "closed", "worn-out"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Into all members' vectors; into the first member's; from the first member's into all. */
export const OPERATION = { sum: 0, reduce: 1, broadcast: 2 } as const;
export type Operation = keyof typeof OPERATION;

export interface HostMemory {
  createArena(capacityBytes: number): number;
  /** -> offset in the arena. */
  allocate(arena: number, bytes: number): number;
  /** The same memory in every thread that asks for it. */
  view(arena: number, offset: number, bytes: number): ArrayBuffer;
  open(arena: number, run: number, generation: number, rank: number, nonce: number): number;
  fileOf(member: number): number;
  /** Maps the segment of the host's `index`-th rank of `count`. The member's own is attached as well. */
  attach(member: number, index: number, count: number, pid: number, file: number, nonce: number, rank: number): void;
  connect(member: number, direct: 0 | 1): void;
  /** Puts the member's segment in the arena's place: everything there becomes zero. For the thread that writes there. */
  adopt(member: number): void;
  /** The arena is this process's own again, and zero. */
  renew(arena: number): void;
  isDirect(member: number): 0 | 1;
  /** Starts a sum, in place. The vector must not be touched until `finish`. Waits only when too many are under way. */
  post(member: number, values: Float32Array, operation: number, step: number, bucket: number, timeoutMs: number): number;
  /** Blocks until all sums posted are done. */
  finish(member: number, timeoutMs: number): number;
  finishLater(member: number, timeoutMs: number): Promise<number>;
  culprit(member: number): number;
  close(member: number): void;
  add(target: Float32Array, source: Float32Array): void;
}

export type HostMemoryLoad =
  | { readonly ok: true; readonly memory: HostMemory; readonly path: string }
  | { readonly ok: false; readonly reason: string; readonly hint: string };

interface BuildModule {
  buildHostMemory(options?: {
    env?: NodeJS.ProcessEnv;
  }): { readonly ok: true; readonly path: string } | { readonly ok: false; readonly reason: string; readonly hint: string };
}

/** Addresses that are set aside for vectors; memory is taken only where it is written. */
export const ARENA_BYTES = 2 ** 34;

/** Loads the library, compiling it where that has not been done. Says why where there is none. */
export async function loadHostMemory(env: NodeJS.ProcessEnv = process.env): Promise<HostMemoryLoad> {
  if (env.ISOERG_SHARED_MEMORY === "0") return { ok: false, reason: "ISOERG_SHARED_MEMORY=0", hint: "leave the variable out" };
  const loaded = await loadLibrary<HostMemory>(env);
  return loaded.ok ? { ok: true, memory: loaded.library, path: loaded.path } : loaded;
}

export type LibraryLoad<Functions> =
  | { readonly ok: true; readonly library: Functions; readonly path: string }
  | { readonly ok: false; readonly reason: string; readonly hint: string };

/** The library for whichever of its functions the caller wants. */
export async function loadLibrary<Functions>(env: NodeJS.ProcessEnv): Promise<LibraryLoad<Functions>> {
  const script = join(packageRoot, "src", "collective", "native", "build.mjs");
  if (!existsSync(script)) return { ok: false, reason: `${script} is missing`, hint: "install the package whole" };
  const { buildHostMemory } = (await import(pathToFileURL(script).href)) as BuildModule;
  const built = buildHostMemory({ env });
  if (!built.ok) return built;
  try {
    return { ok: true, library: createRequire(import.meta.url)(built.path) as Functions, path: built.path };
  } catch (error) {
    const reason = `${built.path} can't be loaded: ${error instanceof Error ? error.message : String(error)}`;
    return { ok: false, reason, hint: "remove build/collective and start again" };
  }
}

/** For a thread that was told the path. */
export function requireHostMemory(path: string): HostMemory {
  return createRequire(import.meta.url)(path) as HostMemory;
}
