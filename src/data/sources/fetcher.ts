/**
 * Getting files from elsewhere: an HTTP download, and a package's tarball by way of `npm pack`, which knows the registry, its
 * proxy and its credentials. Neither is trusted: callers give the digest, and only a file that has it gets its name.
 * Tests put another Fetcher in place; nothing else in the data layer touches the network.
 */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { IsoergError } from "../../util/error.js";
import { digestOfFile } from "../files.js";

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  /** `total` is null where it is not known. */
  readonly onBytes?: (done: number, total: number | null) => void;
}

export interface Fetcher {
  /** Writes what the URL gives to `path`. @throws IsoergError NETWORK. */
  download(url: string, path: string, options: FetchOptions): Promise<void>;
  /** Writes the tarball of a package to `path`. @throws IsoergError NETWORK. */
  packPackage(spec: string, path: string, options: FetchOptions): Promise<void>;
}

/** Where downloads are kept: ISOERG_CACHE, else isoerg in the user's cache folder. */
export function defaultCacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.ISOERG_CACHE ?? join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "isoerg");
}

export interface Wanted {
  readonly algorithm: "md5" | "sha256" | "sha512";
  /** Hexadecimal. */
  readonly digest: string;
  /** Brings the file to a path that is not its own yet. */
  readonly fetch: (path: string) => Promise<void>;
}

/**
 * A file of the cache: as it lies there when it has the digest, else fetched anew.
 * @throws IsoergError DATA when what was fetched has another digest; nothing is kept then.
 */
export async function cached(path: string, wanted: Wanted, signal?: AbortSignal): Promise<string> {
  const { algorithm, digest } = wanted;
  const exists = await stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
  if (exists && (await digestOfFile(algorithm, path, signal)) === digest) return path;
  await mkdir(dirname(path), { recursive: true });
  const aside = await mkdtemp(`${path}.partial-`);
  try {
    const fresh = join(aside, basename(path));
    await wanted.fetch(fresh);
    const found = await digestOfFile(algorithm, fresh, signal);
    if (found !== digest) {
      throw new IsoergError("DATA", `${basename(path)} is not the published file: its ${algorithm} is ${found}, it should be ${digest}`, {
        hint: "something on the way altered it (a proxy, a mirror); try again or from another network",
      });
    }
    await rename(fresh, path);
    return path;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

export interface NetworkOptions {
  /** Until a server answers. Short, so that a closed network costs seconds. */
  readonly connectTimeoutMs?: number;
  /** Longest silence within a download. */
  readonly stallTimeoutMs?: number;
}

/** The Fetcher that goes out to the network. */
export function createNetworkFetcher(options: NetworkOptions = {}): Fetcher {
  const { connectTimeoutMs = 8_000, stallTimeoutMs = 30_000 } = options;
  return {
    async download(url, path, { signal, onBytes }) {
      const silence = new AbortController();
      let timer = setTimeout(() => silence.abort(new Error(`no answer within ${connectTimeoutMs} ms`)), connectTimeoutMs);
      try {
        const response = await fetch(url, { signal: signal ? AbortSignal.any([signal, silence.signal]) : silence.signal });
        if (!response.ok || response.body === null) throw new Error(`HTTP status ${response.status}`);
        const total = Number(response.headers.get("content-length")) || null;
        let done = 0;
        const counted = async function* (chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
          for await (const chunk of chunks) {
            clearTimeout(timer);
            timer = setTimeout(() => silence.abort(new Error(`no data for ${stallTimeoutMs} ms`)), stallTimeoutMs);
            done += chunk.length;
            onBytes?.(done, total);
            yield chunk;
          }
        };
        await pipeline(Readable.fromWeb(response.body), counted, createWriteStream(path));
      } catch (error) {
        signal?.throwIfAborted();
        throw new IsoergError("NETWORK", `${url} can't be downloaded: ${reasonOf(error)}`, { cause: error });
      } finally {
        clearTimeout(timer);
      }
    },

    async packPackage(spec, path, { signal }) {
      const folder = dirname(path);
      const { status, stderr } = await runNpm(["pack", spec, "--pack-destination", folder, "--ignore-scripts", "--silent"], signal);
      if (status !== 0) throw new IsoergError("NETWORK", `npm pack ${spec} failed (status ${status})${stderr === "" ? "" : `: ${stderr}`}`);
      const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
      if (tarball === undefined) throw new IsoergError("NETWORK", `npm pack ${spec} wrote no tarball`);
      await rename(join(folder, tarball), path);
    },
  };
}

/** The innermost reason: fetch hides it ("fetch failed") in its causes. */
function reasonOf(error: unknown): string {
  let reason = error;
  while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause;
  return reason instanceof Error ? reason.message : String(reason);
}

function runNpm(args: readonly string[], signal?: AbortSignal): Promise<{ status: number | null; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("npm", args, { stdio: ["ignore", "ignore", "pipe"], ...(signal ? { signal } : {}) });
    const pieces: Buffer[] = [];
    child.stderr.on("data", (piece: Buffer) => pieces.push(piece));
    child.on("error", (error) => {
      if (signal?.aborted) reject(signal.reason);
      else
        reject(
          new IsoergError("NETWORK", `npm can't be started: ${error.message}`, {
            hint: "install npm, which comes with Node.js",
            cause: error,
          }),
        );
    });
    child.on("close", (status) =>
      resolve({ status, stderr: Buffer.concat(pieces).toString("utf8").trim().split("\n").slice(-3).join(" ") }),
    );
  });
}
