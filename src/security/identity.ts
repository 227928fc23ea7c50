/**
 * Who a process is to others: an authority that it trusts, its own certificate and its key, from a folder. Read and checked once,
 * at the start, so that a file that is missing, expired or of another authority is told by name before anything listens.
 *
 * The folder is one that `isoerg certs make` wrote (ca.pem, coordinator.pem, coordinator-key.pem, worker.pem, worker-key.pem), or
 * holds certificates of one's own under those names, or one pair as Kubernetes and cert-manager name them (ca.crt, tls.crt, tls.key).
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { IsoergError } from "../util/error.js";

export type Role = "coordinator" | "worker";

export interface Identity {
  /** PEM of the authorities that are trusted. */
  readonly authority: Buffer;
  /** PEM, the own certificate first. */
  readonly certificate: Buffer;
  readonly key: Buffer;
}

/** @throws IsoergError USAGE that names the file and what is wrong with it. */
export function readIdentity(folder: string, role: Role, now: Date): Identity {
  const [authorityFile, certificateFile, keyFile] = filesOf(folder, role);
  const [authority, certificate, key] = [authorityFile, certificateFile, keyFile].map(read) as [Buffer, Buffer, Buffer];
  const roots = certificatesIn(authority, authorityFile);
  const [own, ...chain] = certificatesIn(certificate, certificateFile);
  checkTime(own as X509Certificate, certificateFile, now);
  for (const root of roots) checkTime(root, authorityFile, now);
  let privateKey: ReturnType<typeof createPrivateKey>;
  try {
    privateKey = createPrivateKey(key);
  } catch (cause) {
    throw wrong(`${keyFile} is no private key in PEM`, cause);
  }
  if (!own?.checkPrivateKey(privateKey)) throw wrong(`${keyFile} is not the key of ${certificateFile}`);
  const signers = [...chain, ...roots];
  if (!signers.some((signer) => own.checkIssued(signer) && own.verify(signer.publicKey)))
    throw wrong(`${certificateFile} was not signed by ${authorityFile}`);
  return { authority, certificate, key };
}

/** The certificates of a folder, for people: file and certificate. @throws IsoergError USAGE where there are none. */
export function certificatesOf(folder: string): { readonly file: string; readonly certificate: X509Certificate }[] {
  const files = ["ca.pem", "coordinator.pem", "worker.pem", "ca.crt", "tls.crt"].map((name) => join(folder, name)).filter(existsSync);
  if (files.length === 0) throw wrong(`there are no certificates in ${folder}`);
  return files.flatMap((file) => certificatesIn(read(file), file).map((certificate) => ({ file, certificate })));
}

function filesOf(folder: string, role: Role): [authority: string, certificate: string, key: string] {
  const named = ["ca.pem", `${role}.pem`, `${role}-key.pem`].map((name) => join(folder, name)) as [string, string, string];
  const single = ["ca.crt", "tls.crt", "tls.key"].map((name) => join(folder, name)) as [string, string, string];
  return !existsSync(named[1]) && existsSync(single[1]) ? single : named;
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw wrong(code === "ENOENT" ? `there is no ${file}` : `${file} can't be read (${code})`, cause);
  }
}

const BLOCK = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

function certificatesIn(pem: Buffer, file: string): X509Certificate[] {
  const blocks = pem.toString("latin1").match(BLOCK) ?? [];
  if (blocks.length === 0) throw wrong(`${file} holds no certificate in PEM`);
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw wrong(`${file} holds a certificate that can't be read`, cause);
  }
}

function checkTime({ validFrom, validTo }: X509Certificate, file: string, now: Date): void {
  if (now > new Date(validTo)) throw wrong(`${file} has expired: it was valid until ${validTo}`);
  if (now < new Date(validFrom)) throw wrong(`${file} is not valid before ${validFrom}; is this machine's clock right?`);
}

function wrong(message: string, cause?: unknown): IsoergError {
  return new IsoergError("USAGE", message, {
    hint: "isoerg certs make --out DIR --host NAME makes certificates; isoerg certs show DIR tells what a folder holds",
    cause,
  });
}
