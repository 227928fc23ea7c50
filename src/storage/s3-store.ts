/**
 * A bucket of S3-compatible storage as an object store, through Amazon's SDK, which is loaded when the first one is opened.
 *
 * Credentials are the SDK's own affair (environment, profile, the machine's role): none passes through here. The SDK's retries are
 * off; `retrying.ts` does them, so that they are bounded, logged and tested. Requests are signed over their content's SHA-256, so
 * the store refuses what was torn on the way there; what comes from it is checked by whoever knows its digest. The SDK's further
 * checksums, which not every compatible store knows, are left out where they are optional.
 *
 * Objects above `PART_BYTES` go up in parts: a lost connection costs a part, and memory holds a few parts. Every put carries an id:
 * where an answer was lost and the retry finds the object there, the id tells whether it is this one.
 */
import { randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import type * as Sdk from "@aws-sdk/client-s3";
import type { Locator } from "../util/locator.js";
import { locatorText } from "../util/locator.js";
import { type ObjectStore, StoreError } from "./object-store.js";
import { type Retrying, retrying } from "./retrying.js";
import { classifyS3 } from "./s3-failure.js";

/** S3 takes parts of 5 MiB to 5 GiB, and 10,000 of them: 160 GB an object. */
const PART_BYTES = 16 * 2 ** 20;
const PARTS_AT_ONCE = 3;
const ABORT_MS = 5_000;

export interface S3Settings {
  /** null for the environment's, or Amazon's. */
  readonly endpoint: string | null;
  readonly region: string | null;
  readonly pathStyle: boolean | null;
  readonly retrying: Retrying;
}

type Send = <T>(
  method: string,
  key: string,
  call: (signal: AbortSignal, attempt: number) => Promise<T>,
  signal?: AbortSignal,
) => Promise<T>;

export async function openS3Store(locator: Extract<Locator, { kind: "s3" }>, settings: S3Settings): Promise<ObjectStore> {
  // It would warn on the terminal of versions to come; the one that is used is locked, and runs on the Node that is required.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  const sdk = await import("@aws-sdk/client-s3");
  const client = new sdk.S3Client(clientConfig(settings, process.env));
  const { bucket: Bucket, prefix } = locator;
  const where = locatorText(locator);
  const base = prefix === "" ? "" : `${prefix}/`;
  const send: Send = (method, key, call, signal) =>
    retrying({ what: `${method} ${where}/${key}`, send: call, classify: classifyS3 }, settings.retrying, signal);
  const upload = { sdk, client, Bucket, send };

  const head: ObjectStore["head"] = async (key, signal) => {
    try {
      const found = await send(
        "HEAD",
        key,
        (abortSignal) => client.send(new sdk.HeadObjectCommand({ Bucket, Key: base + key }), { abortSignal }),
        signal,
      );
      return { sizeBytes: found.ContentLength ?? 0, sha256: found.Metadata?.sha256 ?? null };
    } catch (error) {
      if (error instanceof StoreError && error.fault === "missing") return null;
      throw error;
    }
  };

  return {
    where,
    head,

    async get(key, { range, signal } = {}) {
      if (range && range.to <= range.from) return new Uint8Array(0);
      const request = { Bucket, Key: base + key, ...(range && { Range: `bytes=${range.from}-${range.to - 1}` }) };
      return send(
        "GET",
        key,
        async (abortSignal) => {
          const { Body, ContentLength } = await client.send(new sdk.GetObjectCommand(request), { abortSignal });
          const bytes = await readBody(Body as Readable, ContentLength ?? 0, abortSignal);
          if (range && bytes.length !== range.to - range.from) {
            throw new StoreError("short", `the object ends at byte ${range.from + bytes.length}, ${range.to} were asked for`);
          }
          return bytes;
        },
        signal,
      );
    },

    async put(key, pieces, { ifAbsent = false, sha256, signal } = {}) {
      const id = randomUUID();
      const Metadata = { "isoerg-put": id, ...(sha256 !== undefined && { sha256 }) };
      const object = { key, Key: base + key, Metadata, ...(ifAbsent && { IfNoneMatch: "*" }) };
      // The object may be this very one, put by an earlier attempt whose answer was lost.
      const isOurs: IsOurs = async (error, attempt, abortSignal) => {
        const { fault } = classifyS3(error).failure;
        if (attempt === 1 || (fault !== "exists" && fault !== "missing")) return false;
        const found = await client.send(new sdk.HeadObjectCommand({ Bucket, Key: object.Key }), { abortSignal }).catch(() => null);
        return found?.Metadata?.["isoerg-put"] === id;
      };
      const parts = partsOf(pieces);
      const first = parts.next();
      const second = parts.next();
      const only = first.done ? new Uint8Array(0) : first.value;
      if (second.done) await putAtOnce(upload, { ...object, Body: only }, isOurs, signal);
      else await putInParts(upload, object, [only, second.value], parts, isOurs, signal);
    },

    async *list(under, signal) {
      let ContinuationToken: string | undefined;
      do {
        const request = { Bucket, Prefix: base + under, ...(ContinuationToken !== undefined && { ContinuationToken }) };
        const page = await send(
          "LIST",
          under,
          (abortSignal) => client.send(new sdk.ListObjectsV2Command(request), { abortSignal }),
          signal,
        );
        for (const { Key = "", Size = 0 } of page.Contents ?? []) yield { key: Key.slice(base.length), sizeBytes: Size };
        ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
      } while (ContinuationToken !== undefined);
    },

    async remove(key, signal) {
      await send(
        "DELETE",
        key,
        (abortSignal) => client.send(new sdk.DeleteObjectCommand({ Bucket, Key: base + key }), { abortSignal }),
        signal,
      );
    },

    async close() {
      client.destroy();
    },
  };
}

/** What the configuration leaves open is the environment's, as Amazon's own tools read it. */
export function clientConfig(
  { endpoint, region, pathStyle, retrying: { timeoutMs } }: S3Settings,
  env: NodeJS.ProcessEnv,
): Sdk.S3ClientConfig {
  const address = endpoint ?? env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL;
  // A compatible store seldom has regions, but a signature needs the name of one.
  const place = region ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? (address === undefined ? undefined : "us-east-1");
  return {
    ...(address !== undefined && { endpoint: address }),
    ...(place !== undefined && { region: place }),
    forcePathStyle: pathStyle ?? address !== undefined,
    maxAttempts: 1,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: { connectionTimeout: Math.min(10_000, timeoutMs) },
  };
}

interface Upload {
  readonly sdk: typeof Sdk;
  readonly client: Sdk.S3Client;
  readonly Bucket: string;
  readonly send: Send;
}

interface NewObject {
  readonly key: string;
  readonly Key: string;
  readonly Metadata: Record<string, string>;
  readonly IfNoneMatch?: string;
}

type IsOurs = (error: unknown, attempt: number, abortSignal: AbortSignal) => Promise<boolean>;

async function putAtOnce(
  { sdk, client, Bucket, send }: Upload,
  { key, ...object }: NewObject & { readonly Body: Uint8Array },
  isOurs: IsOurs,
  signal?: AbortSignal,
): Promise<void> {
  await send(
    "PUT",
    key,
    async (abortSignal, attempt) => {
      try {
        await client.send(new sdk.PutObjectCommand({ Bucket, ...object }), { abortSignal });
      } catch (error) {
        if (!(await isOurs(error, attempt, abortSignal))) throw error;
      }
    },
    signal,
  );
}

async function putInParts(
  { sdk, client, Bucket, send }: Upload,
  { key, Key, Metadata, IfNoneMatch }: NewObject,
  first: readonly Uint8Array[],
  others: Iterable<Uint8Array>,
  isOurs: IsOurs,
  signal?: AbortSignal,
): Promise<void> {
  const { UploadId } = await send(
    "POST",
    key,
    (abortSignal) => client.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key, Metadata }), { abortSignal }),
    signal,
  );
  const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
  const underWay = new Set<Promise<void>>();
  const begin = (Body: Uint8Array): void => {
    const part: (typeof Parts)[number] = { PartNumber: Parts.length + 1, ETag: undefined };
    Parts.push(part);
    const { PartNumber } = part;
    const sent = send(
      `PUT part ${PartNumber} of`,
      key,
      (abortSignal) => client.send(new sdk.UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }), { abortSignal }),
      signal,
    ).then(({ ETag }) => {
      part.ETag = ETag;
      underWay.delete(sent);
    });
    sent.catch(() => {}); // awaited below, with the others
    underWay.add(sent);
  };
  try {
    for (const part of first) begin(part);
    for (const part of others) {
      while (underWay.size >= PARTS_AT_ONCE) await Promise.race(underWay);
      begin(part);
    }
    await Promise.all(underWay);
    await send(
      "POST",
      key,
      async (abortSignal, attempt) => {
        const request = { Bucket, Key, UploadId, MultipartUpload: { Parts }, ...(IfNoneMatch !== undefined && { IfNoneMatch }) };
        try {
          await client.send(new sdk.CompleteMultipartUploadCommand(request), { abortSignal });
        } catch (error) {
          if (!(await isOurs(error, attempt, abortSignal))) throw error;
        }
      },
      signal,
    );
  } catch (error) {
    await Promise.allSettled(underWay);
    // Parts of an upload that was given up cost money until they are dropped. One try: the store may be away.
    const abortSignal = AbortSignal.timeout(ABORT_MS);
    await client.send(new sdk.AbortMultipartUploadCommand({ Bucket, Key, UploadId }), { abortSignal }).catch(() => {});
    throw error;
  }
}

/** Pieces put together, or cut, to parts of one size; each in memory of its own, or a view of a large piece. */
function* partsOf(pieces: Iterable<Uint8Array>): Generator<Uint8Array, undefined> {
  let waiting: Uint8Array[] = [];
  let size = 0;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const taken = piece.subarray(at, at + PART_BYTES - size);
      waiting.push(taken);
      size += taken.length;
      at += taken.length;
      if (size < PART_BYTES) continue;
      yield Buffer.concat(waiting);
      waiting = [];
      size = 0;
    }
  }
  if (size > 0) yield Buffer.concat(waiting);
  return undefined;
}

/** @throws StoreError `unavailable` for a body that ends early or goes on */
async function readBody(body: Readable, sizeBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(sizeBytes);
  const stop = (): void => void body.destroy(signal.reason as Error);
  signal.addEventListener("abort", stop, { once: true });
  let at = 0;
  try {
    signal.throwIfAborted();
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (at + chunk.length > sizeBytes) throw new StoreError("unavailable", `more than the ${sizeBytes} bytes announced came`);
      bytes.set(chunk, at);
      at += chunk.length;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    body.destroy();
  }
  if (at < sizeBytes) throw new StoreError("unavailable", `the answer was torn: ${at} of ${sizeBytes} bytes came`);
  return bytes;
}
