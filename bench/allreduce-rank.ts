/** One rank of `allreduce.ts`, in a process of its own, led by messages. The gradient's memory and the sums are as in training. */
import { allReduce } from "../src/collective/all-reduce.js";
import { HostMember } from "../src/collective/host-member.js";
import { ARENA_BYTES, loadHostMemory } from "../src/collective/host-memory.js";
import { agreeOnSummation } from "../src/collective/host-summation.js";
import { loadNativeStreams } from "../src/collective/native-streams.js";
import { addNatively, adoptSummable, allocateSummable, summableView } from "../src/collective/reduce.js";
import { splitTokens, withToken } from "../src/collective/stream-handshake.js";
import { bindStreams } from "../src/collective/stream-links.js";
import type { Summation } from "../src/collective/summation.js";
import type { RingTransport, SumTag } from "../src/collective/transport.js";
import { type BoundRing, bindRing } from "../src/collective/zeromq-transport.js";

/** Over TCP by native code, through ZeroMQ in plaintext or encrypted, or in the host's shared memory. */
export type AllReduceWay = "streams" | "zeromq" | "curve" | "host";

/** Told, it is what is timed; otherwise the cost model chooses, as in training. */
export type RingAlgorithm = "ring" | "whole";

export type AllReduceRankTask =
  | { readonly kind: "bind"; readonly rank: number; readonly worldSize: number; readonly way: AllReduceWay }
  | { readonly kind: "connect"; readonly endpoints: readonly string[] }
  | { readonly kind: "sum"; readonly numValues: number; readonly numSums: number; readonly algorithm?: RingAlgorithm };

export type AllReduceRankReply =
  | { readonly kind: "bound"; readonly endpoint: string }
  | { readonly kind: "connected"; readonly way: Summation["way"]; readonly carrier: Summation["carrier"] }
  | { readonly kind: "summed"; readonly timesMs: readonly number[] };

const NUM_WARMING_SUMS = 1;
let worldSize = 1;
let rank = 0;
let step = 0;
let way: AllReduceWay = "streams";
let bound: BoundRing | undefined;
let transport: RingTransport | undefined;
let summation: Summation | undefined;
let member: HostMember | null = null;
let allocate = (numValues: number): Float32Array => {
  const memory = allocateSummable(numValues);
  adoptSummable(memory);
  return summableView(memory, numValues);
};

process.on("message", async (task: AllReduceRankTask) => {
  const reply = await carryOut(task);
  process.send?.(reply);
});

process.on("disconnect", () => process.exit()); // the one who asks is gone: nobody would end this process otherwise

async function carryOut(task: AllReduceRankTask): Promise<AllReduceRankReply> {
  switch (task.kind) {
    case "bind": {
      ({ rank, worldSize, way } = task);
      const place = { run: 1, generation: 1, rank, worldSize };
      const loaded = await loadHostMemory();
      if (loaded.ok) {
        const { memory } = loaded;
        const arena = memory.createArena(ARENA_BYTES);
        addNatively(memory.add);
        allocate = (numValues) => new Float32Array(memory.view(arena, memory.allocate(arena, 4 * numValues), 4 * numValues));
        if (way === "host") {
          member = new HostMember({ memory, arena, place });
          member.sums.adopt();
        }
      }
      bound = await bindRing({ ...place, curve: way === "curve" });
      return { kind: "bound", endpoint: way === "streams" ? withToken(bound.endpoint) : bound.endpoint };
    }
    case "connect": {
      if (bound === undefined) throw new Error("connected before bound");
      const { endpoints, secret } = splitTokens(task.endpoints, { run: 1, generation: 1 });
      transport = await bound.connect(endpoints);
      const loaded = await loadNativeStreams();
      summation = await agreeOnSummation({
        ...{ transport, member, bind: bindRing, onRefusal: (reason) => process.stderr.write(`${reason}\n`) },
        ...(loaded.ok && secret && { bindStreams: (place) => bindStreams({ ...place, native: loaded.native, secret }) }),
      });
      return { kind: "connected", way: summation.way, carrier: summation.carrier };
    }
    case "sum":
      return { kind: "summed", timesMs: await sumOften(task) };
    default:
      return task satisfies never;
  }
}

async function sumOften({ numValues, numSums, algorithm }: AllReduceRankTask & { readonly kind: "sum" }): Promise<number[]> {
  const values = allocate(numValues);
  const timesMs: number[] = [];
  for (let i = -NUM_WARMING_SUMS; i < numSums; i++) {
    values.fill(rank + 1);
    const tag = { step: step++, bucket: 0 };
    const start = performance.now();
    const pending = algorithm && transport ? allReduce(transport, values, { ...tag, algorithm }) : sumOnce(values, tag);
    if (pending) await pending;
    if (i >= 0) timesMs.push(performance.now() - start);
    check(values);
  }
  return timesMs;
}

/** As the training thread does it: in shared memory by itself, asleep while it waits; else through the ring. */
function sumOnce(values: Float32Array, tag: SumTag): Promise<void> | undefined {
  if (!member?.sums.isDirect()) return summation?.sum(values, tag);
  member.sums.post(values, tag);
  member.sums.finish();
  return undefined;
}

function check(values: Float32Array): void {
  const expected = (worldSize * (worldSize + 1)) / 2;
  for (const i of [0, values.length >> 1, values.length - 1]) {
    if (values[i] !== expected) throw new Error(`value ${i} of ${values.length} is ${values[i]} instead of ${expected}`);
  }
}
