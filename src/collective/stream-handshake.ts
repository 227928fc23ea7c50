/**
 * How the two ends of a stream show each other that they belong to the same generation: the bytes, and no sockets.
 *
 *     connecting end                                        listening end
 *     greeting: who, to whom, of which generation, nonce ─▶
 *                                                         ◀─ nonce, HMAC(secret, "listens" + greeting + nonce)
 *     HMAC(secret, "connects" + greeting + nonce)         ─▶
 *
 * Both prove to know the generation's secret without telling it, and each over a nonce of the other, so that what was heard once is of no use
 * again. The secret is made of a token of each rank; these travel with the endpoints over the workers' sessions with the coordinator, so
 * they are as secret as those are. HMAC-SHA256 (RFC 2104, FIPS 198-1), from node:crypto.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { IsoergError } from "../util/error.js";
import type { RingPlace } from "./transport.js";

export const GREETING_BYTES = 40;
export const NONCE_BYTES = 16;
export const PROOF_BYTES = 32;
const TOKEN_BYTES = 16;
const MAGIC = 0x4c4f5349; // "ISOL", read as a little-endian word
const VERSION = 1;

export interface Greeting {
  readonly run: number;
  readonly generation: number;
  readonly sender: number;
  readonly receiver: number;
  readonly nonce: Uint8Array;
}

export function encodeGreeting({ run, generation, sender, receiver, nonce }: Greeting): Uint8Array {
  const bytes = new Uint8Array(GREETING_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, run, true);
  view.setUint32(12, generation, true);
  view.setUint32(16, sender, true);
  view.setUint32(20, receiver, true);
  bytes.set(nonce, 24);
  return bytes;
}

/** Undefined for anything that isn't a greeting: strangers may write to an open port. */
export function decodeGreeting(bytes: Uint8Array): Greeting | undefined {
  if (bytes.byteLength !== GREETING_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== VERSION) return undefined;
  const [run, generation, sender, receiver] = [8, 12, 16, 20].map((at) => view.getUint32(at, true)) as [number, number, number, number];
  return { run, generation, sender, receiver, nonce: bytes.slice(24) };
}

export function newNonce(): Uint8Array {
  return randomBytes(NONCE_BYTES);
}

export function proofOf(secret: Uint8Array, role: "listens" | "connects", greeting: Uint8Array, nonce: Uint8Array): Uint8Array {
  return createHmac("sha256", secret).update(role).update(greeting).update(nonce).digest();
}

export function isProof(told: Uint8Array, expected: Uint8Array): boolean {
  return told.byteLength === expected.byteLength && timingSafeEqual(told, expected);
}

/** An endpoint with a fresh token behind it, to be told over a channel that is as secret as the token is to be. */
export function withToken(endpoint: string): string {
  return `${endpoint}#${randomBytes(TOKEN_BYTES).toString("hex")}`;
}

/**
 * The endpoints of a generation's ranks without their tokens, and the secret of all tokens: null where a rank has none, alike on all ranks.
 * @throws IsoergError PROTOCOL for a token that is none
 */
export function splitTokens(
  endpoints: readonly string[],
  { run, generation }: Pick<RingPlace, "run" | "generation">,
): { readonly endpoints: readonly string[]; readonly secret: Uint8Array | null } {
  const parts = endpoints.map((endpoint) => endpoint.split("#", 2) as [string, string | undefined]);
  const hash = createHash("sha256").update(`isoerg streams ${run} ${generation}`);
  let isComplete = parts.length > 0;
  for (const [address, token] of parts) {
    if (token === undefined) isComplete = false;
    else if (!/^[0-9a-f]{32}$/.test(token)) throw new IsoergError("PROTOCOL", `the endpoint ${address} came with a token that is none`);
    else hash.update(` ${token}`);
  }
  return { endpoints: parts.map(([address]) => address), secret: isComplete ? hash.digest() : null };
}
