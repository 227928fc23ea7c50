/**
 * Certificates and a join token for one run over ssh, made in memory and never written down here: workers get theirs over ssh's
 * standard input, and the authority's key is forgotten as soon as it has signed. With files of one's own, those are sent instead.
 */
import { readFileSync } from "node:fs";
import { issue, makeAuthority } from "../../security/certificates.js";
import { readIdentity } from "../../security/identity.js";
import { WORKER_NAME } from "../../security/names.js";
import { NO_SECURITY, type Security } from "../../security/security.js";
import { newToken, readToken, Token } from "../../security/token.js";

export interface Credentials {
  /** Of the coordinator. */
  readonly security: Security;
  /** Of a worker, by name. */
  readonly files: Readonly<Record<string, string>>;
  /** What tells a worker of them; `@FILES@` stands for their folder. */
  readonly words: readonly string[];
}

export const PLAINTEXT: Credentials = { security: NO_SECURITY, files: {}, words: ["--insecure"] };

const DAYS = 30;
const TLS = ["--tls", "@FILES@"] as const;
const TOKEN = ["--token-file", "@FILES@/token"] as const;

/** @param names that the coordinator is called by */
export async function makeCredentials(names: readonly string[], now: Date): Promise<Credentials> {
  const lifetime = { now, days: DAYS };
  const authority = await makeAuthority(lifetime);
  const coordinator = await issue(authority, "coordinator", names, lifetime);
  const worker = await issue(authority, "worker", [WORKER_NAME], lifetime);
  const token = newToken();
  return {
    security: {
      identity: {
        authority: Buffer.from(authority.certificate),
        certificate: Buffer.from(coordinator.certificate),
        key: Buffer.from(coordinator.key),
      },
      token: new Token(token),
    },
    files: { "ca.pem": authority.certificate, "worker.pem": worker.certificate, "worker-key.pem": worker.key, token },
    words: [...TLS, ...TOKEN],
  };
}

/** From a folder as `isoerg certs make` writes it, and a token file, if any. @throws IsoergError USAGE for files that can't be used */
export function readCredentials({ tls, tokenFile }: { tls: string; tokenFile: string | undefined }, now: Date): Credentials {
  const worker = readIdentity(tls, "worker", now);
  const token = tokenFile === undefined ? null : readToken(tokenFile);
  return {
    security: { identity: readIdentity(tls, "coordinator", now), token },
    files: {
      "ca.pem": worker.authority.toString("utf8"),
      "worker.pem": worker.certificate.toString("utf8"),
      "worker-key.pem": worker.key.toString("utf8"),
      ...(tokenFile !== undefined && { token: readFileSync(tokenFile, "utf8").trim() }),
    },
    words: [...TLS, ...(token === null ? [] : TOKEN)],
  };
}
