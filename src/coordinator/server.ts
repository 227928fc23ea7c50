/** The coordinator's services, each call handed to its handler in rpc/. How it listens is `../wire/server.ts`'s business. */
import type { CheckpointStore } from "../checkpoint/store.js";
import type { Security } from "../security/security.js";
import { healthService } from "../wire/health.js";
import type { Welcome } from "../wire/messages.js";
import { coordination, runControl } from "../wire/proto.js";
import { openServer, type RunningServer } from "../wire/server.js";
import { statusHandler, stopHandler, watchHandler } from "./rpc/control.js";
import { type DatasetFiles, datasetFileHandler } from "./rpc/dataset-file.js";
import { coordinationHealth } from "./rpc/health.js";
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
  readonly security?: Security | undefined;
}

/** @throws IsoergError NETWORK when the address can't be listened on. */
export function startServer({ listen, run, welcome, samples, files, store, security }: ServerOptions): Promise<RunningServer> {
  const services = [
    {
      definition: coordination,
      handlers: {
        session: sessionHandler(run, welcome),
        samples: samplesHandler(samples),
        datasetFile: datasetFileHandler(files),
        saveState: saveStateHandler(run),
        loadState: loadStateHandler(store),
      },
    },
    healthService(coordinationHealth(() => run.status())),
    { definition: runControl, handlers: { status: statusHandler(run), watch: watchHandler(run), stop: stopHandler(run) } },
  ];
  return openServer(listen, services, security);
}
