/**
 * One rank of a ring in a process of its own, led by messages from its parent: bind, connect, sum for ever or once, close.
 * Not a test: `processes.test.ts` starts it.
 */
import { allReduce } from "../../src/collective/all-reduce.js";
import { HostMember } from "../../src/collective/host-member.js";
import { ARENA_BYTES, requireHostMemory } from "../../src/collective/host-memory.js";
import { agreeOnSummation } from "../../src/collective/host-summation.js";
import { loadNativeStreams } from "../../src/collective/native-streams.js";
import { bindStreams } from "../../src/collective/stream-links.js";
import { bindRing } from "../../src/collective/zeromq-transport.js";

export type PeerEnd = "never" | "close" | "exit";

export interface PeerTask {
  readonly rank: number;
  readonly worldSize: number;
  readonly run: number;
  readonly generation: number;
  /** After its first sum: go on summing, close the ring and leave the rest to Node, or leave with a receive pending. */
  readonly end: PeerEnd;
  /** Sums in the host's shared memory instead of the ring, on this host by name. */
  readonly machine?: string;
  /** The library that gives such memory. */
  readonly library?: string;
  /** Sums by streams of this secret, in hexadecimal. */
  readonly secret?: string;
  readonly numValues?: number;
}

const say = (message: object): void => {
  process.send?.(message);
};

process.once("message", async (task: PeerTask) => {
  const bound = await bindRing(task);
  const told = new Promise<string[]>((resolve) => process.once("message", (endpoints: string[]) => resolve(endpoints)));
  say({ endpoint: bound.endpoint });
  const transport = await bound.connect(await told);
  if (task.machine !== undefined && task.library !== undefined) {
    const memory = requireHostMemory(task.library);
    const arena = memory.createArena(ARENA_BYTES);
    const member = new HostMember({ memory, arena, place: task, host: task.machine });
    member.sums.adopt();
    const summation = await agreeOnSummation({ transport, member, bind: (place) => bindRing(place) });
    const values = new Float32Array(memory.view(arena, memory.allocate(arena, 400_000), 400_000));
    for (let step = 0; ; step++) {
      values.fill(task.rank + 1);
      await summation.sum(values, { step, bucket: 0 }).catch(() => process.exit(1));
      if (step === 0) say({ sum: values[9999], way: summation.way });
    }
  }
  if (task.secret !== undefined) {
    const loaded = await loadNativeStreams();
    if (!loaded.ok) throw new Error(loaded.reason);
    const { native } = loaded;
    const secret = Buffer.from(task.secret, "hex");
    const summation = await agreeOnSummation({
      ...{ transport, member: null, bind: (place) => bindRing(place) },
      bindStreams: (place) => bindStreams({ ...place, native, secret }),
    });
    const values = new Float32Array(task.numValues ?? 10_000);
    for (let step = 0; ; step++) {
      await summation.sum(values.fill(task.rank + 1), { step, bucket: 0 }).catch(() => process.exit(1));
      if (step === 0) say({ sum: values[9999], carrier: summation.carrier });
    }
  }
  for (let step = 0; ; step++) {
    const values = new Float32Array(10_000).fill(task.rank + 1);
    await allReduce(transport, values, { step, bucket: 0 });
    if (step === 0) say({ sum: values[9999] });
    if (task.end !== "never") break;
  }
  if (task.end === "exit") {
    void transport.receive();
    process.exit(0);
  }
  await transport[Symbol.asyncDispose]();
  process.disconnect();
});
