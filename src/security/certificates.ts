/**
 * Makes the certificates of a run's processes: an authority of its own, and from it one certificate for the coordinator, which
 * carries the names that it is reached by, and one for workers and whoever watches. ECDSA on P-256, X.509 v3 (RFC 5280).
 *
 * Workers answer each other on addresses that nobody knows beforehand, so their certificate carries a role instead of a host:
 * the name in `names.ts`, which they ask of each other. A worker's certificate does not pass for the coordinator's, whose names it lacks.
 */
import "./reflect.js";
import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";

x509.cryptoProvider.set(webcrypto);

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
/** Clocks of a cluster are seconds apart, some more. */
const BACKDATED_MS = 3_600_000;

export interface Pair {
  /** PEM, X.509. */
  readonly certificate: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

export interface Lifetime {
  readonly now: Date;
  readonly days: number;
}

/** A self-signed certificate that may sign others, one level deep. */
export async function makeAuthority({ now, days }: Lifetime): Promise<Pair> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ CN: ["isoerg certificate authority"] }],
    ...validity(now, days),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return pairOf(certificate, keys.privateKey);
}

/**
 * A certificate for both ends of a connection, signed by `authority`.
 * @param names DNS names and IP addresses that it is good for
 */
export async function issue(authority: Pair, role: string, names: readonly string[], { now, days }: Lifetime): Promise<Pair> {
  const ca = new x509.X509Certificate(authority.certificate);
  const signingKey = await webcrypto.subtle.importKey("pkcs8", Buffer.from(pemBytes(authority.key)), ALGORITHM, false, ["sign"]);
  const keys = await newKeys();
  const { notBefore, notAfter } = validity(now, days);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ CN: [`isoerg ${role}`] }],
    issuer: ca.subject,
    notBefore,
    notAfter: new Date(Math.min(notAfter.getTime(), ca.notAfter.getTime())), // nothing outlives its authority
    signingAlgorithm: ALGORITHM,
    signingKey,
    publicKey: keys.publicKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value }))),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(ca.publicKey),
    ],
  });
  return pairOf(certificate, keys.privateKey);
}

function validity(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now.getTime() - BACKDATED_MS), notAfter: new Date(now.getTime() + days * DAY_MS) };
}

/** 127 random bits, positive (RFC 5280, 4.1.2.2). */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

async function pairOf(certificate: x509.X509Certificate, privateKey: webcrypto.CryptoKey): Promise<Pair> {
  const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", privateKey);
  return { certificate: `${certificate.toString("pem")}\n`, key: `${x509.PemConverter.encode(pkcs8, "PRIVATE KEY")}\n` };
}

function pemBytes(pem: string): ArrayBuffer {
  return x509.PemConverter.decode(pem)[0] as ArrayBuffer;
}
