/**
 * A worker between coordinators, against servers that the test holds by the hand: one that was replaced and wakes up is left at once
 * and heard by nobody, whatever it says; so two coordinators can't lead one run.
 */
import type { handleBidiStreamingCall, ServerDuplexStream } from "@grpc/grpc-js";
import pino from "pino";
import { afterEach, expect, test } from "vitest";
import { NO_ADJUSTMENT } from "../../src/config/adjustment.js";
import type { FromWorker, GenerationMessage, ToWorker, Welcome } from "../../src/wire/messages.js";
import { coordination, PROTOCOL_VERSION } from "../../src/wire/proto.js";
import { openServer, type RunningServer } from "../../src/wire/server.js";
import { Dialer } from "../../src/worker/dialer.js";
import { WorkerLink } from "../../src/worker/worker-link.js";

const welcome = (term: number, runId = "r"): ToWorker & Welcome => ({
  kind: "welcome",
  runId,
  configJson: "{}",
  manifestJson: "{}",
  heartbeatMs: 60_000,
  term,
  numChains: 0,
});

const generation: { kind: "generation" } & GenerationMessage = {
  kind: "generation",
  generation: 1,
  rank: 0,
  worldSize: 1,
  sliceWeights: [1],
  step: 0,
  restore: "fresh",
  checkpointStep: 0,
  hasCheckpoint: false,
  give: "",
  donor: "",
  peers: [],
  adjustment: NO_ADJUSTMENT,
};

/** A coordinator that says these words to every worker, and writes down what it hears. */
async function scripted(words: readonly ToWorker[]) {
  const heard: FromWorker["kind"][] = [];
  const calls = new Set<ServerDuplexStream<FromWorker, ToWorker>>();
  let numEnded = 0;
  const changed = { say: () => {} };
  const session: handleBidiStreamingCall<FromWorker, ToWorker> = (call) => {
    calls.add(call);
    call.on("error", () => {});
    call.on("data", (message: FromWorker) => {
      heard.push(message.kind);
      if (message.kind === "hello") for (const word of words) call.write(word);
      changed.say();
    });
    const ended = (): void => {
      if (!calls.delete(call)) return;
      numEnded++;
      call.end();
      changed.say();
    };
    call.on("end", ended).on("cancelled", ended);
  };
  const unused = (call: { destroy?: () => void }): void => call.destroy?.();
  const handlers = { session, samples: unused, datasetFile: unused, saveState: unused, loadState: unused };
  const server = await openServer("127.0.0.1:0", [{ definition: coordination, handlers }]);
  servers.push(server);
  return {
    address: server.address,
    heard,
    hangUp: () => {
      for (const call of calls) call.end();
    },
    /** Resolves when what was heard is as wanted. */
    until: (isWanted: () => boolean) =>
      new Promise<void>((resolve) => {
        changed.say = () => {
          if (isWanted()) resolve();
        };
        changed.say();
      }),
    numEnded: () => numEnded,
  };
}

const servers: RunningServer[] = [];
let link: WorkerLink | null = null;
afterEach(async () => {
  await link?.close();
  link = null;
  for (const server of servers.splice(0)) await server.close(0);
});

function worker(whereabouts: () => string): WorkerLink {
  link = new WorkerLink({
    dialer: new Dialer({ whereabouts: async () => [whereabouts()], pauseMs: { first: 1, longest: 5 } }),
    hello: { workerId: "a", incarnation: "a1", engine: "none", protocol: PROTOCOL_VERSION },
    ring: () => ({ host: "127.0.0.1" }),
    connectMs: 10_000,
    reconnectMs: 10_000,
    log: pino({ enabled: false }),
  });
  return link;
}

test("a coordinator of a lower term that wakes up is left, and nothing that it says is done", async () => {
  const woken = await scripted([welcome(1), generation]);
  const leading = await scripted([welcome(2)]);
  const successor = await scripted([welcome(3), generation]);
  let at = leading.address;
  worker(() => at);
  await leading.until(() => leading.heard.includes("hello"));
  await link?.welcome();
  at = woken.address;
  leading.hangUp();
  await woken.until(() => woken.numEnded() > 0);
  at = successor.address;
  await successor.until(() => successor.heard.includes("ringBound"));
  expect(new Set(woken.heard)).toEqual(new Set(["hello"]));
  expect(link?.stop).toBeNull();
});

test("a coordinator of another run is not obeyed either: the worker ends, and says why", async () => {
  const first = await scripted([welcome(1)]);
  const other = await scripted([welcome(2, "another"), generation]);
  let at = first.address;
  const { stopped } = worker(() => at);
  await link?.welcome();
  at = other.address;
  first.hangUp();
  await stopped;
  expect(link?.stop).toMatchObject({ outcome: "failed", code: "PROTOCOL", reason: "the coordinator leads another run, another" });
  expect(other.heard).not.toContain("ringBound");
});
