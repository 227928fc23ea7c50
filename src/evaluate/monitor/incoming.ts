/**
 * New images from wherever they come: PNG files, .npy and .npz arrays, folders of those, prepared data sets, or a pipe of .npy arrays on
 * standard input. They come as blocks in the order of their names; `inBatches` cuts them into batches of one size.
 *
 * Every image must have the reference's shape: a monitor that resized silently would measure its own resizing.
 */
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PNG } from "pngjs";
import { openDataset } from "../../data/dataset.js";
import { MANIFEST_FILE } from "../../data/manifest.js";
import { IsoergError } from "../../util/error.js";
import type { Images } from "../passes.js";
import { type ReadArray, readNpy, readNpz } from "./npy-read.js";

export type Shape = readonly [number, number, number];

/** Images with the name of what they came from. */
export interface Block {
  readonly from: string;
  readonly images: Images;
}

export interface IncomingOptions {
  readonly shape: Shape;
  /** For `-`. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Keep looking into folders for new files, so often; null to end with what is there. */
  readonly followMs: number | null;
  readonly signal?: AbortSignal;
}

/** @param paths files, folders, or "-". @throws IsoergError DATA or USAGE that names the file. */
export async function* incoming(paths: readonly string[], options: IncomingOptions): AsyncGenerator<Block> {
  const folders: string[] = [];
  for (const path of paths) {
    options.signal?.throwIfAborted();
    if (path === "-") yield* fromPipe(options);
    else {
      const found = await stat(path).catch(() => undefined);
      if (!found) throw new IsoergError("USAGE", `there is no ${path}`);
      if (!found.isDirectory()) yield await fromFile(path, options.shape);
      else if (existsSync(join(path, MANIFEST_FILE))) yield* fromDataset(path, options.shape);
      else folders.push(path);
    }
  }
  const seen = new Set<string>();
  for (const folder of folders) {
    const files = await filesOf(folder);
    if (files.length === 0 && options.followMs === null) {
      throw new IsoergError("DATA", `${folder} holds no images`, {
        hint: "Put .png, .npy or .npz files there, or name a prepared data set.",
      });
    }
    for (const file of files) {
      seen.add(file);
      yield await fromFile(file, options.shape);
    }
  }
  if (options.followMs === null || folders.length === 0) return;
  const sizes = new Map<string, number>();
  for (;;) {
    await sleep(options.followMs, undefined, options.signal ? { signal: options.signal } : {}).catch(() => undefined);
    options.signal?.throwIfAborted();
    for (const folder of folders) {
      for (const file of await filesOf(folder)) {
        if (seen.has(file)) continue;
        // A file that still grows is left until it has the same size at two looks.
        const { size } = await stat(file);
        if (sizes.get(file) !== size) sizes.set(file, size);
        else {
          seen.add(file);
          sizes.delete(file);
          yield await fromFile(file, options.shape);
        }
      }
    }
  }
}

async function filesOf(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names
    .filter((name) => /\.(png|npy|npz)$/i.test(name))
    .sort()
    .map((name) => join(folder, name));
}

async function fromFile(path: string, shape: Shape): Promise<Block> {
  const bytes = await readFile(path);
  if (/\.png$/i.test(path)) return { from: path, images: pngImage(bytes, path, shape) };
  if (/\.npz$/i.test(path)) {
    const arrays = readNpz(bytes, path);
    const array = arrays.get("images") ?? (arrays.size === 1 ? [...arrays.values()][0] : undefined);
    if (!array) throw new IsoergError("DATA", `${path} has no array 'images'`, { hint: `It has: ${[...arrays.keys()].join(", ")}.` });
    return { from: path, images: imagesOfArray(array, path, shape) };
  }
  if (!/\.npy$/i.test(path)) throw new IsoergError("USAGE", `${path} is neither .png, .npy nor .npz`);
  const read = readNpy(bytes, path);
  if (!read) throw new IsoergError("DATA", `${path} was cut off`);
  return { from: path, images: imagesOfArray(read.array, path, shape) };
}

async function* fromPipe({ input, shape }: IncomingOptions): AsyncGenerator<Block> {
  let pending: Buffer = Buffer.alloc(0);
  let count = 0;
  for await (const piece of input) {
    pending = pending.length === 0 ? Buffer.from(piece) : Buffer.concat([pending, piece]);
    for (let read = next(); read; read = next()) yield read;
  }
  if (pending.length > 0) throw new IsoergError("DATA", `standard input ended within array ${count + 1}`);

  function next(): Block | undefined {
    if (pending.length === 0) return undefined;
    const from = `standard input, array ${count + 1}`;
    const read = readNpy(pending, from);
    if (!read) return undefined;
    pending = pending.subarray(read.length);
    count++;
    return { from, images: imagesOfArray(read.array, from, shape) };
  }
}

const DATASET_BLOCK = 1000;

async function* fromDataset(folder: string, shape: Shape): AsyncGenerator<Block> {
  await using data = await openDataset(folder, "test");
  checkShape([data.shape.height, data.shape.width, data.shape.channels], shape, folder);
  for (let first = 0; first < data.numSamples; first += DATASET_BLOCK) {
    const count = Math.min(DATASET_BLOCK, data.numSamples - first);
    const { images } = await data.read(Uint32Array.from({ length: count }, (_, i) => first + i));
    yield { from: `${folder}, test samples from ${first}`, images: { shape, numImages: count, data: images } };
  }
}

function pngImage(bytes: Buffer, path: string, shape: Shape): Images {
  let png: PNG;
  try {
    png = PNG.sync.read(bytes);
  } catch (cause) {
    throw new IsoergError("DATA", `${path} is no PNG, or is damaged`, { cause });
  }
  const [height, width, channels] = shape;
  checkShape([png.height, png.width, channels], shape, path);
  const data = new Uint8Array(height * width * channels);
  for (let i = 0; i < height * width; i++) {
    // Four bytes a pixel whatever the file's kind; grey files have three equal ones.
    for (let c = 0; c < channels; c++) data[i * channels + c] = png.data[i * 4 + c] as number;
  }
  return { shape, numImages: 1, data };
}

function imagesOfArray({ shape: found, data }: ReadArray, where: string, shape: Shape): Images {
  const one = found.length === 3;
  const [numImages, ...rest] = one ? [1, ...found] : found;
  if (numImages === undefined || rest.length !== 3) {
    throw new IsoergError("DATA", `${where} has the axes [${found}]`, { hint: "Images are [n,H,W,C], or [H,W,C] for one." });
  }
  checkShape(rest as unknown as Shape, shape, where);
  if (data instanceof Uint8Array) return { shape, numImages, data };
  const values = data instanceof Float32Array ? data : Float32Array.from(data);
  const outside = values.find((value) => !(value >= -1e-4 && value <= 1 + 1e-4));
  if (outside !== undefined) {
    throw new IsoergError("DATA", `${where} has the pixel ${outside}`, {
      hint: "Floats are in [0,1]; values up to 255 are written as uint8.",
    });
  }
  return { shape, numImages, data: values };
}

function checkShape(found: Shape, wanted: Shape, where: string): void {
  if (found.every((length, i) => length === wanted[i])) return;
  throw new IsoergError("DATA", `${where}: images are ${found.join("x")}, the reference is of ${wanted.join("x")}`, {
    hint: "Bring new data to the shape that the model was analysed with, by the same code.",
  });
}

/** Batches of exactly `size` images as float32, then what is left over, with the name of what their first image came from. */
export async function* inBatches(blocks: AsyncIterable<Block>, shape: Shape, size: number): AsyncGenerator<Block> {
  const imageSize = shape[0] * shape[1] * shape[2];
  let data = new Float32Array(size * imageSize);
  let filled = 0;
  let first = "";
  for await (const { from, images } of blocks) {
    const unit = images.data instanceof Uint8Array ? 1 / 255 : 1;
    for (let i = 0; i < images.numImages; i++) {
      if (filled === 0) first = from;
      for (let p = 0; p < imageSize; p++) data[filled * imageSize + p] = (images.data[i * imageSize + p] as number) * unit;
      if (++filled < size) continue;
      yield { from: first, images: { shape, numImages: size, data } };
      data = new Float32Array(size * imageSize);
      filled = 0;
    }
  }
  if (filled > 0) yield { from: first, images: { shape, numImages: filled, data: data.subarray(0, filled * imageSize) } };
}
