/** Files of tensors: safetensors, checkpoints, class Gaussians, .npy and .npz, TensorFlow.js models. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { createMemoryFileSystem } from "../../../src/checkpoint/file-system.js";
import { readFolder, writeFolder } from "../../../src/checkpoint/folder.js";
import { encodeSafetensors, parseSafetensors } from "../../../src/checkpoint/safetensors.js";
import { decodeClassGaussians } from "../../../src/data/class-gaussians.js";
import { readModelFile } from "../../../src/evaluate/foreign/model-file.js";
import { readNpy, readNpz } from "../../../src/evaluate/monitor/npy-read.js";
import { type NumpyArray, npy, npz } from "../../../src/evaluate/npz.js";
import { IsoergError } from "../../../src/util/error.js";
import { contentOf } from "../../checkpoint/content.js";
import type { Target } from "../fuzz.js";
import { parts, whole } from "./parts.js";

const arrays: Readonly<Record<string, NumpyArray>> = {
  images: { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
  labels: { shape: [2], data: Uint8Array.of(1, 2) },
  energies: { shape: [], data: Float64Array.of(1.5) },
};

function matches({ shape, data }: { shape: readonly number[]; data: ArrayLike<unknown> }): void {
  assert.equal(
    data.length,
    shape.reduce((product, length) => product * length, 1),
  );
}

/** As numpy.savez_compressed writes: the stored archive with its one member deflated. */
function deflatedNpz(): Uint8Array {
  const content = npy(arrays.images as NumpyArray);
  const stored = Buffer.from(npz({ images: arrays.images as NumpyArray }));
  const packed = deflateRawSync(content);
  const local = stored.subarray(0, 30 + "images.npy".length);
  const directory = stored.subarray(local.length + content.length, stored.length - 22);
  const end = stored.subarray(stored.length - 22);
  for (const [header, method, size] of [
    [local, 8, 18],
    [directory, 10, 20],
  ] as const) {
    header.writeUInt16LE(8, method);
    header.writeUInt32LE(packed.length, size);
  }
  end.writeUInt32LE(local.length + packed.length, 16);
  return Buffer.concat([local, packed, directory, end]);
}

export function tensorTargets(folder: string): readonly Target[] {
  const modelFolder = join(folder, "model");
  return [
    {
      name: "safetensors",
      kind: "mixed",
      refuses: ["CHECKPOINT"],
      share: 10,
      seeds: () => Object.values(contentOf(7).files).map((tensors) => encodeSafetensors(tensors, { producer: "isoerg" })),
      read(input) {
        const { tensors, metadata } = parseSafetensors(input, "x.safetensors");
        for (const tensor of tensors.values()) matches(tensor);
        const again = parseSafetensors(encodeSafetensors(tensors, metadata), "again");
        assert.deepEqual(new Map([...again.tensors].sort()), new Map([...tensors].sort()));
        assert.deepEqual({ ...again.metadata }, { ...metadata });
      },
    },
    {
      name: "safetensors, its header",
      kind: "json",
      refuses: ["CHECKPOINT"],
      share: 6,
      seeds: () => [
        Buffer.from('{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"U8","shape":[0],"data_offsets":[16,16]}}'),
        Buffer.from('{"__metadata__":{"x":"y"},"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}'),
      ],
      read(input) {
        const length = Buffer.alloc(8);
        length.writeBigUInt64LE(BigInt(input.length));
        const { tensors } = parseSafetensors(Buffer.concat([length, input, Buffer.alloc(16)]), "x.safetensors");
        for (const tensor of tensors.values()) matches(tensor);
        assert.equal(
          [...tensors.values()].reduce((sum, { data }) => sum + data.byteLength, 0),
          16,
        );
      },
    },
    {
      name: "checkpoint folder",
      kind: "mixed",
      refuses: ["CHECKPOINT"],
      share: 8,
      async seeds() {
        const files = await checkpointFiles();
        return files.map(([, bytes], at) => parts(at, bytes));
      },
      async read(input) {
        const sound = await checkpointFiles();
        const { at, bytes } = whole(input, sound.length);
        const [changed, original] = sound[at] as readonly [string, Uint8Array];
        const fileSystem = createMemoryFileSystem();
        for (const [name, content] of sound) await fileSystem.writeFile(`/c/${name}`, [name === changed ? bytes : content]);
        const { files, state } = await readFolder(fileSystem, "/c");
        // What a manifest vouches for is accepted with the very bytes that were written, whatever else was changed.
        const expected = contentOf(7);
        assert.deepEqual(state, expected.state);
        for (const file of ["model", "optimizer", "buffer"] as const) assert.deepEqual(sorted(files[file]), sorted(expected.files[file]));
        if (changed !== "manifest.json") assert.equal(Buffer.compare(bytes, original), 0, `an altered ${changed} was accepted`);
      },
    },
    {
      name: "class Gaussians",
      kind: "bytes",
      refuses: ["DATA"],
      share: 3,
      seeds: () => [new Uint8Array(3 * (12 + 6 + 18) * 4)],
      read(input) {
        const meta = { shape: { height: 2, width: 2, channels: 3 }, numClasses: 2, lowHeight: 1, lowWidth: 1 };
        const { classes, all } = decodeClassGaussians(input, meta);
        for (const component of [...classes, all]) assert.equal(component.mean.length, 12);
      },
    },
    {
      name: ".npy",
      kind: "mixed",
      refuses: ["DATA"],
      share: 8,
      seeds: () => Object.values(arrays).map(npy),
      read(input) {
        const read = readNpy(input, "x.npy");
        if (read === undefined) throw new IsoergError("DATA", "cut off");
        matches(read.array);
        assert(read.length <= input.length);
        const again = readNpy(npy(read.array), "again");
        assert.deepEqual(again?.array, read.array);
      },
    },
    {
      name: ".npz",
      kind: "mixed",
      refuses: ["DATA"],
      share: 8,
      seeds: () => [npz(arrays), npz({ images: arrays.images as NumpyArray }), deflatedNpz()],
      read(input) {
        const read = readNpz(input, "x.npz");
        for (const array of read.values()) matches(array);
        // Members carry a CRC-32: whatever was altered around them, what was accepted is one of the arrays that were written.
        const known = Object.values(arrays).map(({ shape, data }) => JSON.stringify([shape, [...data]]));
        for (const { shape, data } of read.values())
          assert(known.includes(JSON.stringify([shape, [...data]])), "an altered array was accepted");
      },
    },
    {
      name: "TensorFlow.js model.json",
      kind: "json",
      refuses: ["CHECKPOINT"],
      share: 4,
      seeds() {
        mkdirSync(modelFolder, { recursive: true });
        writeFileSync(join(modelFolder, "a.bin"), new Uint8Array(20));
        writeFileSync(join(modelFolder, "b.bin"), new Uint8Array(4));
        writeFileSync(join(folder, "outside.bin"), new Uint8Array(24));
        return ["layers-model", "graph-model"].map((format) =>
          Buffer.from(
            JSON.stringify({
              format,
              modelTopology:
                format === "graph-model" ? { node: [{ name: "x", op: "Placeholder" }] } : { class_name: "Sequential", config: {} },
              weightsManifest: [
                {
                  paths: ["a.bin", "b.bin"],
                  weights: [
                    { name: "k", shape: [2, 2], dtype: "float32" },
                    { name: "q", shape: [8], dtype: "float32", quantization: { dtype: "uint8", scale: 1, min: 0 } },
                  ],
                },
              ],
            }),
          ),
        );
      },
      async read(input) {
        const path = join(modelFolder, "model.json");
        writeFileSync(path, input);
        const { artifacts, format } = await readModelFile(path);
        assert(format === "layers-model" || format === "graph-model");
        assert((artifacts.weightData as ArrayBuffer).byteLength % 4 === 0);
        assert.deepEqual(readdirSync(modelFolder).sort(), ["a.bin", "b.bin", "model.json"]);
        const { weightsManifest } = JSON.parse(readFileSync(path, "utf8")) as { weightsManifest: { paths: string[] }[] };
        for (const shard of weightsManifest.flatMap(({ paths }) => paths)) assert(["a.bin", "b.bin", "model.json"].includes(shard));
      },
    },
  ];
}

let written: Promise<readonly (readonly [string, Uint8Array])[]> | undefined;

/** The files of one sound checkpoint, the manifest last. */
function checkpointFiles(): Promise<readonly (readonly [string, Uint8Array])[]> {
  written ??= (async () => {
    const fileSystem = createMemoryFileSystem();
    await writeFolder(fileSystem, "/c", { step: 7, sequence: 2 }, contentOf(7));
    const names = (await fileSystem.list("/c")).sort();
    return Promise.all(names.map(async (name) => [name, await fileSystem.readFile(`/c/${name}`)] as const));
  })();
  return written;
}

function sorted(tensors: ReadonlyMap<string, unknown>): [string, unknown][] {
  return [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
}
