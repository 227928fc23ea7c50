/**
 * A server over real HTTP that speaks the part of S3 that isoerg uses, as the Amazon S3 API reference describes it: GET with ranges,
 * PUT with conditions, HEAD, DELETE, ListObjectsV2 with pages, multipart uploads; every request's Signature Version 4 and payload
 * digest are checked. It is path-style, and fails where a test says so.
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface S3Object {
  readonly bytes: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface S3Request {
  readonly method: string;
  /** Without the bucket; "" for the bucket itself. */
  readonly key: string;
  readonly query: URLSearchParams;
  readonly range: string | undefined;
  /** How many of this method and key came before. */
  readonly nth: number;
}

export type S3Fault =
  /** Answered so, without being carried out. */
  | { readonly kind: "error"; readonly status: number; readonly code: string; readonly message?: string; readonly retryAfter?: number }
  /** The body ends after so many bytes, and the connection with it. */
  | { readonly kind: "truncate"; readonly afterBytes: number }
  /** The body stands still after so many bytes. */
  | { readonly kind: "stall"; readonly afterBytes: number }
  /** A bit of the body is another one. */
  | { readonly kind: "alter" }
  /** Carried out, but the answer is lost with the connection. */
  | { readonly kind: "lose" }
  /** No answer at all, and the connection stays. */
  | { readonly kind: "hang" };

export interface S3Server {
  readonly endpoint: string;
  /** By key, of the one bucket there is. */
  readonly objects: Map<string, S3Object>;
  readonly requests: S3Request[];
  /** Multipart uploads that were neither completed nor aborted. */
  readonly uploads: ReadonlyMap<string, unknown>;
  fault: (request: S3Request) => S3Fault | undefined | Promise<S3Fault | undefined>;
  count(method: string, key?: string): number;
  /** The environment that leads the SDK's default chain here. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export const BUCKET = "models";
export const ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE";
export const SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const MIN_PART_BYTES = 5 * 2 ** 20;

interface Upload {
  readonly key: string;
  readonly metadata: Record<string, string>;
  readonly parts: Map<number, Buffer>;
}

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message = code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export async function startS3Server({ pageSize = 1000 }: { readonly pageSize?: number } = {}): Promise<S3Server> {
  const objects = new Map<string, S3Object>();
  const uploads = new Map<string, Upload>();
  const requests: S3Request[] = [];
  const server = createServer((incoming, response) => {
    handle(incoming, response).catch((error: unknown) => {
      const { status, code, message } = error instanceof Refusal ? error : new Refusal(500, "InternalError", String(error));
      answerError(incoming, response, { status, code, message });
    });
  });

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const url = new URL(incoming.url ?? "/", "http://localhost");
    const [, bucket = "", ...rest] = url.pathname.split("/").map(decodeURIComponent);
    const key = rest.join("/");
    const method = incoming.method ?? "";
    const nth = requests.filter((before) => before.method === method && before.key === key).length;
    const request: S3Request = { method, key, query: url.searchParams, range: incoming.headers.range, nth };
    requests.push(request);
    checkSignature(incoming, url, body);
    if (bucket !== BUCKET) throw new Refusal(404, "NoSuchBucket");
    const fault = await result.fault(request);
    if (fault?.kind === "hang") return;
    if (fault?.kind === "error") {
      if (fault.retryAfter !== undefined) response.setHeader("retry-after", String(fault.retryAfter));
      answerError(incoming, response, { message: fault.code, ...fault });
      return;
    }
    const answer = carryOut(incoming, request, body);
    if (fault?.kind === "lose") {
      incoming.socket.destroy();
      return;
    }
    let { bytes } = answer;
    if (fault?.kind === "alter") {
      bytes = Buffer.from(bytes);
      bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
    }
    response.writeHead(answer.status, {
      "content-length": String(answer.length ?? bytes.length),
      "x-amz-request-id": "4442587FB7D0A2F9",
      ...answer.headers,
    });
    if (fault?.kind === "stall") {
      response.write(bytes.subarray(0, fault.afterBytes));
      return;
    }
    if (fault?.kind === "truncate") {
      response.write(bytes.subarray(0, fault.afterBytes), () => incoming.socket.destroy());
      return;
    }
    response.end(method === "HEAD" ? undefined : bytes);
  }

  interface Answer {
    readonly status: number;
    readonly bytes: Buffer;
    /** Where the body is not sent (HEAD). */
    readonly length?: number;
    readonly headers?: Record<string, string>;
  }

  function carryOut(incoming: IncomingMessage, { method, key, query, range }: S3Request, body: Buffer): Answer {
    const uploadId = query.get("uploadId");
    if (key === "" && method === "GET" && query.get("list-type") === "2") return list(query);
    if (method === "POST" && query.has("uploads")) {
      const id = randomBytes(8).toString("hex");
      uploads.set(id, { key, metadata: metadataOf(incoming), parts: new Map() });
      return xml(
        `<InitiateMultipartUploadResult><Bucket>${BUCKET}</Bucket><Key>${escaped(key)}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    if (uploadId !== null) {
      const upload = uploads.get(uploadId);
      if (!upload || upload.key !== key) throw new Refusal(404, "NoSuchUpload");
      if (method === "PUT") {
        upload.parts.set(Number(query.get("partNumber")), body);
        return { status: 200, bytes: Buffer.alloc(0), headers: { etag: etagOf(body) } };
      }
      if (method === "DELETE") {
        uploads.delete(uploadId);
        return { status: 204, bytes: Buffer.alloc(0) };
      }
      const wanted = [...body.toString().matchAll(/<Part>.*?<\/Part>/gs)].map(([part]) => ({
        number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
        etag: (/<ETag>(.*?)</.exec(part)?.[1] ?? "").replaceAll("&quot;", '"'),
      }));
      const parts = wanted.map(({ number, etag }, i) => {
        const part = upload.parts.get(number);
        if (!part || etagOf(part) !== etag || number <= (wanted[i - 1]?.number ?? 0)) throw new Refusal(400, "InvalidPart");
        if (i < wanted.length - 1 && part.length < MIN_PART_BYTES) throw new Refusal(400, "EntityTooSmall");
        return part;
      });
      store(incoming, key, Buffer.concat(parts), upload.metadata);
      uploads.delete(uploadId);
      return xml(`<CompleteMultipartUploadResult><Key>${escaped(key)}</Key><ETag>&quot;whole&quot;</ETag></CompleteMultipartUploadResult>`);
    }
    if (method === "PUT") {
      store(incoming, key, body, metadataOf(incoming));
      return { status: 200, bytes: Buffer.alloc(0), headers: { etag: etagOf(body) } };
    }
    if (method === "DELETE") {
      objects.delete(key);
      return { status: 204, bytes: Buffer.alloc(0) };
    }
    const object = objects.get(key);
    if (!object) throw new Refusal(404, "NoSuchKey");
    const headers: Record<string, string> = {
      etag: etagOf(object.bytes),
      "accept-ranges": "bytes",
      "content-type": "application/octet-stream",
    };
    for (const [name, value] of Object.entries(object.metadata)) headers[`x-amz-meta-${name}`] = value;
    if (method === "HEAD") return { status: 200, bytes: Buffer.alloc(0), length: object.bytes.length, headers };
    if (range === undefined) return { status: 200, bytes: object.bytes, headers };
    const [, first = "", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
    const from = Number(first);
    if (from >= object.bytes.length) throw new Refusal(416, "InvalidRange");
    const to = Math.min(object.bytes.length, last === "" ? object.bytes.length : Number(last) + 1);
    headers["content-range"] = `bytes ${from}-${to - 1}/${object.bytes.length}`;
    return { status: 206, bytes: object.bytes.subarray(from, to), headers };
  }

  function store(incoming: IncomingMessage, key: string, bytes: Buffer, metadata: Record<string, string>): void {
    if (incoming.headers["if-none-match"] === "*" && objects.has(key)) throw new Refusal(412, "PreconditionFailed");
    objects.set(key, { bytes, metadata });
  }

  function list(query: URLSearchParams): Answer {
    const prefix = query.get("prefix") ?? "";
    const after = Buffer.from(query.get("continuation-token") ?? "", "base64").toString();
    const keys = [...objects.keys()]
      .filter((key) => key.startsWith(prefix) && key > after)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const page = keys.slice(0, Math.min(pageSize, Number(query.get("max-keys") ?? pageSize)));
    const isTruncated = page.length < keys.length;
    const contents = page.map((key) => `<Contents><Key>${escaped(key)}</Key><Size>${objects.get(key)?.bytes.length}</Size></Contents>`);
    const next = isTruncated ? `<NextContinuationToken>${Buffer.from(page.at(-1) ?? "").toString("base64")}</NextContinuationToken>` : "";
    return xml(
      `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${BUCKET}</Name><KeyCount>${page.length}</KeyCount><IsTruncated>${isTruncated}</IsTruncated>${next}${contents.join("")}</ListBucketResult>`,
    );
  }

  const xml = (text: string): Answer => ({
    status: 200,
    bytes: Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`),
    headers: { "content-type": "application/xml" },
  });

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const result: S3Server = {
    endpoint,
    objects,
    requests,
    uploads,
    fault: () => undefined,
    count: (method, key) => requests.filter((request) => request.method === method && (key === undefined || request.key === key)).length,
    env: {
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: SECRET_KEY,
      AWS_REGION: "eu-central-1",
      AWS_EC2_METADATA_DISABLED: "true",
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return result;
}

function answerError(
  { method }: IncomingMessage,
  response: ServerResponse,
  { status, code, message }: { readonly status: number; readonly code: string; readonly message: string },
): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${escaped(message)}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>`;
  response.writeHead(status, {
    "content-type": "application/xml",
    "content-length": String(Buffer.byteLength(body)),
    "x-amz-request-id": "4442587FB7D0A2F9",
  });
  response.end(method === "HEAD" ? undefined : body);
}

function metadataOf({ headers }: IncomingMessage): Record<string, string> {
  const found = Object.entries(headers).filter(([name]) => name.startsWith("x-amz-meta-"));
  return Object.fromEntries(found.map(([name, value]) => [name.slice("x-amz-meta-".length), String(value)]));
}

/** Signature Version 4 in the Authorization header (Amazon S3 API reference, "Authenticating Requests"). */
function checkSignature(incoming: IncomingMessage, url: URL, body: Buffer): void {
  const { headers } = incoming;
  const parsed =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? "",
    );
  if (!parsed) throw new Refusal(403, "AccessDenied", "no signature");
  const [, accessKey = "", date = "", region = "", signed = "", signature = ""] = parsed;
  if (accessKey !== ACCESS_KEY) throw new Refusal(403, "InvalidAccessKeyId");
  const digest = String(headers["x-amz-content-sha256"]);
  if (digest !== sha256(body)) throw new Refusal(400, "XAmzContentSHA256Mismatch");
  const canonicalQuery = [...url.searchParams]
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join("&");
  const canonical = [
    incoming.method,
    url.pathname
      .split("/")
      .map((part) => encode(decodeURIComponent(part)))
      .join("/"),
    canonicalQuery,
    ...signed.split(";").map((name) => `${name}:${String(headers[name]).trim().replaceAll(/ +/g, " ")}`),
    "",
    signed,
    digest,
  ].join("\n");
  const scope = `${date}/${region}/s3/aws4_request`;
  const toSign = ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, sha256(Buffer.from(canonical))].join("\n");
  const key = [date, region, "s3", "aws4_request"].reduce<Buffer>((secret, part) => hmac(secret, part), Buffer.from(`AWS4${SECRET_KEY}`));
  if (hmac(key, toSign).toString("hex") !== signature) throw new Refusal(403, "SignatureDoesNotMatch");
}

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const etagOf = (bytes: Buffer): string => `"${createHash("md5").update(bytes).digest("hex")}"`;
const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
