/**
 * Calls of a coordinator, typed by the method's definition: one function for each of the four kinds of call.
 * Keepalive pings find a machine that vanished without a word; a deadline belongs to the caller.
 */
import {
  type CallOptions,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  type MethodDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { IsoergError } from "../util/error.js";
import { MAX_MESSAGE_BYTES } from "./proto.js";

/** A channel to `host:port`. Nothing is sent before the first call. */
export function openClient(address: string): Client {
  return new Client(address, credentials.createInsecure(), {
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.enable_retries": 0,
    "grpc-node.flow_control_window": 4 * 2 ** 20,
  });
}

/** Waits until the coordinator answers at all. @throws IsoergError NETWORK after `timeoutMs`. */
export function waitForCoordinator(client: Client, address: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + timeoutMs, (cause) => {
      if (!cause) resolve();
      else
        reject(
          new IsoergError("NETWORK", `no coordinator answers at ${address} (tried for ${Math.round(timeoutMs / 1000)} s)`, {
            hint: "Check host and port; `isoerg train` and `isoerg coordinator` print the address they listen on.",
            cause,
          }),
        );
    });
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
