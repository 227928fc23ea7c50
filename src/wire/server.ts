/**
 * The one place where a gRPC server is made: the coordinator's, and each worker's small one for its peers. Size limits,
 * keepalive, and who is let in: with an identity, only those whose certificate its authority signed; with a token, only those
 * who have it.
 */
import {
  Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { NO_SECURITY, type Security } from "../security/security.js";
import type { Token } from "../security/token.js";
import { IsoergError } from "../util/error.js";
import { MAX_MESSAGE_BYTES } from "./proto.js";

/** Of what comes in: blocks of state are about 1 MiB, all else is small. Replies may be larger (`MAX_MESSAGE_BYTES`). */
const MAX_REQUEST_BYTES = 4 * 2 ** 20;
/** Probes have no token. */
const OPEN_TO_ALL = "/grpc.health.v1.";

export interface Service {
  readonly definition: ServiceDefinition;
  readonly handlers: UntypedServiceImplementation;
}

export interface RunningServer {
  /** host:port that it listens on. */
  readonly address: string;
  /** Waits up to `graceMs` for calls under way, then ends them. */
  close(graceMs: number): Promise<void>;
}

/**
 * @param listen host:port; port 0 for any that is free
 * @throws IsoergError NETWORK when the address can't be listened on
 */
export async function openServer(
  listen: string,
  services: readonly Service[],
  { identity, token }: Security = NO_SECURITY,
): Promise<RunningServer> {
  const server = new Server({
    ...(token && { interceptors: [asksFor(token)] }),
    "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.max_concurrent_streams": 1024,
  });
  for (const { definition, handlers } of services) server.addService(definition, handlers);
  const credentials =
    identity === null
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(identity.authority, [{ private_key: identity.key, cert_chain: identity.certificate }], true);
  const port = await bind(server, listen, credentials);
  return {
    address: `${listen.slice(0, listen.lastIndexOf(":"))}:${port}`,
    close: (graceMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => server.forceShutdown(), graceMs);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
}

/** Lets a call go on only with the token; the one who has none hears why, and nothing else. */
function asksFor(token: Token): ServerInterceptor {
  return ({ path }, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, goOn) {
            const [offered] = metadata.get("authorization");
            const text = typeof offered === "string" ? offered.replace(/^Bearer /, "") : undefined;
            if (path.startsWith(OPEN_TO_ALL) || (text !== undefined && token.matches(text))) return goOn(metadata);
            const details =
              text === undefined
                ? "this run asks for a join token: give --token-file FILE"
                : "the join token is not that of this run; see --token-file";
            call.sendStatus({ code: status.UNAUTHENTICATED, details, metadata: new Metadata() });
          },
        }),
    });
}

function bind(server: Server, listen: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, credentials, (cause, port) => {
      if (!cause) return resolve(port);
      server.forceShutdown();
      const inUse = cause.message.includes("EADDRINUSE");
      reject(
        new IsoergError(
          "NETWORK",
          inUse ? `port in use: another program listens on ${listen}` : `can't listen on ${listen}: ${cause.message}`,
          {
            hint: inUse ? "Choose another port, or port 0 for any that is free." : "Give an address of this machine as HOST:PORT.",
            cause,
          },
        ),
      );
    });
  });
}
