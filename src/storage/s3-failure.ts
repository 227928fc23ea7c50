/**
 * What a failed request to S3 means: the object, the caller's rights, the request, or a server that is away or busy. Pure; codes
 * as in "Error responses" of the Amazon S3 API reference.
 *
 * Only codes, numbers and names of a known form are quoted, never a server's or an SDK's own text: it may repeat a request, its
 * credentials included. Nothing of the error itself is kept for the same reason.
 */
import { StoreError } from "./object-store.js";

export interface Classified {
  readonly failure: StoreError;
  /** The same request may succeed later. */
  readonly isTransient: boolean;
}

/** The parts of an SDK's or Node's error that are looked at. */
interface Told {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: unknown; readonly requestId?: unknown };
  readonly $response?: { readonly statusCode?: unknown; readonly headers?: Readonly<Record<string, unknown>> };
}

const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504, 509]);
const TRANSIENT_NAME: ReadonlySet<string> = new Set([
  "BadDigest", // torn on the way
  "BandwidthLimitExceeded",
  "ConditionalRequestConflict",
  "IncompleteBody",
  "InternalError",
  "OperationAborted",
  "RequestLimitExceeded",
  "RequestTimeout",
  "RequestTimeTooSkewed", // the SDK sets its clock by the answer
  "ServiceUnavailable",
  "SlowDown",
  "Throttling",
  "ThrottlingException",
  "TimeoutError",
  "XAmzContentSHA256Mismatch",
]);
const TRANSIENT_CODE: ReadonlySet<string> = new Set([
  "EAI_AGAIN",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND", // a cluster's DNS may know a new name late
  "EPIPE",
  "ERR_STREAM_PREMATURE_CLOSE",
  "ETIMEDOUT",
]);
const NO_CREDENTIALS: ReadonlySet<string> = new Set(["CredentialsProviderError", "ProviderError", "TokenProviderError"]);

export function classifyS3(error: unknown): Classified {
  if (error instanceof StoreError) return { failure: error, isTransient: error.fault === "unavailable" };
  const told = (typeof error === "object" && error !== null ? error : {}) as Told;
  const name = wordOf(told.name);
  const code = wordOf(told.code);
  const status = Number(told.$metadata?.httpStatusCode ?? told.$response?.statusCode ?? Number.NaN);
  const said = [status > 0 ? `HTTP ${status}` : "", name === "Error" ? "" : name, code === name ? "" : code].filter((part) => part !== "");
  const request = wordOf(told.$metadata?.requestId);
  const what = `${said.join(" ") || "a failure without a name"}${request === "" ? "" : `, request ${request}`}`;
  const of = (fault: StoreError["fault"], message: string): Classified => ({ failure: new StoreError(fault, message), isTransient: false });

  if (status === 412 || name === "PreconditionFailed") return of("exists", `the object is there already (${what})`);
  if (TRANSIENT_NAME.has(name) || TRANSIENT_STATUS.has(status) || TRANSIENT_CODE.has(code)) {
    const retryAfterMs = retryAfter(told.$response?.headers);
    return { failure: new StoreError("unavailable", what, { retryAfterMs }), isTransient: true };
  }
  if (NO_CREDENTIALS.has(name)) return of("denied", `no credentials were found (${what})`);
  if (name === "NoSuchBucket") return of("refused", `there is no such bucket (${what})`);
  if (name === "PermanentRedirect" || name === "AuthorizationHeaderMalformed" || status === 301)
    return of("refused", `the bucket is in another region; set storage.region or AWS_REGION (${what})`);
  if (status === 404) return of("missing", `there is no such object (${what})`);
  if (status === 416) return of("short", `the object is shorter than it should be (${what})`);
  if (status === 401 || status === 403) return of("denied", `this is not allowed (${what})`);
  if (status >= 200 && status < 300) {
    return { failure: new StoreError("unavailable", `an answer that was cut short (${what})`), isTransient: true };
  }
  if (Number.isNaN(status) && error instanceof Error && error.message === "Region is missing")
    return of("refused", "no region is set; set storage.region, AWS_REGION or the profile's");
  return of("refused", what);
}

/** A word of a known form, or nothing. */
function wordOf(value: unknown): string {
  return typeof value === "string" && /^[A-Za-z][\w.-]{0,63}$/.test(value) ? value : typeof value === "string" && isId(value) ? value : "";
}

function isId(text: string): boolean {
  return /^[0-9A-F]{8,32}$/.test(text);
}

/** Seconds, as `Retry-After` gives them; its other form, a date, is passed over. */
function retryAfter(headers: Readonly<Record<string, unknown>> | undefined): number | null {
  const value = headers?.["retry-after"];
  return typeof value === "string" && /^\d{1,6}$/.test(value) ? 1000 * Number(value) : null;
}
