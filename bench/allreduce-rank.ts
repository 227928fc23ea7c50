/** One rank of `allreduce.ts`, in a process of its own, led by messages. The gradient's memory and the sums are as in training. */
import { allReduce } from "../src/collective/all-reduce.js";
import type { Algorithm } from "../src/collective/cost-model.js";
import { gatherTexts } from "../src/collective/gather.js";
import { HostMember } from "../src/collective/host-member.js";
import { ARENA_BYTES, loadHostMemory } from "../src/collective/host-memory.js";
import { type AgreeOptions, agreeOnSummation } from "../src/collective/host-summation.js";
import { loadNativeStreams, type NativeStreams } from "../src/collective/native-streams.js";
import { addNatively, adoptSummable, allocateSummable, summableView } from "../src/collective/reduce.js";
import { splitTokens, withToken } from "../src/collective/stream-handshake.js";
import { bindStreams } from "../src/collective/stream-links.js";
import type { StreamSums } from "../src/collective/stream-sums.js";
import type { Summation } from "../src/collective/summation.js";
import type { RingTransport, SumTag } from "../src/collective/transport.js";
import { type BoundRing, bindRing } from "../src/collective/zeromq-transport.js";

/** Over TCP by native code, through ZeroMQ in plaintext or encrypted, or in the host's shared memory. */
export type AllReduceWay = "streams" | "zeromq" | "curve" | "host";

/** Told, it is what is timed; otherwise the cost model chooses, as in training. Streams have no "whole", ZeroMQ's ring only that and "ring". */
export type TimedAlgorithm = Algorithm;

export type AllReduceRankTask =
  | { readonly kind: "bind"; readonly rank: number; readonly worldSize: number; readonly way: AllReduceWay }
  | { readonly kind: "connect"; readonly endpoints: readonly string[] }
  | { readonly kind: "sum"; readonly numValues: number; readonly numSums: number; readonly algorithm?: TimedAlgorithm };

export type AllReduceRankReply =
  | { readonly kind: "bound"; readonly endpoint: string }
  | { readonly kind: "connected"; readonly way: Summation["way"]; readonly carrier: Summation["carrier"] }
  | { readonly kind: "summed"; readonly timesMs: readonly number[] };

const NUM_WARMING_SUMS = 1;
/** Of the exchange of endpoints; those of the agreement on sums are lower. */
const BENCH_ROUND = 100;
let secret: Uint8Array | null = null;
let worldSize = 1;
let rank = 0;
let step = 0;
let way: AllReduceWay = "streams";
let bound: BoundRing | undefined;
let transport: RingTransport | undefined;
let summation: Summation | undefined;
let streams: StreamSums | undefined;
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
      const told = splitTokens(task.endpoints, { run: 1, generation: 1 });
      const { endpoints } = told;
      secret = told.secret;
      transport = await bound.connect(endpoints);
      const loaded = await loadNativeStreams();
      summation = await agreeOnSummation({
        ...{ transport, member, bind: bindRing, onRefusal: (reason) => process.stderr.write(`${reason}\n`) },
        ...(loaded.ok && told.secret && { bindStreams: withSecret(loaded.native, told.secret) }),
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
  if (algorithm && way === "streams") streams ??= await openStreams();
  for (let i = -NUM_WARMING_SUMS; i < numSums; i++) {
    values.fill(rank + 1);
    const tag = { step: step++, bucket: 0 };
    const start = performance.now();
    const pending = algorithm ? sumBy(algorithm, values, tag) : sumOnce(values, tag);
    if (pending) await pending;
    if (i >= 0) timesMs.push(performance.now() - start);
    check(values);
  }
  return timesMs;
}

async function sumBy(algorithm: TimedAlgorithm, values: Float32Array, tag: SumTag): Promise<void> {
  if (streams && algorithm !== "whole") await streams.sum(values, { ...tag, algorithm });
  else if (transport && (algorithm === "ring" || algorithm === "whole")) await allReduce(transport, values, { ...tag, algorithm });
  else throw new Error(`${way} has no ${algorithm}`);
}

/** Beside those of the summation, for algorithms that are told. */
async function openStreams(): Promise<StreamSums> {
  const loaded = await loadNativeStreams();
  if (!loaded.ok || !secret || !transport) throw new Error("no streams");
  const mine = await bindStreams({ ...transport.place, native: loaded.native, secret });
  const opened = await mine.connect(await gatherTexts(transport, mine.endpoint, BENCH_ROUND));
  await gatherTexts(transport, "open", BENCH_ROUND + 1); // nothing may travel before all have their connections
  return opened;
}

/** As the training thread does it: in shared memory by itself, asleep while it waits; else through the ring. */
function sumOnce(values: Float32Array, tag: SumTag): Promise<void> | undefined {
  if (!member?.sums.isDirect()) return summation?.sum(values, tag);
  member.sums.post(values, tag);
  member.sums.finish();
  return undefined;
}

function withSecret(native: NativeStreams, known: Uint8Array): NonNullable<AgreeOptions["bindStreams"]> {
  return (place) => bindStreams({ ...place, native, secret: known });
}

function check(values: Float32Array): void {
  const expected = (worldSize * (worldSize + 1)) / 2;
  for (const i of [0, values.length >> 1, values.length - 1]) {
    if (values[i] !== expected) throw new Error(`value ${i} of ${values.length} is ${values[i]} instead of ${expected}`);
  }
}
