/** Every kind of message survives the way over the wire, 64-bit values and words included. */
import { describe, expect, test } from "vitest";
import type { FetchRequest, FromWorker, LoadStateRequest, RunStatus, SampleBlocks, StateBlock, ToWorker } from "../../src/wire/messages.js";
import { coordination, peer, runControl } from "../../src/wire/proto.js";

const fromWorker: FromWorker[] = [
  {
    kind: "hello",
    workerId: "local-0",
    incarnation: "a1",
    engine: "cpu",
    protocol: 2,
    peerEndpoint: "127.0.0.1:9",
    holdsGeneration: 3,
    holdsStep: 2 ** 40,
    pendingGeneration: 0,
    pendingStep: 0,
    commits: [{ generation: 3, step: 2 ** 33, checksum: 2n ** 64n - 1n }],
  },
  { kind: "heartbeat", step: 2 ** 40, phase: "attack", phaseMs: 12.5, idleMs: 8.25, waits: true },
  { kind: "ringBound", generation: 3, endpoint: "tcp://127.0.0.1:9" },
  { kind: "ready", generation: 3, step: 0, chainsKept: 4, chainsMoved: 3, chainsRestored: 2, chainsAnew: 1 },
  {
    kind: "ballot",
    generation: 3,
    step: 17,
    ok: false,
    fault: "non-finite",
    reason: "loss is NaN",
    checksum: 2n ** 64n - 3n,
    metrics: { loss: 0.5, "energy/clean": -3.25 },
    phasesMs: { attack: 12.5 },
    sampleIds: [5, 4_000_000_000],
  },
  { kind: "ballot", generation: 3, step: 17, ok: true, fault: "none", reason: "", checksum: 0n, metrics: {}, phasesMs: {}, sampleIds: [] },
  { kind: "leave", reason: "SIGTERM", failed: false, retire: true, code: "" },
];

const toWorker: ToWorker[] = [
  { kind: "welcome", runId: "r", configJson: "{}", manifestJson: "{}", heartbeatMs: 500, term: 2, numChains: 6 },
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
  { kind: "save", generation: 1, step: 8 },
  { kind: "release", generation: 2, step: 8 },
  { kind: "ringPeers", generation: 1, endpoints: ["tcp://a:1", "tcp://b:2"] },
  { kind: "proceed", generation: 1, step: 8 },
  { kind: "verdict", generation: 1, step: 8, commit: true, reason: "all 2 voted for it", checkpoint: false, proceed: true },
  { kind: "stop", outcome: "finished", reason: "all steps are done", code: "TERMINATED" },
];

describe("messages over the wire", () => {
  test.each(fromWorker)("worker to coordinator: $kind", (message) => {
    const { requestSerialize, requestDeserialize } = coordination.session;
    expect(requestDeserialize(requestSerialize(message))).toEqual(message);
  });

  test.each(toWorker)("coordinator to worker: $kind", (message) => {
    const { responseSerialize, responseDeserialize } = coordination.session;
    expect(responseDeserialize(responseSerialize(message))).toEqual(message);
  });

  test("samples and state", () => {
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
          labels: Buffer.from([0, 1, 2]),
          images: Buffer.from([7, 8, 9]),
        },
        {
          step: 5,
          epoch: 1,
          batchSize: 1,
          sliceFrom: 1,
          sliceTo: 1,
          position: 1,
          ids: [],
          labels: Buffer.alloc(0),
          images: Buffer.alloc(0),
        },
      ],
    };
    expect(coordination.samples.responseDeserialize(coordination.samples.responseSerialize(samples))).toEqual(samples);
    const state: StateBlock = {
      generation: 1,
      step: 9,
      rank: 1,
      file: "buffer",
      tensor: "images",
      dtype: "U8",
      shape: [4, 3],
      offset: 6,
      data: Buffer.from([1, 2, 3]),
    };
    expect(coordination.saveState.requestDeserialize(coordination.saveState.requestSerialize(state))).toEqual(state);
    const load: LoadStateRequest = { step: 9, files: ["model"], rowFrom: 2, rowTo: 7 };
    expect(coordination.loadState.requestDeserialize(coordination.loadState.requestSerialize(load))).toEqual(load);
    const fetch: FetchRequest = { generation: 4, files: ["model"], rowFrom: 2, rowTo: 7 };
    expect(peer.fetch.requestDeserialize(peer.fetch.requestSerialize(fetch))).toEqual(fetch);
  });

  test("status", () => {
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
      members: [{ workerId: "local-0", rank: 0, engine: "cpu", phase: "attack", step: 10, stepMs: 31.5, share: 0.5 }],
    };
    expect(runControl.status.responseDeserialize(runControl.status.responseSerialize(status))).toEqual(status);
  });

  test("a message of no known kind is refused with the reason", () => {
    expect(() => coordination.session.requestDeserialize(Buffer.alloc(0))).toThrow(/unknown kind/);
  });
});
