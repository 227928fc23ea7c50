/**
 * The one place where a gRPC server is made: the coordinator's, and each worker's small one for its peers. Size limits,
 * keepalive, and what it listens with. Plaintext, and on loopback unless another address is asked for.
 */
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { IsoergError } from "../util/error.js";
import { MAX_MESSAGE_BYTES } from "./proto.js";

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
export async function openServer(listen: string, services: readonly Service[]): Promise<RunningServer> {
  const server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.max_concurrent_streams": 1024,
  });
  for (const { definition, handlers } of services) server.addService(definition, handlers);
  const port = await bind(server, listen);
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

function bind(server: Server, listen: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (cause, port) => {
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
