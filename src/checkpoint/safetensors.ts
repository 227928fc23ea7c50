/**
 * Reads and writes safetensors, the format in which a run's tensors leave this program: 8 bytes little-endian length of the
 * header, the header as JSON ({name: {dtype, shape, data_offsets}} and `__metadata__`), then the tensors' bytes end to end.
 *
 * A file is untrusted input. What the published format forbids is refused by name: a header over 100 MB, a key twice, offsets
 * out of bounds, overlaps, holes, sizes that contradict the shape. Tensors are little-endian, as every machine that runs this.
 * Follows https://github.com/huggingface/safetensors (README, "Format"; order and padding as its own writer's).
 */
import { IsoergError, invariant } from "../util/error.js";

const MAX_HEADER_BYTES = 100_000_000; // the reference implementation's limit

/** Host memory by dtype. F16 and BF16 stay bit patterns; BOOL is a byte. */
const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

export type Dtype = keyof typeof ARRAYS;
/** Over any memory, shared memory included. */
export type HostArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

export interface HostTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Row-major; as long as the product of `shape`. */
  readonly data: HostArray;
}

/** Tensors by name, in the order of the file. */
export type Tensors = ReadonlyMap<string, HostTensor>;

export interface SafetensorsFile {
  readonly tensors: Tensors;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * The pieces of a file, in order: the header, then views of the tensors' own memory. Nothing is copied, so the tensors
 * must not change until the pieces are written. Larger elements come first, so that every tensor is aligned.
 */
export function safetensorsPieces(tensors: Tensors, metadata: Readonly<Record<string, string>> = {}): Uint8Array[] {
  const ordered = [...tensors].sort(([a, x], [b, y]) => elementBytes(y.dtype) - elementBytes(x.dtype) || (a < b ? -1 : 1));
  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [["__metadata__", metadata]] : [];
  const pieces: Uint8Array[] = [];
  let offset = 0;
  for (const [name, tensor] of ordered) {
    invariant(name !== "__metadata__", "a tensor may not be called __metadata__");
    invariant(
      tensor.data instanceof ARRAYS[tensor.dtype],
      `tensor ${name} says ${tensor.dtype} but holds a ${tensor.data.constructor.name}`,
    );
    invariant(tensor.data.length === product(tensor.shape), `tensor ${name} has ${tensor.data.length} values for shape [${tensor.shape}]`);
    const end = offset + tensor.data.byteLength;
    entries.push([name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] }]);
    pieces.push(new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength));
    offset = end;
  }
  // Written by hand, because an object literal would move names like "1" to the front and lose "__proto__".
  const json = `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`;
  const body = new TextEncoder().encode(json);
  invariant(body.length <= MAX_HEADER_BYTES, "the header of a safetensors file would exceed 100 MB");
  const header = new Uint8Array(8 + Math.ceil(body.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(body, 8);
  return [header, ...pieces];
}

/** One contiguous file, for tests and small exports. */
export function encodeSafetensors(tensors: Tensors, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const pieces = safetensorsPieces(tensors, metadata);
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * Parses a whole file. Tensors are views of `bytes` where they happen to be aligned, copies where not.
 * @param where names the file in errors.
 * @throws IsoergError CHECKPOINT for anything the format forbids.
 */
export function parseSafetensors(bytes: Uint8Array, where: string): SafetensorsFile {
  const refuse = (what: string, cause?: unknown): IsoergError =>
    new IsoergError("CHECKPOINT", `${where}: not a valid safetensors file: ${what}`, {
      hint: "The file is torn, altered or of another format. Use another checkpoint, or copy the file again from where it came.",
      cause,
    });
  if (bytes.length < 8) throw refuse(`${bytes.length} bytes are too few for a header`);
  const headerBytes = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (headerBytes > BigInt(MAX_HEADER_BYTES)) throw refuse(`its header claims ${headerBytes} bytes, the limit is ${MAX_HEADER_BYTES}`);
  const dataStart = 8 + Number(headerBytes);
  if (dataStart > bytes.length) throw refuse(`its header claims ${headerBytes} bytes, the file has ${bytes.length - 8} after the length`);
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, dataStart));
    header = JSON.parse(text);
  } catch (cause) {
    throw refuse("its header is not JSON in UTF-8", cause);
  }
  if (!text.startsWith("{") || !isRecord(header)) throw refuse("its header is not a JSON object");
  const repeated = repeatedKey(text);
  if (repeated !== undefined) throw refuse(`its header names '${repeated}' twice`);

  let metadata: Record<string, string> = {};
  const entries: { name: string; dtype: Dtype; shape: number[]; from: number; to: number }[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") {
      if (!isRecord(value) || !Object.values(value).every((text) => typeof text === "string"))
        throw refuse("__metadata__ is not a map of strings");
      metadata = value as Record<string, string>;
      continue;
    }
    entries.push({ name, ...entryOf(name, value, refuse) });
  }
  // The tensors must tile the data: sorted by where they begin, each starts where the one before it ended.
  const byOffset = [...entries].sort((a, b) => a.from - b.from || a.to - b.to);
  let end = 0;
  for (const { name, from, to } of byOffset) {
    if (from < end) throw refuse(`tensor '${name}' overlaps another at byte ${from}`);
    if (from > end) throw refuse(`bytes ${end} to ${from} belong to no tensor`);
    end = to;
  }
  if (dataStart + end > bytes.length) throw refuse(`it ends ${dataStart + end - bytes.length} bytes early`);
  if (dataStart + end < bytes.length) throw refuse(`${bytes.length - dataStart - end} bytes follow its last tensor`);

  const tensors = new Map<string, HostTensor>();
  for (const { name, dtype, shape, from, to } of entries) {
    tensors.set(name, { dtype, shape, data: viewOf(bytes, dtype, dataStart + from, to - from) });
  }
  return { tensors, metadata };
}

function entryOf(
  name: string,
  value: unknown,
  refuse: (what: string) => IsoergError,
): { dtype: Dtype; shape: number[]; from: number; to: number } {
  if (!isRecord(value)) throw refuse(`the entry of tensor '${name}' is not an object`);
  const { dtype, shape, data_offsets: offsets, ...others } = value;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) throw refuse(`the entry of tensor '${name}' has an unknown field '${unknown}'`);
  if (typeof dtype !== "string" || !Object.hasOwn(ARRAYS, dtype))
    throw refuse(`tensor '${name}' has an unknown dtype ${JSON.stringify(dtype)}`);
  if (!isCounts(shape)) throw refuse(`tensor '${name}' has a shape that is not a list of counts`);
  if (!isCounts(offsets) || offsets.length !== 2) throw refuse(`tensor '${name}' has data_offsets that are not two counts`);
  const [from, to] = offsets as [number, number];
  const sizeBytes = product(shape) * elementBytes(dtype as Dtype);
  if (!Number.isSafeInteger(sizeBytes)) throw refuse(`tensor '${name}' has a shape too large to count`);
  if (to - from !== sizeBytes)
    throw refuse(`tensor '${name}' is ${dtype} [${shape}], which takes ${sizeBytes} bytes, but its offsets span ${to - from}`);
  return { dtype: dtype as Dtype, shape, from, to };
}

function viewOf(bytes: Uint8Array, dtype: Dtype, from: number, sizeBytes: number): HostArray {
  const array = ARRAYS[dtype];
  const at = bytes.byteOffset + from;
  if (at % array.BYTES_PER_ELEMENT === 0) return new array(bytes.buffer as ArrayBuffer, at, sizeBytes / array.BYTES_PER_ELEMENT);
  return new array(new Uint8Array(bytes.subarray(from, from + sizeBytes)).buffer);
}

/** JSON.parse keeps the last of two equal keys silently; the format forbids them. Finds one, at the object's first level. */
function repeatedKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (const match of json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g)) {
    const token = match[0];
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (depth === 1 && match[1] !== undefined) {
      const key = JSON.parse(token.slice(0, token.length - match[1].length)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function elementBytes(dtype: Dtype): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT;
}

function product(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
