/**
 * Loads proto/isoerg/v1 and makes its services typed: each method's serializers take and give the types of `messages.ts`.
 * Servers add these definitions to a grpc.Server, clients call them through `client.ts`.
 */
import { join } from "node:path";
import { logVerbosity, type MethodDefinition, setLogVerbosity } from "@grpc/grpc-js";
import { loadSync, type PackageDefinition } from "@grpc/proto-loader";
import { invariant } from "../util/error.js";
import { packageRoot } from "../util/package.js";
import { type Codec, plain, union } from "./codec.js";
import type {
  DatasetFileRequest,
  FetchRequest,
  FileBlock,
  FromWorker,
  LoadStateRequest,
  RunStatus,
  SampleBlocks,
  SamplesRequest,
  SaveStateReply,
  StateBlock,
  StopReply,
  StopRequest,
  ToWorker,
} from "./messages.js";

/** Of the .proto files; a worker of another one is refused. */
export const PROTOCOL_VERSION = 4;

/** No message is larger: blocks are about 1 MiB, and a Welcome holds a manifest. */
export const MAX_MESSAGE_BYTES = 16 * 2 ** 20;

/** About so many bytes of samples or state travel in one message. */
export const BLOCK_BYTES = 2 ** 20;

// What gRPC has to say comes back as errors; it must not print beside them.
setLogVerbosity(logVerbosity.NONE);

const packages: PackageDefinition = loadSync(["coordination.proto", "run.proto"], {
  includeDirs: [join(packageRoot, "proto", "isoerg", "v1")],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});

/** What is told to a thousand workers is one object, and made into bytes once. */
function onceEach<Message>(serialize: (message: Message) => Buffer): (message: Message) => Buffer {
  const made = new WeakMap<object, Buffer>();
  return (message) => {
    const key = message as object;
    const bytes = made.get(key) ?? serialize(message);
    made.set(key, bytes);
    return bytes;
  };
}

function method<Request, Reply>(
  service: string,
  name: string,
  request: Codec<Request>,
  reply: Codec<Reply>,
): MethodDefinition<Request, Reply> {
  const definition = packages[`isoerg.v1.${service}`];
  invariant(definition !== undefined && !("format" in definition), `no service ${service} in proto/`);
  const raw = (definition as Readonly<Record<string, MethodDefinition<object, object>>>)[name];
  invariant(raw !== undefined, `no method ${service}.${name} in proto/`);
  return {
    path: raw.path,
    requestStream: raw.requestStream,
    responseStream: raw.responseStream,
    requestSerialize: (value) => raw.requestSerialize(request.toWire(value)),
    requestDeserialize: (bytes) => request.fromWire(raw.requestDeserialize(bytes)),
    responseSerialize: (value) => raw.responseSerialize(reply.toWire(value)),
    responseDeserialize: (bytes) => reply.fromWire(raw.responseDeserialize(bytes)),
  };
}

const session = method("Coordination", "Session", union<FromWorker>(), union<ToWorker>());

export const coordination = {
  session: { ...session, responseSerialize: onceEach(session.responseSerialize) },
  samples: method("Coordination", "Samples", plain<SamplesRequest>(), plain<SampleBlocks>()),
  datasetFile: method("Coordination", "DatasetFile", plain<DatasetFileRequest>(), plain<FileBlock>()),
  saveState: method("Coordination", "SaveState", plain<StateBlock>(), plain<SaveStateReply>()),
  loadState: method("Coordination", "LoadState", plain<LoadStateRequest>(), plain<StateBlock>()),
} as const;

export const peer = {
  fetch: method("Peer", "Fetch", plain<FetchRequest>(), plain<StateBlock>()),
} as const;

export const runControl = {
  status: method("RunControl", "Status", plain<object>(), plain<RunStatus>()),
  watch: method("RunControl", "Watch", plain<object>(), plain<RunStatus>()),
  stop: method("RunControl", "Stop", plain<StopRequest>(), plain<StopReply>()),
} as const;
