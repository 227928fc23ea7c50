/** target += source: the kernel agrees with the scalar loop bit for bit, wherever the vectors lie. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { addInto, addScalar, adoptSummable, allocateSummable, type SummableMemory, summableView } from "../../src/collective/reduce.js";
import * as fc from "../kit/property.js";

const memory = allocateSummable(2000);
adoptSummable(memory);
const float = fc.float({ noNaN: true });

describe("adding one vector to another", () => {
  it("gives the scalar loop's bits at every length and alignment", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(float, float), { maxLength: 150 }), fc.nat(9), (pairs, offset) => {
        const source = Float32Array.from(pairs, ([, value]) => value);
        const expected = Float32Array.from(pairs, ([value]) => value);
        const target = summableView(memory, pairs.length, offset);
        target.set(expected);
        addScalar(expected, source);
        addInto(target, source);
        expect(Array.from(target)).toEqual(Array.from(expected));
      }),
    );
  });

  it("touches nothing beside the target", () => {
    const all = summableView(memory, 200);
    all.fill(7);
    addInto(summableView(memory, 37, 50), new Float32Array(37).fill(1));
    expect(Array.from(all, (value, i) => value === (i >= 50 && i < 87 ? 8 : 7))).not.toContain(false);
  });

  it("adds a source of the same memory", () => {
    summableView(memory, 20, 0).fill(2);
    summableView(memory, 20, 100).fill(3);
    addInto(summableView(memory, 20, 0), summableView(memory, 20, 100));
    expect(Array.from(summableView(memory, 20))).toEqual(new Array(20).fill(5));
  });

  it("adds vectors longer than the kernel's scratch", () => {
    const length = (1 << 18) + 77;
    const large = allocateSummable(length);
    adoptSummable(large);
    const target = summableView(large, length);
    target.forEach((_, i) => {
      target[i] = i % 1000;
    });
    addInto(
      target,
      Float32Array.from({ length }, (_, i) => i % 7),
    );
    expect(target.every((value, i) => value === (i % 1000) + (i % 7))).toBe(true);
  });

  it("adds in memory that another thread allocated, writes and reads", async () => {
    const thread = new Worker(
      `const { parentPort } = require("node:worker_threads");
       const memory = new WebAssembly.Memory({ initial: 17, maximum: 17, shared: true });
       const values = new Float32Array(memory.buffer, 1 << 20, 100).fill(2);
       parentPort.on("message", () => parentPort.postMessage(Array.from(values)));
       parentPort.postMessage(memory);`,
      { eval: true },
    );
    const [theirs] = (await once(thread, "message")) as [SummableMemory];
    adoptSummable(theirs);
    addInto(summableView(theirs, 100), new Float32Array(100).fill(3));
    thread.postMessage("what have you got?");
    const [seen] = (await once(thread, "message")) as [number[]];
    await thread.terminate();
    expect(seen).toEqual(new Array(100).fill(5));
  });

  it("works in ordinary and in shared memory that nobody adopted", () => {
    for (const target of [new Float32Array(5), new Float32Array(new SharedArrayBuffer(20))]) {
      target.set([1, 2, 3, 4, 5]);
      addInto(target, new Float32Array([10, 20, 30, 40, 50]));
      expect(Array.from(target)).toEqual([11, 22, 33, 44, 55]);
    }
  });

  it("refuses vectors of different length", () => {
    expect(() => addInto(new Float32Array(3), new Float32Array(4))).toThrow(/4 values added to 3/);
  });
});
