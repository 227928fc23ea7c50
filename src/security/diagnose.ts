/**
 * Why a TLS connection does not come about, in words: gRPC keeps trying and says no more than that nobody answers. A handshake of our
 * own, with the same certificates, tells a wrong authority from an expired certificate, a wrong name, a refusal of ours, and a
 * port that speaks no TLS.
 */
import { isIP } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { checkServerIdentity, connect, type TLSSocket } from "node:tls";
import { IsoergError } from "../util/error.js";
import type { Identity } from "./identity.js";
import { hostOf } from "./security.js";

export interface HandshakeOptions {
  readonly address: string;
  /** The name that the other side must have; default: the address's host. */
  readonly name?: string;
  readonly timeoutMs: number;
}

/** Resolves when the handshake succeeds, and also when nobody answers, which is for others to wait for. @throws IsoergError NETWORK */
export async function tryHandshake(identity: Identity, options: HandshakeOptions): Promise<void> {
  const { address, name = hostOf(address) } = options;
  let outcome = await shake(identity, name, options);
  // A server that ends just now hangs up as well; one that does so twice doesn't want us.
  if (outcome === "hung up") {
    await pause(AGAIN_MS);
    outcome = await shake(identity, name, options);
  }
  const explanation =
    outcome === "hung up" ? refusal(address, "it hung up after the handshake") : outcome && explain(outcome, address, name);
  if (explanation) {
    const cause = outcome === "hung up" ? {} : { cause: outcome };
    throw new IsoergError("NETWORK", explanation.message, { hint: explanation.hint, ...cause });
  }
}

const AGAIN_MS = 200;

type TlsError = Error & { readonly code?: string };

/** One handshake; null where it succeeds, or nothing is said in time. */
function shake(identity: Identity, name: string, { address, timeoutMs }: HandshakeOptions): Promise<TlsError | "hung up" | null> {
  return new Promise((resolve) => {
    const socket: TLSSocket = connect({
      host: hostOf(address),
      port: portOf(address),
      ...(isIP(name) === 0 && { servername: name }),
      ca: identity.authority,
      cert: identity.certificate,
      key: identity.key,
      ALPNProtocols: ["h2"],
      checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
    });
    let isShaken = false;
    const end = (outcome: TlsError | "hung up" | null): void => {
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.destroy();
      resolve(outcome);
    };
    // In TLS 1.3 the other side judges our certificate after the handshake is over for us: its first bytes say that it took it.
    socket.setTimeout(timeoutMs, () => end(null));
    socket.once("secureConnect", () => {
      isShaken = true;
    });
    socket.once("data", () => end(null));
    socket.once("error", end);
    socket.once("end", () => end(isShaken ? "hung up" : null));
  });
}

/** Whether TLS is spoken at an address, whoever that is. False where nobody answers. */
export function speaksTls(address: string, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: hostOf(address), port: portOf(address), rejectUnauthorized: false, ALPNProtocols: ["h2"] });
    const end = (speaks: boolean): void => {
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.destroy();
      resolve(speaks);
    };
    socket.setTimeout(timeoutMs, () => end(false));
    socket.once("secureConnect", () => end(true));
    socket.once("error", () => end(false));
  });
}

const CERTS = "isoerg certs show DIR tells what a folder holds";

function refusal(address: string, sign: string): { message: string; hint: string } {
  return {
    message: `${address} refuses this process's certificate (${sign})`,
    hint: `it must be signed by the authority that ${address} trusts, and not have expired. ${CERTS}`,
  };
}

function explain(error: TlsError, address: string, name: string): { message: string; hint: string } | undefined {
  const code = error.code ?? "";
  switch (code) {
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return {
        message: `the certificate of ${address} is not good for the name '${name}'`,
        hint: `make one that is: isoerg certs make --out DIR --host ${name}; or use a name that it has. ${CERTS}`,
      };
    case "CERT_HAS_EXPIRED":
      return {
        message: `the certificate of ${address} has expired`,
        hint: "isoerg certs make --out DIR renews it, with the same authority",
      };
    case "CERT_NOT_YET_VALID":
      return { message: `the certificate of ${address} is not valid yet`, hint: "are the clocks of both machines right?" };
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "CERT_SIGNATURE_FAILURE":
      return {
        message: `the certificate of ${address} was signed by another authority than the one in this process's --tls folder`,
        hint: `all processes of a run need certificates of one authority. ${CERTS}`,
      };
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
      return { message: `${address} does not speak TLS`, hint: "start it with --tls DIR too, or leave --tls out on loopback" };
    default:
  }
  if (/ALERT|_alert_|alert /i.test(`${code} ${error.message}`)) {
    const alert = /alert (?:number \d+|[a-z ]+)/.exec(error.message)?.[0] ?? code;
    return refusal(address, alert);
  }
  return undefined; // nobody is there, or the connection broke: whoever waits goes on waiting
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}
