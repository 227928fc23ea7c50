/**
 * What protects the traffic of one process: an identity for mutual TLS, a join token, both or neither. Handed to whoever makes a
 * gRPC server or channel (`../wire`), which are the only places where it matters.
 *
 * Without either, traffic is plaintext and everyone who reaches a port is believed: that is for loopback, and for networks of which
 * someone has said so (`--insecure`).
 */
import { isIP } from "node:net";
import { IsoergError } from "../util/error.js";
import type { Identity } from "./identity.js";
import type { Token } from "./token.js";

export interface Security {
  /** Null for plaintext. */
  readonly identity: Identity | null;
  readonly token: Token | null;
}

export const NO_SECURITY: Security = { identity: null, token: null };

/** Of `host:port`, `[host]:port` or a bare host. */
export function hostOf(address: string): string {
  const bracketed = /^\[([^\]]*)\]/.exec(address)?.[1];
  if (bracketed !== undefined) return bracketed;
  return isIP(address) === 6 ? address : address.replace(/:\d*$/, "");
}

/** Whether only this machine reaches an address. */
export function isLoopback(address: string): boolean {
  const host = hostOf(address).toLowerCase();
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/**
 * Plaintext leaves this machine only where somebody has asked for that.
 * @param what "listening on 10.0.0.5:7070", for the message
 * @throws IsoergError USAGE
 */
export function checkExposure(what: string, address: string, { identity }: Security, options: { readonly insecure: boolean }): void {
  if (identity !== null || options.insecure || isLoopback(address)) return;
  throw new IsoergError("USAGE", `${what} without TLS: traffic would leave this machine in plaintext, and whoever reaches it is believed`, {
    hint: "give --tls DIR (isoerg certs make --out DIR --host NAME), or --insecure on a network that you trust",
  });
}
