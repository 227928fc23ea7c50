/**
 * The coordinator's gRPC server: it listens, limits the size of what it takes, and hands each call to its handler in rpc/.
 * Plaintext, and on loopback unless another address is asked for.
 */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { CheckpointStore } from "../checkpoint/store.js";
import { IsoergError } from "../util/error.js";
import type { Welcome } from "../wire/messages.js";
import { coordination, MAX_MESSAGE_BYTES, runControl } from "../wire/proto.js";
import { statusHandler, stopHandler, watchHandler } from "./rpc/control.js";
import { type DatasetFiles, datasetFileHandler } from "./rpc/dataset-file.js";
import { type SamplesOptions, samplesHandler } from "./rpc/samples.js";
import { sessionHandler } from "./rpc/session.js";
import { loadStateHandler, saveStateHandler } from "./rpc/state.js";
import type { Run } from "./run.js";

export interface ServerOptions {
  /** host:port; port 0 for any that is free. */
  readonly listen: string;
  readonly run: Run;
  readonly welcome: Welcome;
  readonly samples: SamplesOptions;
  readonly files: DatasetFiles;
  readonly store: CheckpointStore;
}

export interface RunningServer {
  /** host:port that it listens on. */
  readonly address: string;
  /** Waits up to `graceMs` for calls under way, then ends them. */
  close(graceMs: number): Promise<void>;
}

/** @throws IsoergError NETWORK when the address can't be listened on. */
export async function startServer({ listen, run, welcome, samples, files, store }: ServerOptions): Promise<RunningServer> {
  const server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.max_concurrent_streams": 1024,
  });
  server.addService(coordination, {
    session: sessionHandler(run, welcome),
    samples: samplesHandler(samples),
    datasetFile: datasetFileHandler(files),
    saveState: saveStateHandler(run),
    loadState: loadStateHandler(store),
  });
  server.addService(runControl, { status: statusHandler(run), watch: watchHandler(run), stop: stopHandler(run) });
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
