/** Samples ahead of their step: put together in order, held back when enough wait, refused when they are not what is due. */
import { once } from "node:events";
import { Readable } from "node:stream";
import type { ClientReadableStream } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import type { SampleBlock, SampleBlocks } from "../../src/wire/messages.js";
import { Prefetch } from "../../src/worker/prefetch.js";

/** A block of one-byte images: sample `id` has image `id` and label `id % 7`. */
function block(step: number, ids: number[], options: { from?: number; position?: number; to?: number; wide?: boolean } = {}): SampleBlock {
  const { from = 0, position = from, to = from + ids.length, wide = false } = options;
  const labels = wide ? new Uint8Array(Uint16Array.from(ids, (id) => 300 + id).buffer) : Uint8Array.from(ids, (id) => id % 7);
  return { step, epoch: 0, batchSize: 99, sliceFrom: from, sliceTo: to, position, ids, labels, images: Uint8Array.from(ids) };
}

function streamOf(messages: Iterable<SampleBlocks>): { stream: ClientReadableStream<SampleBlocks>; taken: () => number } {
  let taken = 0;
  const counted = function* (): Generator<SampleBlocks> {
    for (const message of messages) {
      taken++;
      yield message;
    }
  };
  const readable = Readable.from(counted(), { objectMode: true, highWaterMark: 1 });
  const stream = Object.assign(readable, { cancel: () => readable.destroy(), getPeer: () => "" });
  return { stream: stream as unknown as ClientReadableStream<SampleBlocks>, taken: () => taken };
}

describe("prefetch", () => {
  test("slices come in order, whether several share a message or one needs several", async () => {
    const { stream } = streamOf([
      { blocks: [block(3, [5, 6], { from: 4, to: 8 })] },
      { blocks: [block(3, [7, 8], { from: 4, to: 8, position: 6 }), block(4, [1], { from: 4 }), block(5, [], { from: 2 })] },
    ]);
    const prefetch = new Prefetch(stream);
    const first = await prefetch.next();
    expect(first).toMatchObject({ step: 3, batchSize: 99, positions: { from: 4, to: 8 } });
    expect([[...first.ids], [...first.labels], [...first.images]]).toEqual([
      [5, 6, 7, 8],
      [5, 6, 0, 1],
      [5, 6, 7, 8],
    ]);
    expect(first.images.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect([...(await prefetch.next()).ids]).toEqual([1]);
    const empty = await prefetch.next();
    expect([empty.step, empty.ids.length, empty.images.length]).toEqual([5, 0, 0]);
    await expect(prefetch.next()).rejects.toThrow("ended before the last step");
  });

  test("labels of more than 256 classes take two bytes", async () => {
    const prefetch = new Prefetch(streamOf([{ blocks: [block(0, [1, 2], { wide: true })] }]).stream);
    expect([...(await prefetch.next()).labels]).toEqual([301, 302]);
  });

  test("reading pauses while enough slices wait, and goes on when one is taken", async () => {
    const { stream, taken } = streamOf(
      (function* () {
        for (let step = 0; step < 50; step++) yield { blocks: [block(step, [step])] };
      })(),
    );
    const prefetch = new Prefetch(stream);
    await once(stream, "pause");
    const before = taken();
    expect(before).toBeLessThan(10);
    for (let step = 0; step < 50; step++) {
      const { ids } = await prefetch.next();
      expect([...ids]).toEqual([step]); // also where memory is used again
    }
    expect(taken()).toBe(50);
  });

  test("samples of another place than the one that is due are refused", async () => {
    const prefetch = new Prefetch(streamOf([{ blocks: [block(3, [5], { to: 3 }), block(3, [6], { to: 3, position: 2 })] }]).stream);
    await expect(prefetch.next()).rejects.toThrow("samples of step 3, position 2 came where step 3 was being filled");
  });

  test("closing ends a wait", async () => {
    const readable = new Readable({ objectMode: true, read() {} });
    const prefetch = new Prefetch(
      Object.assign(readable, { cancel: () => readable.destroy() }) as unknown as ClientReadableStream<SampleBlocks>,
    );
    const waiting = prefetch.next();
    prefetch.close();
    await expect(waiting).rejects.toThrow("the generation is over");
  });
});
