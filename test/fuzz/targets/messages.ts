/** Protocol buffers as gRPC hands them over, and what coordinator and worker make of the samples and states in them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Readable } from "node:stream";
import type { ClientReadableStream, MethodDefinition } from "@grpc/grpc-js";
import { StateAssembly } from "../../../src/coordinator/assembly.js";
import { IsoergError } from "../../../src/util/error.js";
import type { FromWorker, RunStatus, SampleBlocks, StateBlock, ToWorker } from "../../../src/wire/messages.js";
import { coordination, peer, runControl } from "../../../src/wire/proto.js";
import { Prefetch } from "../../../src/worker/prefetch.js";
import { receiveParts } from "../../../src/worker/state-transfer.js";
import type { Target } from "../fuzz.js";

/** gRPC itself turns what a deserializer throws into a status; here it is a refusal. */
function parsed<T>(deserialize: (bytes: Buffer) => T, input: Uint8Array): T {
  try {
    return deserialize(Buffer.from(input.buffer, input.byteOffset, input.byteLength));
  } catch (cause) {
    if (cause instanceof Error) throw new IsoergError("PROTOCOL", cause.message, { cause });
    throw cause;
  }
}

function requestTarget<T>(name: string, method: MethodDefinition<T, unknown>, messages: readonly T[], share = 5): Target {
  return target(name, method.requestSerialize, method.requestDeserialize, messages, share);
}

function replyTarget<T>(name: string, method: MethodDefinition<never, T>, messages: readonly T[], share = 5): Target {
  return target(name, method.responseSerialize, method.responseDeserialize, messages, share);
}

function target<T>(
  name: string,
  serialize: (message: T) => Buffer,
  deserialize: (bytes: Buffer) => T,
  messages: readonly T[],
  share: number,
): Target {
  return {
    name: `message ${name}`,
    kind: "bytes",
    refuses: ["PROTOCOL"],
    share,
    seeds: () => messages.map(serialize),
    read(input) {
      const message = parsed(deserialize, input);
      assert.deepEqual(deserialize(serialize(message)), message);
    },
  };
}

const fromWorker: readonly FromWorker[] = [
  {
    kind: "hello",
    workerId: "host-0",
    incarnation: "a1",
    engine: "torch",
    protocol: 2,
    peerEndpoint: "127.0.0.1:9",
    holdsGeneration: 3,
    holdsStep: 2 ** 40,
    pendingGeneration: 3,
    pendingStep: 7,
    commits: [
      { generation: 3, step: 2 ** 33, checksum: 2n ** 64n - 1n },
      { generation: 3, step: 5, checksum: 4n },
    ],
  },
  {
    kind: "ballot",
    generation: 3,
    step: 17,
    ok: false,
    fault: "non-finite",
    reason: "loss is not a number",
    checksum: 2n ** 64n - 3n,
    metrics: { loss: 0.5, "energy/clean": -3.25 },
    phasesMs: { attack: 12.5 },
    sampleIds: [5, 4_000_000_000],
  },
  { kind: "leave", reason: "SIGTERM", failed: false, retire: true, code: "ENGINE" },
];

const toWorker: readonly ToWorker[] = [
  { kind: "welcome", runId: "r", configJson: "{}", manifestJson: "{}", heartbeatMs: 500, term: 2, numChains: 64 },
  {
    kind: "generation",
    generation: 1,
    rank: 1,
    worldSize: 2,
    sliceWeights: [1, 1],
    step: 8,
    restore: "heal",
    checkpointStep: 8,
    hasCheckpoint: true,
    give: "chains",
    donor: "a:1",
    peers: [{ endpoint: "a:1", rowFrom: 0, rowTo: 2 ** 33 }],
    adjustment: { salt: 2, lrFactor: 0.25, samplerStepsFactor: 4, attackStepsFactor: 1, energyL2: 0.04 },
  },
  { kind: "stop", outcome: "finished", reason: "all steps are done", code: "" },
];

const status: RunStatus = {
  runId: "r",
  name: "quickstart",
  state: "training",
  reason: "",
  generation: 2,
  step: 10,
  numSteps: 100,
  epoch: 0.5,
  samplesPerSecond: 12.5,
  etaSeconds: 60,
  metrics: { loss: 1 },
  members: [{ workerId: "host-0", rank: 0, engine: "cpu", phase: "attack", step: 10, stepMs: 31.5, share: 0.5 }],
};

function stateBlock(tensor: string, dtype: string, shape: number[], offset: number, numBytes: number, file = "buffer"): StateBlock {
  return { generation: 1, step: 9, rank: 1, file, tensor, dtype, shape, offset, data: new Uint8Array(numBytes).fill(7) };
}

const states: readonly StateBlock[] = [
  stateBlock("images", "U8", [4, 3], 6, 6),
  stateBlock("ages", "I32", [4], 0, 16),
  stateBlock("w", "F32", [2, 3], 0, 24, "model"),
  stateBlock("scalar", "F32", [], 0, 4, "optimizer"),
];

const samples: SampleBlocks = {
  blocks: [
    {
      step: 4,
      epoch: 1,
      batchSize: 5,
      sliceFrom: 2,
      sliceTo: 5,
      position: 2,
      ids: [9, 1, 4],
      labels: Uint8Array.of(0, 1, 2),
      images: Uint8Array.of(7, 8, 9, 7, 8, 9),
    },
    {
      step: 5,
      epoch: 1,
      batchSize: 1,
      sliceFrom: 1,
      sliceTo: 1,
      position: 1,
      ids: [],
      labels: new Uint8Array(0),
      images: new Uint8Array(0),
    },
  ],
};

function streamOf<T>(messages: readonly T[]): ClientReadableStream<T> {
  const readable = Readable.from(messages, { objectMode: true });
  return Object.assign(readable, { cancel: () => readable.destroy(), getPeer: () => "" }) as unknown as ClientReadableStream<T>;
}

export const messageTargets: readonly Target[] = [
  requestTarget("FromWorker", coordination.session as MethodDefinition<FromWorker, unknown>, fromWorker, 8),
  replyTarget("ToWorker", coordination.session as unknown as MethodDefinition<never, ToWorker>, toWorker, 8),
  requestTarget("requests", coordination.loadState as MethodDefinition<unknown, unknown>, [
    { step: 9, files: ["model", "buffer"], rowFrom: 2, rowTo: 7 },
  ]),
  requestTarget("Fetch", peer.fetch as MethodDefinition<unknown, unknown>, [{ generation: 4, files: ["model"], rowFrom: 2, rowTo: 7 }]),
  replyTarget("RunStatus", runControl.status as unknown as MethodDefinition<never, RunStatus>, [status]),
  {
    name: "state blocks, put together by the coordinator",
    kind: "bytes",
    refuses: ["PROTOCOL"],
    share: 6,
    seeds: () => states.map(coordination.saveState.requestSerialize),
    read(input) {
      const block = parsed(coordination.saveState.requestDeserialize, input);
      const assembly = new StateAssembly();
      if (block.tensor !== "") assembly.add(block);
      let content: ReturnType<StateAssembly["content"]>;
      try {
        content = assembly.content({});
      } catch (error) {
        // A tensor with a hole is what a part of it leaves; it is a refusal all the same, and not of this block.
        if (error instanceof IsoergError && error.message.includes("no worker sent")) return;
        throw error;
      }
      for (const tensors of Object.values(content.files)) {
        for (const { shape, data } of tensors.values()) assert.equal(data.length, product(shape));
      }
    },
  },
  {
    name: "state blocks, put together by a worker",
    kind: "bytes",
    refuses: ["PROTOCOL", "NETWORK"],
    share: 6,
    seeds: () => states.map(coordination.saveState.requestSerialize),
    async read(input) {
      const block = parsed(coordination.saveState.requestDeserialize, input);
      const parts = await receiveParts(streamOf([block]), { from: 0, to: 4 }, new AbortController().signal);
      for (const { shape, data } of parts) assert(data.length <= product(shape));
    },
  },
  {
    name: "sample blocks, put together by a worker",
    kind: "bytes",
    refuses: ["PROTOCOL"],
    share: 6,
    seeds: () => [coordination.samples.responseSerialize(samples)],
    async read(input) {
      const message = parsed(coordination.samples.responseDeserialize, input);
      const stream = streamOf([message]);
      const prefetch = new Prefetch(stream);
      if (message.blocks.length > 0) await Promise.race([once(stream, "end"), once(stream, "close")]);
      const closed = prefetch.next();
      stream.destroy();
      prefetch.close();
      const slice = await closed.catch((error: unknown) => {
        // An unfinished slice is what a part of the stream leaves.
        if (error instanceof IsoergError && (error.code === "STOPPED" || error.message.includes("ended before"))) return undefined;
        throw error;
      });
      if (slice === undefined) return;
      assert.equal(slice.positions.to - slice.positions.from, slice.ids.length);
      assert.equal(slice.labels.length, slice.ids.length);
      assert(slice.positions.to <= 2 ** 32 && Number.isInteger(slice.images.length / Math.max(1, slice.ids.length)));
    },
  },
];

function product(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}
