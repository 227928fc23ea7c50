/** A worker's part of a checkpoint, cut into blocks for the wire, and put together again from them. */
import type { Client, ClientReadableStream } from "@grpc/grpc-js";
import type { StatePart } from "../checkpoint/state-part.js";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import { callClientStream, networkError } from "../wire/client.js";
import type { StateBlock } from "../wire/messages.js";
import { BLOCK_BYTES, coordination } from "../wire/proto.js";

export interface SaveOptions {
  readonly generation: number;
  readonly rank: number;
  readonly step: number;
}

/** Sends the parts. `model` and `optimizer` are the same everywhere: rank 0 alone sends them. */
export async function sendState(client: Client, parts: readonly StatePart[], options: SaveOptions): Promise<void> {
  const own = parts.filter(({ file }) => file === "buffer" || options.rank === 0);
  await callClientStream(client, coordination.saveState, stateBlocks(own, options));
}

/** The first block names step and worker and holds nothing, so that a worker without a part says so. */
export function* stateBlocks(parts: readonly StatePart[], { generation, rank, step }: SaveOptions): Generator<StateBlock> {
  const head = { generation, rank, step };
  yield { ...head, file: "", tensor: "", dtype: "", shape: [], offset: 0, data: new Uint8Array(0) };
  for (const { file, tensor, dtype, shape, row, data } of parts) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const begin = row * rowBytes(shape, data.BYTES_PER_ELEMENT);
    for (let at = 0; at === 0 || at < bytes.length; at += BLOCK_BYTES) {
      yield { ...head, file, tensor, dtype, shape, offset: begin + at, data: bytes.subarray(at, at + BLOCK_BYTES) };
    }
  }
}

interface Receiving {
  readonly part: StatePart;
  readonly bytes: Uint8Array;
  /** Where `bytes` begins in the tensor. */
  readonly begin: number;
  readonly perRow: number;
  covered: [from: number, to: number][];
}

/**
 * Puts the blocks of a stream together. Tensors of model and optimizer must come whole; of the buffer whatever rows came within
 * `rows` are returned. @throws IsoergError NETWORK, PROTOCOL, or the signal's reason
 */
export async function receiveParts(call: ClientReadableStream<StateBlock>, rows: Range, signal: AbortSignal): Promise<StatePart[]> {
  const tensors = new Map<string, Receiving>();
  const cancel = (): void => call.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    for await (const block of call as AsyncIterable<StateBlock>) {
      if (block.tensor === "") continue;
      const key = `${block.file}/${block.tensor}`;
      const entry = tensors.get(key) ?? beginPart(block, rows);
      tensors.set(key, entry);
      const at = block.offset - entry.begin;
      if (at < 0 || at + block.data.length > entry.bytes.length) throw new IsoergError("PROTOCOL", `bytes beyond the end of ${key}`);
      entry.bytes.set(block.data, at);
      entry.covered.push([at, at + block.data.length]);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw networkError(error as Error);
  } finally {
    signal.removeEventListener("abort", cancel);
  }
  signal.throwIfAborted();
  return [...tensors].flatMap(([key, entry]) => finishPart(key, entry));
}

/** The contiguous pieces that came, in whole rows. */
function finishPart(key: string, { part, bytes, perRow, covered }: Receiving): StatePart[] {
  const pieces: [number, number][] = [];
  for (const [from, to] of covered.sort(([a], [b]) => a - b)) {
    const last = pieces.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else pieces.push([from, to]);
  }
  if (part.file !== "buffer") {
    const numBytes = pieces.reduce((sum, [from, to]) => sum + to - from, 0);
    if (numBytes !== bytes.length) throw new IsoergError("PROTOCOL", `${key} came with ${numBytes} of ${bytes.length} bytes`);
    return [part];
  }
  return pieces.flatMap(([from, to]) => {
    const [first, end] = [Math.ceil(from / perRow), Math.floor(to / perRow)];
    const size = part.data.BYTES_PER_ELEMENT;
    const data = part.data.subarray((first * perRow) / size, (end * perRow) / size);
    return end > first ? [{ ...part, row: part.row + first, data }] : [];
  });
}

/** Of one tensor; larger ones are not believed before they are there. */
const MAX_TENSOR_BYTES = 2 ** 33;

const ARRAYS = { F32: Float32Array, I32: Int32Array, U8: Uint8Array } as const;

function beginPart(block: StateBlock, positions: Range): Receiving {
  const { file, tensor, dtype, shape } = block;
  if ((file !== "model" && file !== "optimizer" && file !== "buffer") || !(dtype === "F32" || dtype === "I32" || dtype === "U8")) {
    throw new IsoergError("PROTOCOL", `a tensor ${file}/${tensor} of dtype ${dtype} came`);
  }
  const HostArray = ARRAYS[dtype];
  const perRow = rowBytes(shape, HostArray.BYTES_PER_ELEMENT);
  const numRows = shape[0] ?? 1;
  const rows =
    file === "buffer" ? { from: Math.min(positions.from, numRows), to: Math.min(positions.to, numRows) } : { from: 0, to: numRows };
  const sizeBytes = perRow * (rows.to - rows.from);
  if (!(sizeBytes <= MAX_TENSOR_BYTES)) throw new IsoergError("PROTOCOL", `a tensor ${file}/${tensor} of ${sizeBytes} bytes came`);
  const data = new HostArray(sizeBytes / HostArray.BYTES_PER_ELEMENT);
  const part: StatePart = { file, tensor, dtype, shape, row: rows.from, data };
  return { part, bytes: new Uint8Array(data.buffer), begin: perRow * rows.from, perRow, covered: [] };
}

function rowBytes(shape: readonly number[], elementBytes: number): number {
  return shape.slice(1).reduce((product, size) => product * size, elementBytes);
}
