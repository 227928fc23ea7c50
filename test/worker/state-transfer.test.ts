/** State cut into blocks and put together again is the same state; what does not fit is refused. */

import { describe, expect, test } from "vitest";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import { StateAssembly } from "../../src/coordinator/assembly.js";
import { slice } from "../../src/data/plan.js";
import type { StateBlock } from "../../src/wire/messages.js";
import { stateBlocks } from "../../src/worker/state-transfer.js";
import * as fc from "../kit/property.js";

const options = (rank: number) => ({ generation: 1, rank, step: 5 });

/** Each worker's rows of a buffer of so many positions. */
function partsOf(rank: number, worldSize: number, numRows: number): StatePart[] {
  const { from, to } = slice(numRows, rank, Array(worldSize).fill(1));
  const data = Float32Array.from({ length: (to - from) * 3 }, (_, i) => from * 3 + i);
  return [{ file: "buffer", tensor: "chains", dtype: "F32", shape: [numRows, 3], row: from, data }];
}

describe("state on its way to a checkpoint", () => {
  test("rows of any number of workers, in any order, become one tensor", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.nat(20), fc.infiniteStream(fc.nat()), (worldSize, numRows, order) => {
        const blocks = Array.from({ length: worldSize }, (_, rank) =>
          [...stateBlocks(partsOf(rank, worldSize, numRows), options(rank))].slice(1),
        ).flat();
        const assembly = new StateAssembly();
        while (blocks.length > 0) assembly.add(blocks.splice((order.next().value as number) % blocks.length, 1)[0] as StateBlock);
        const tensor = assembly.content({}).files.buffer.get("chains");
        expect(tensor?.shape).toEqual([numRows, 3]);
        expect(tensor?.data).toEqual(Float32Array.from({ length: 3 * numRows }, (_, i) => i));
      }),
    );
  });

  test("a tensor larger than a block goes in several, a scalar and an empty one in one", () => {
    const large = new Float32Array(600_000).fill(1.5);
    const parts: StatePart[] = [
      { file: "model", tensor: "large", dtype: "F32", shape: [600, 1000], row: 0, data: large },
      { file: "optimizer", tensor: "count", dtype: "I32", shape: [], row: 0, data: Int32Array.of(7) },
      { file: "buffer", tensor: "none", dtype: "U8", shape: [0, 4], row: 0, data: new Uint8Array(0) },
    ];
    const blocks = [...stateBlocks(parts, options(0))];
    expect(blocks.map(({ tensor }) => tensor)).toEqual(["", "large", "large", "large", "count", "none"]);
    const assembly = new StateAssembly();
    for (const block of blocks.slice(1)) assembly.add(block);
    const { files } = assembly.content({});
    expect(Buffer.from(files.model.get("large")?.data.buffer as ArrayBuffer).equals(Buffer.from(large.buffer))).toBe(true);
    expect(files.optimizer.get("count")?.data).toEqual(Int32Array.of(7));
    expect(files.buffer.get("none")?.data).toHaveLength(0);
  });

  test("an announced size takes no memory before its bytes are there", () => {
    const [, block] = [...stateBlocks(partsOf(0, 2, 4), options(0))] as [StateBlock, StateBlock];
    const before = process.memoryUsage().arrayBuffers;
    const assembly = new StateAssembly();
    assembly.add({ ...block, shape: [2 ** 29, 3], offset: 2 ** 32 });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 24);
    expect(() => assembly.content({})).toThrow(`no worker sent the bytes from 0 on (of ${12 * 2 ** 29})`);
  });

  test("a hole, a contradiction and bytes beyond the end are named", () => {
    const [, block] = [...stateBlocks(partsOf(0, 2, 4), options(0))] as [StateBlock, StateBlock];
    const assembly = new StateAssembly();
    assembly.add(block);
    expect(() => assembly.content({})).toThrow("buffer/chains: no worker sent the bytes from 24 on (of 48)");
    expect(() => assembly.add({ ...block, shape: [5, 3] })).toThrow(/rank 0: buffer\/chains: F32 \[5,3\] contradicts F32 \[4,3\]/);
    expect(() => assembly.add({ ...block, offset: 40 })).toThrow(/bytes to 64 of 48/);
    expect(() => assembly.add({ ...block, file: "../etc" })).toThrow(/there is no such file/);
  });
});
