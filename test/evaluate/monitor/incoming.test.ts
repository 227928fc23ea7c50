/** New images from files, folders and pipes; NumPy's own files; and everything that must not pass for an image. */
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PNG } from "pngjs";
import { describe, expect, it } from "vitest";
import { type Block, inBatches, incoming } from "../../../src/evaluate/monitor/incoming.js";
import { readNpy, readNpz } from "../../../src/evaluate/monitor/npy-read.js";
import { npy, npz } from "../../../src/evaluate/npz.js";
import { packageRoot } from "../../../src/util/package.js";
import { failureOf, temporaryFolder } from "../../data/toy.js";
import { hasPyTorch, pyTorchNote, runPyTorch } from "../../kit/pytorch.js";

const shape = [3, 4, 3] as const;
const SIZE = 36;
const pixels = (count: number, from = 0): Uint8Array => Uint8Array.from({ length: count * SIZE }, (_, i) => (from + i) % 256);
const array = (count: number, from = 0): Uint8Array => npy({ shape: [count, ...shape], data: pixels(count, from) });

async function* pieces(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

async function all(paths: string[], input: AsyncIterable<Uint8Array> = pieces()): Promise<Block[]> {
  const blocks: Block[] = [];
  for await (const block of incoming(paths, { shape, input, followMs: null })) blocks.push(block);
  return blocks;
}

describe.skipIf(!hasPyTorch)(`NumPy's files${pyTorchNote}`, () => {
  const files = hasPyTorch ? (runPyTorch(join(packageRoot, "test/evaluate/monitor/npy_files.py"), {}) as Record<string, string>) : {};
  const bytes = (name: string): Uint8Array => Uint8Array.from(Buffer.from(files[name] ?? "", "base64"));
  const values = Array.from({ length: 72 }, (_, i) => (i * 3) % 256);

  it("are read as they were written", () => {
    expect(readNpy(bytes("npy"), "x")).toEqual({
      array: { shape: [2, 3, 4, 3], data: Uint8Array.from(values) },
      length: bytes("npy").length,
    });
    for (const name of ["float", "double"]) {
      const data = readNpy(bytes(name), "x")?.array.data as Float32Array;
      expect(Array.from(data, (value) => Math.round(value * 255))).toEqual(values);
    }
    for (const name of ["npz", "compressed"]) {
      const members = readNpz(bytes(name), "x");
      expect([...members.keys()]).toEqual(["images", "other"]);
      expect(Array.from(members.get("images")?.data ?? [])).toEqual(values);
    }
  });

  it("of other kinds are refused by name", () => {
    expect(() => readNpy(bytes("fortran"), "a.npy")).toThrow("a.npy: is in Fortran order");
    expect(() => readNpy(bytes("int"), "a.npy")).toThrow("its values are <i8");
    expect(() => readNpz(bytes("compressed").slice(0, -30), "a.npz")).toThrow(/a.npz/);
    const damaged = bytes("compressed");
    damaged.fill(0xff, 60, 90);
    expect(() => readNpz(damaged, "a.npz")).toThrow(/a.npz/);
  });
});

describe("new images", () => {
  it("come from arrays, archives and pictures of a folder, in the order of their names", async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, "b.npy"), array(2, 1));
    writeFileSync(join(folder, "c.npz"), npz({ images: { shape: [1, ...shape], data: pixels(1, 2) } }));
    const png = new PNG({ width: 4, height: 3 });
    png.data.fill(255);
    pixels(1, 9).forEach((value, i) => {
      png.data[Math.floor(i / 3) * 4 + (i % 3)] = value;
    });
    writeFileSync(join(folder, "a.png"), PNG.sync.write(png));
    writeFileSync(join(folder, "notes.txt"), "not an image");
    const blocks = await all([folder]);
    expect(blocks.map(({ from }) => from)).toEqual(["a.png", "b.npy", "c.npz"].map((name) => join(folder, name)));
    expect(blocks.map(({ images }) => images.numImages)).toEqual([1, 2, 1]);
    expect(blocks[0]?.images.data).toEqual(pixels(1, 9));
    expect(blocks[1]?.images.data).toEqual(pixels(2, 1));
  });

  it("come from a pipe of arrays, however it is cut", async () => {
    const whole = Buffer.concat([array(2), array(1, 7), array(3, 30)]);
    for (const size of [1, 50, 10_000]) {
      const parts = Array.from({ length: Math.ceil(whole.length / size) }, (_, i) => whole.subarray(i * size, (i + 1) * size));
      const blocks = await all(["-"], pieces(...parts));
      expect(blocks.map(({ images }) => images.numImages)).toEqual([2, 1, 3]);
      expect(blocks[2]?.images.data).toEqual(pixels(3, 30));
    }
    expect(await failureOf(() => all(["-"], pieces(whole.subarray(0, whole.length - 1))))).toMatchObject({
      message: expect.stringContaining("ended within array 3"),
    });
  });

  it("that appear later in a followed folder are taken once they have stopped growing", async () => {
    const folder = await temporaryFolder();
    mkdirSync(join(folder, "in"));
    const abort = new AbortController();
    const blocks = incoming([join(folder, "in")], { shape, input: pieces(), followMs: 5, signal: abort.signal });
    const next = blocks.next();
    const bytes = array(1);
    writeFileSync(join(folder, "in", "a.npy"), bytes.subarray(0, 40));
    appendFileSync(join(folder, "in", "a.npy"), bytes.subarray(40));
    expect(((await next).value as Block).images.data).toEqual(pixels(1));
    const end = blocks.next();
    abort.abort(new Error("enough"));
    await expect(end).rejects.toThrow("enough");
  });

  it("are cut into batches of one size, and a rest", async () => {
    const blocks = async function* (): AsyncGenerator<Block> {
      yield { from: "a", images: { shape, numImages: 3, data: pixels(3) } };
      yield { from: "b", images: { shape, numImages: 4, data: Float32Array.from(pixels(4, 3 * SIZE), (v) => v / 255) } };
    };
    const found: Block[] = [];
    for await (const batch of inBatches(blocks(), shape, 2)) found.push(batch);
    expect(found.map(({ from, images }) => [from, images.numImages])).toEqual([
      ["a", 2],
      ["a", 2],
      ["b", 2],
      ["b", 1],
    ]);
    const together = found.flatMap(({ images }) => Array.from(images.data, (value) => Math.round(value * 255)));
    expect(together).toEqual(Array.from(pixels(7)));
  });

  it.each([
    ["a.npy", npy({ shape: [1, 4, 3, 3], data: pixels(1) }), /images are 4x3x3, the reference is of 3x4x3/],
    ["a.npy", npy({ shape: [1, ...shape], data: Float32Array.from(pixels(1)) }), /has the pixel/],
    ["a.npy", npy({ shape: [36], data: pixels(1) }), /has the axes \[36\]/],
    ["a.npy", Buffer.from("text"), /is no .npy array/],
    [
      "a.npz",
      npz({ x: { shape: [1], data: pixels(1).slice(0, 1) }, y: { shape: [1], data: pixels(1).slice(0, 1) } }),
      /has no array 'images'/,
    ],
    ["a.png", Buffer.from("text"), /is no PNG/],
    ["a.jpg", Buffer.from("text"), /is neither .png, .npy nor .npz/],
  ])("of %s that do not fit are refused", async (name, bytes, message) => {
    const path = join(await temporaryFolder(), name);
    writeFileSync(path, bytes);
    expect(await failureOf(() => all([path]))).toMatchObject({ message: expect.stringMatching(message) });
  });
});
