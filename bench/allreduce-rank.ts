/** One rank of `allreduce.ts`, in a process of its own, led by messages. The gradient's memory is as in training. */
import { allReduce } from "../src/collective/all-reduce.js";
import { adoptSummable, allocateSummable, summableView } from "../src/collective/reduce.js";
import type { RingTransport } from "../src/collective/transport.js";
import { type BoundRing, bindRing } from "../src/collective/zeromq-transport.js";

export type AllReduceRankTask =
  | { readonly kind: "bind"; readonly rank: number; readonly worldSize: number }
  | { readonly kind: "connect"; readonly endpoints: readonly string[] }
  | { readonly kind: "sum"; readonly numValues: number; readonly numSums: number; readonly chunkLength?: number };

export type AllReduceRankReply =
  | { readonly kind: "bound"; readonly endpoint: string }
  | { readonly kind: "connected" }
  | { readonly kind: "summed"; readonly timesMs: readonly number[] };

const NUM_WARMING_SUMS = 3;
let bound: BoundRing | undefined;
let ring: RingTransport | undefined;
let step = 0;

process.on("message", async (task: AllReduceRankTask) => {
  const reply = await carryOut(task);
  process.send?.(reply);
});

process.on("disconnect", () => process.exit()); // the one who asks is gone: nobody would end this process otherwise

async function carryOut(task: AllReduceRankTask): Promise<AllReduceRankReply> {
  switch (task.kind) {
    case "bind":
      bound = await bindRing({ run: 1, generation: 1, rank: task.rank, worldSize: task.worldSize });
      return { kind: "bound", endpoint: bound.endpoint };
    case "connect":
      ring = await bound?.connect(task.endpoints);
      return { kind: "connected" };
    case "sum":
      if (ring === undefined) throw new Error("a sum before the ring");
      return { kind: "summed", timesMs: await sumOften(ring, task) };
    default:
      return task satisfies never;
  }
}

async function sumOften(transport: RingTransport, task: AllReduceRankTask & { readonly kind: "sum" }): Promise<number[]> {
  const { numValues, numSums } = task;
  const memory = allocateSummable(numValues);
  adoptSummable(memory);
  const values = summableView(memory, numValues);
  const options = task.chunkLength === undefined ? {} : { chunkLength: task.chunkLength };
  const timesMs: number[] = [];
  for (let i = -NUM_WARMING_SUMS; i < numSums; i++) {
    values.fill(transport.place.rank + 1);
    const start = performance.now();
    await allReduce(transport, values, { step: step++, bucket: 0, ...options });
    if (i >= 0) timesMs.push(performance.now() - start);
    check(values, transport.place.worldSize);
  }
  return timesMs;
}

function check(values: Float32Array, worldSize: number): void {
  const expected = (worldSize * (worldSize + 1)) / 2;
  for (const i of [0, values.length >> 1, values.length - 1]) {
    if (values[i] !== expected) throw new Error(`value ${i} of ${values.length} is ${values[i]} instead of ${expected}`);
  }
}
