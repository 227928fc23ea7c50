/**
 * Calls of a coordinator, typed by the method's definition: one function for each of the four kinds of call.
 * Keepalive pings find a machine that vanished without a word; a deadline belongs to the caller.
 */
import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import {
  type CallOptions,
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  InterceptingCall,
  type Interceptor,
  type MethodDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { speaksTls, tryHandshake } from "../security/diagnose.js";
import { COORDINATOR_NAME, WORKER_NAME } from "../security/names.js";
import { hostOf, NO_SECURITY, type Security } from "../security/security.js";
import type { Token } from "../security/token.js";
import { IsoergError } from "../util/error.js";
import { MAX_MESSAGE_BYTES } from "./proto.js";
import { RECONNECT } from "./reconnect.js";

/** Who is expected at the other end: the coordinator, by the name it is called by, or some worker of the run. */
export type Callee = "coordinator" | "worker";

/** A channel to `host:port`. Nothing is sent before the first call. */
export function openClient(address: string, security: Security = NO_SECURITY, callee: Callee = "coordinator"): Client {
  const name = callee === "worker" ? WORKER_NAME : hostOf(address);
  return new Client(address, credentialsOf(security, name), {
    ...(security.token && { interceptors: [withToken(security.token)] }),
    // What is asked for in the handshake must be a name, not an IP address (RFC 6066, 3); what is checked is `name`.
    ...(security.identity && { "grpc.ssl_target_name_override": isIP(name) === 0 ? name : COORDINATOR_NAME }),
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.keepalive_time_ms": RECONNECT.keepaliveMs,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.enable_retries": 0,
    "grpc-node.flow_control_window": 4 * 2 ** 20,
  });
}

function credentialsOf({ identity }: Security, name: string): ChannelCredentials {
  if (identity === null) return credentials.createInsecure();
  return credentials.createSsl(identity.authority, identity.key, identity.certificate, {
    checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate as PeerCertificate),
  });
}

function withToken(token: Token): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set("authorization", `Bearer ${token.reveal()}`);
        next(metadata, listener);
      },
    });
}

/** A channel failed for a reason that time does not mend: certificates that don't match. */
export class RefusedByTls extends IsoergError {}

const PROBE_MS = 2_000;

/**
 * Waits until the coordinator answers at all.
 * @throws IsoergError NETWORK after `timeoutMs`; RefusedByTls at once where certificates don't match
 */
export async function waitForCoordinator(
  client: Client,
  address: string,
  timeoutMs: number,
  { identity }: Security = NO_SECURITY,
): Promise<void> {
  if (identity !== null) {
    await tryHandshake(identity, { address, timeoutMs: Math.min(timeoutMs, PROBE_MS) }).catch((error: IsoergError) => {
      throw new RefusedByTls(error.code, error.message, { ...(error.hint !== undefined && { hint: error.hint }), cause: error.cause });
    });
  }
  const cause = await new Promise<Error | undefined>((resolve) => client.waitForReady(Date.now() + timeoutMs, resolve));
  if (!cause) return;
  if (identity === null && (await speaksTls(address, PROBE_MS))) {
    throw new RefusedByTls("NETWORK", `${address} speaks TLS, and this process was given no certificates`, {
      hint: "give --tls DIR",
      cause,
    });
  }
  throw new IsoergError("NETWORK", `no coordinator answers at ${address} (tried for ${Math.round(timeoutMs / 1000)} s)`, {
    hint: "Check host and port; `isoerg train` and `isoerg coordinator` print the address they listen on.",
    cause,
  });
}

export function callUnary<Request, Reply>(
  client: Client,
  method: MethodDefinition<Request, Reply>,
  request: Request,
  options: CallOptions = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, options, (error, reply) => {
      if (error || reply === undefined) reject(networkError(error));
      else resolve(reply);
    });
  });
}

/** Sends the requests one after the other, waiting where the other side is slower, and resolves with its reply. */
export function callClientStream<Request, Reply>(
  client: Client,
  method: MethodDefinition<Request, Reply>,
  requests: Iterable<Request>,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest(method.path, method.requestSerialize, method.responseDeserialize, (error, reply) => {
      if (error || reply === undefined) reject(networkError(error));
      else resolve(reply);
    });
    const iterator = requests[Symbol.iterator]();
    const pump = (): void => {
      for (;;) {
        const next = iterator.next();
        if (next.done) {
          call.end();
          return;
        }
        if (!call.write(next.value)) {
          call.once("drain", pump);
          return;
        }
      }
    };
    pump();
  });
}

export function callServerStream<Request, Reply>(
  client: Client,
  method: MethodDefinition<Request, Reply>,
  request: Request,
): ClientReadableStream<Reply> {
  return client.makeServerStreamRequest(method.path, method.requestSerialize, method.responseDeserialize, request);
}

export function callBidirectional<Request, Reply>(
  client: Client,
  method: MethodDefinition<Request, Reply>,
): ClientDuplexStream<Request, Reply> {
  return client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize);
}

/** What gRPC reports, as the one error for people. */
export function networkError(error: ServiceError | Error | null): IsoergError {
  if (error instanceof IsoergError) return error;
  const code = error && "code" in error ? error.code : status.UNKNOWN;
  const details = error && "details" in error ? error.details : (error?.message ?? "no answer");
  if (code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED || code === status.CANCELLED) {
    return new IsoergError("NETWORK", `the coordinator can't be reached: ${details}`, {
      hint: "Is the run still going? Check the address and the coordinator's log.",
      cause: error,
    });
  }
  return new IsoergError("PROTOCOL", `the coordinator refused: ${details}`, { cause: error });
}
