/**
 * --tls, --token-file and --insecure, the same on every command that listens or speaks to a run. Folder and file may come from the
 * environment (ISOERG_TLS, ISOERG_TOKEN_FILE), as a container's do; the token itself comes from a file alone.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { type Identity, readIdentity } from "../security/identity.js";
import type { Security } from "../security/security.js";
import { readToken } from "../security/token.js";

export interface SecurityFlags {
  readonly tls?: string;
  readonly tokenFile?: string;
  readonly insecure?: true;
}

export function addSecurityOptions(command: Command): Command {
  return command
    .option("--tls <dir>", "certificates for mutual TLS, as isoerg certs make writes them (default: ISOERG_TLS)")
    .option("--token-file <file>", "file with the run's join token (default: ISOERG_TOKEN_FILE)")
    .option("--insecure", "plaintext beyond this machine, on a network that you trust");
}

/**
 * @param role whose certificate is shown: "client" takes a worker's, else the coordinator's
 * @throws IsoergError USAGE that names the file and what is wrong with it
 */
export function securityOf(flags: SecurityFlags, role: "coordinator" | "worker" | "client", now = new Date()): Security {
  const { tls, tokenFile } = withEnvironment(flags);
  return {
    identity: tls === undefined ? null : identityOf(tls, role, now),
    token: tokenFile === undefined ? null : readToken(tokenFile),
  };
}

/** The same protection, as words for a worker that is started here. */
export function securityWords(flags: SecurityFlags): string[] {
  const { tls, tokenFile } = withEnvironment(flags);
  return [
    ...(tls === undefined ? [] : ["--tls", resolve(tls)]),
    ...(tokenFile === undefined ? [] : ["--token-file", resolve(tokenFile)]),
    ...(flags.insecure ? ["--insecure"] : []),
  ];
}

function withEnvironment({ tls, tokenFile }: SecurityFlags): { tls: string | undefined; tokenFile: string | undefined } {
  const { ISOERG_TLS, ISOERG_TOKEN_FILE } = process.env;
  return { tls: tls ?? (ISOERG_TLS || undefined), tokenFile: tokenFile ?? (ISOERG_TOKEN_FILE || undefined) };
}

function identityOf(folder: string, role: "coordinator" | "worker" | "client", now: Date): Identity {
  if (role !== "client") return readIdentity(folder, role, now);
  return readIdentity(folder, existsSync(join(folder, "worker.pem")) ? "worker" : "coordinator", now);
}
