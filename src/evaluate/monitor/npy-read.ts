/**
 * Reads what NumPy writes: .npy (formats 1 to 3), several of them one after the other (a pipe of np.save calls), and .npz, stored or
 * deflated. Only what images need: unsigned bytes and floats, little-endian, in C order. Follows numpy.lib.format and APPNOTE 4.3.
 *
 * Input is untrusted: every length is checked against the bytes that are there, each member of an .npz against its CRC-32, and what an
 * archive may grow to is limited.
 */
import { inflateRawSync } from "node:zlib";
import { crc32 } from "../../util/crc32.js";
import { IsoergError } from "../../util/error.js";

export interface ReadArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array | Float32Array | Float64Array;
}

const MAGIC = "\x93NUMPY";
const MAX_VALUES = 2 ** 31;
/** Of all members of an .npz together: a few KiB of deflated zeros must not become gigabytes. */
const MAX_NPZ_BYTES = 2 ** 31;
const WIDTHS: ReadonlyMap<string, number> = new Map([
  ["|u1", 1],
  ["<f4", 4],
  ["<f8", 8],
]);

/** The first array of some bytes and how many it took; undefined where more bytes are needed. @throws IsoergError DATA */
export function readNpy(bytes: Uint8Array, where: string): { array: ReadArray; length: number } | undefined {
  const wrong = (problem: string): IsoergError =>
    new IsoergError("DATA", `${where}: ${problem}`, { hint: "Write images with numpy.save: uint8, or float32 in [0,1], [n,H,W,C]." });
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < 10)
    return buffer.toString("latin1", 0, 6) === MAGIC.slice(0, Math.min(6, buffer.length)) ? undefined : raise(wrong("is no .npy array"));
  if (buffer.toString("latin1", 0, 6) !== MAGIC) throw wrong("is no .npy array");
  const isLong = (buffer[6] as number) >= 2;
  if (isLong && buffer.length < 12) return undefined;
  const headerLength = isLong ? buffer.readUInt32LE(8) : buffer.readUInt16LE(8);
  const begin = (isLong ? 12 : 10) + headerLength;
  if (headerLength > 65_536) throw wrong(`its header has ${headerLength} bytes`);
  if (buffer.length < begin) return undefined;
  const header = buffer.toString("latin1", isLong ? 12 : 10, begin);
  const type = /'descr':\s*'([^']+)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const sizes = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (type === undefined || order === undefined || sizes === undefined) throw wrong("its header can't be understood");
  if (order === "True") throw wrong("is in Fortran order");
  const shape = sizes
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "")
    .map((word) => (/^\d+$/.test(word) ? Number(word) : Number.NaN));
  const count = shape.reduce((product, length) => product * length, 1);
  if (shape.some((length) => !Number.isSafeInteger(length) || length < 0) || !(count <= MAX_VALUES)) throw wrong(`has shape (${sizes})`);
  const width = WIDTHS.get(type);
  if (width === undefined) throw wrong(`its values are ${type}; uint8, float32 and float64 are read`);
  const end = begin + count * width;
  if (buffer.length < end) return undefined;
  const copy = Uint8Array.from(buffer.subarray(begin, end)); // aligned
  const data = type === "|u1" ? copy : type === "<f4" ? new Float32Array(copy.buffer) : new Float64Array(copy.buffer);
  return { array: { shape, data }, length: end };
}

/** The members of an .npz by name, without `.npy`. @throws IsoergError DATA */
export function readNpz(bytes: Uint8Array, where: string): Map<string, ReadArray> {
  const wrong = (problem: string): IsoergError => new IsoergError("DATA", `${where}: ${problem}`, { hint: "Write it with numpy.savez." });
  const zip = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = zip.lastIndexOf("PK\x05\x06", undefined, "latin1");
  if (end < 0 || end + 22 > zip.length) throw wrong("is no .npz file, or was cut off");
  const arrays = new Map<string, ReadArray>();
  let room = MAX_NPZ_BYTES;
  let at = zip.readUInt32LE(end + 16);
  for (let i = zip.readUInt16LE(end + 10); i > 0; i--) {
    if (at + 46 > zip.length || zip.toString("latin1", at, at + 4) !== "PK\x01\x02") throw wrong("its directory is damaged");
    const method = zip.readUInt16LE(at + 10);
    const checksum = zip.readUInt32LE(at + 16);
    const size = zip.readUInt32LE(at + 20);
    const fullSize = zip.readUInt32LE(at + 24);
    const nameLength = zip.readUInt16LE(at + 28);
    const name = zip.toString("utf8", at + 46, at + 46 + nameLength);
    const local = zip.readUInt32LE(at + 42);
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
    if (local + 30 > zip.length) throw wrong(`member '${name}' lies outside the file`);
    const from = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    if (from + size > zip.length) throw wrong(`member '${name}' is cut off (files above 4 GiB are not read)`);
    const packed = zip.subarray(from, from + size);
    if (method !== 0 && method !== 8) throw wrong(`member '${name}' is packed by method ${method}`);
    room -= fullSize;
    if (room < 0) throw wrong(`its members take more than ${MAX_NPZ_BYTES / 2 ** 30} GiB`);
    let content: Uint8Array = packed;
    if (method === 8) {
      try {
        content = inflateRawSync(packed, { maxOutputLength: Math.max(1, fullSize) });
      } catch (cause) {
        throw new IsoergError("DATA", `${where}: member '${name}' is damaged`, { cause });
      }
    }
    if (content.length !== fullSize || crc32(content) !== checksum) throw wrong(`member '${name}' is damaged: its checksum differs`);
    const read = readNpy(content, `${where}, member '${name}'`);
    if (!read) throw wrong(`member '${name}' is cut off`);
    arrays.set(name.replace(/\.npy$/, ""), read.array);
  }
  return arrays;
}

function raise(error: Error): never {
  throw error;
}
