/** A worker's part of a checkpoint, cut into blocks for the wire, and put together again from them. */
import type { Client } from "@grpc/grpc-js";
import type { StatePart } from "../checkpoint/state-part.js";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import { callClientStream, callServerStream, networkError } from "../wire/client.js";
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

/** Loads a checkpoint's model and optimizer, and the rows of these positions of its buffer. */
export async function receiveState(client: Client, step: number, positions: Range): Promise<StatePart[]> {
  const hasRows = positions.to > positions.from;
  const files = hasRows ? ["model", "optimizer", "buffer"] : ["model", "optimizer"];
  const call = callServerStream(client, coordination.loadState, { step, files, rowFrom: positions.from, rowTo: positions.to });
  const parts = new Map<string, { part: StatePart; bytes: Uint8Array; begin: number; filled: number }>();
  try {
    for await (const block of call as AsyncIterable<StateBlock>) {
      const key = `${block.file}/${block.tensor}`;
      const entry = parts.get(key) ?? beginPart(block, positions);
      parts.set(key, entry);
      const at = block.offset - entry.begin;
      if (at < 0 || at + block.data.length > entry.bytes.length) throw new IsoergError("PROTOCOL", `bytes beyond the end of ${key}`);
      entry.bytes.set(block.data, at);
      entry.filled += block.data.length;
    }
  } catch (error) {
    throw networkError(error as Error);
  }
  for (const [key, { filled, bytes }] of parts) {
    if (filled !== bytes.length) throw new IsoergError("PROTOCOL", `${key} came with ${filled} of ${bytes.length} bytes`);
  }
  return [...parts.values()].map(({ part }) => part);
}

const ARRAYS = { F32: Float32Array, I32: Int32Array, U8: Uint8Array } as const;

function beginPart(block: StateBlock, positions: Range): { part: StatePart; bytes: Uint8Array; begin: number; filled: number } {
  const { file, tensor, dtype, shape } = block;
  if ((file !== "model" && file !== "optimizer" && file !== "buffer") || !(dtype === "F32" || dtype === "I32" || dtype === "U8")) {
    throw new IsoergError("PROTOCOL", `a tensor ${file}/${tensor} of dtype ${dtype} came`);
  }
  const HostArray = ARRAYS[dtype];
  const perRow = rowBytes(shape, HostArray.BYTES_PER_ELEMENT);
  const numRows = shape[0] ?? 1;
  const rows =
    file === "buffer" ? { from: Math.min(positions.from, numRows), to: Math.min(positions.to, numRows) } : { from: 0, to: numRows };
  const data = new HostArray((perRow * (rows.to - rows.from)) / HostArray.BYTES_PER_ELEMENT);
  const bytes = new Uint8Array(data.buffer);
  return { part: { file, tensor, dtype, shape, row: rows.from, data }, bytes, begin: perRow * rows.from, filled: 0 };
}

function rowBytes(shape: readonly number[], elementBytes: number): number {
  return shape.slice(1).reduce((product, size) => product * size, elementBytes);
}
