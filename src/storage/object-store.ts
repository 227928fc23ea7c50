/**
 * The seam to storage: objects by key, each written whole and read whole or in part. A folder (`folder-store.ts`) and a bucket
 * (`s3-store.ts`) stand behind it; one contract suite holds both.
 *
 * A key is a relative path of plain names. An object is there whole or not at all, whatever dies while it is written.
 */
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";

export interface ObjectEntry {
  readonly key: string;
  readonly sizeBytes: number;
}

export interface GetOptions {
  /** Bytes from..to-1; all of the object by default. */
  readonly range?: Range;
  readonly signal?: AbortSignal | undefined;
}

export interface PutOptions {
  /** Fails with `exists` where there is an object of that key; of two at once one fails. */
  readonly ifAbsent?: boolean;
  /** Of the content, kept beside it where the store can. */
  readonly sha256?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface ObjectStore {
  /** For people: `s3://bucket/prefix` or `file:///folder`. Holds no secret. */
  readonly where: string;
  /** In fresh memory. @throws StoreError `missing`; `short` where the object ends before the range does */
  get(key: string, options?: GetOptions): Promise<Uint8Array<ArrayBuffer>>;
  /** Creates or replaces an object. Pieces are taken one after another and must not change until the promise settles. */
  put(key: string, pieces: Iterable<Uint8Array>, options?: PutOptions): Promise<void>;
  /** null where there is no such object. `sha256` is what `put` was told; null where the store doesn't keep it. */
  head(key: string, signal?: AbortSignal): Promise<{ readonly sizeBytes: number; readonly sha256: string | null } | null>;
  /** All objects whose keys begin with a prefix, in the order of their keys. */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectEntry>;
  /** Nothing happens where there is none. */
  remove(key: string, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/**
 * Why a request failed. `missing`, `exists`, `short`: the object. `denied`: credentials or rights. `refused`: a request that the
 * store will never take. `unavailable`: nobody answers, or asks to come back later.
 */
export type Fault = "missing" | "exists" | "short" | "denied" | "refused" | "unavailable";

/** A request that failed for good. Its message is made here from known parts: it quotes no header and no credential. */
export class StoreError extends Error {
  readonly fault: Fault;
  readonly retryAfterMs: number | null;

  constructor(fault: Fault, message: string, { retryAfterMs = null }: { readonly retryAfterMs?: number | null } = {}) {
    super(message);
    this.name = "StoreError";
    this.fault = fault;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Pieces of a large object that are asked for at once, and their size: what a broken connection costs. */
const PIECE_BYTES = 8 * 2 ** 20;
const PIECES_AT_ONCE = 4;

/** Reads an object of a known size in pieces, several at a time: a connection that breaks costs one piece, not all. */
export async function readWhole(
  store: ObjectStore,
  { key, sizeBytes }: ObjectEntry,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  if (sizeBytes <= PIECE_BYTES) return store.get(key, { range: { from: 0, to: sizeBytes }, signal });
  const bytes = new Uint8Array(sizeBytes);
  const broken = new AbortController();
  const either = signal ? AbortSignal.any([signal, broken.signal]) : broken.signal;
  let at = 0;
  const take = async (): Promise<void> => {
    while (at < sizeBytes) {
      const range = { from: at, to: Math.min(sizeBytes, at + PIECE_BYTES) };
      at = range.to;
      bytes.set(await store.get(key, { range, signal: either }), range.from);
    }
  };
  try {
    await Promise.all(Array.from({ length: PIECES_AT_ONCE }, take));
  } catch (error) {
    broken.abort(error); // the others' pieces are of no use
    throw error;
  }
  return bytes;
}

/** A failure for people, with what to do about it. `input`: the code for what the user can mend. */
export function explained(error: unknown, doing: string, input: "DATA" | "CHECKPOINT" = "DATA"): unknown {
  if (!(error instanceof StoreError)) return error;
  const message = `${doing}: ${error.message}`;
  switch (error.fault) {
    case "unavailable":
      return new IsoergError("NETWORK", message, {
        hint: "Is storage.endpoint (or AWS_ENDPOINT_URL) right, and does that address answer from here? The same command goes on.",
      });
    case "denied":
      return new IsoergError(input, message, {
        hint: "Give credentials that may do this: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role.",
      });
    case "missing":
    case "exists":
    case "short":
    case "refused":
      return new IsoergError(input, message);
    default:
      return error.fault satisfies never;
  }
}
