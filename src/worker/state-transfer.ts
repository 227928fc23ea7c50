/** State on its way to or from a worker: parts cut into blocks for the wire, and put together again from them. */
import type { Client, ClientReadableStream } from "@grpc/grpc-js";
import type { StatePart } from "../checkpoint/state-part.js";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import { callClientStream, networkError } from "../wire/client.js";
import type { StateBlock } from "../wire/messages.js";
import { Pieces } from "../wire/pieces.js";
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
  readonly head: Omit<StatePart, "row" | "data">;
  /** What is taken in, in bytes of the tensor. */
  readonly wanted: Range;
  readonly rowBytes: number;
  readonly pieces: Pieces;
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
      const { wanted, pieces } = entry;
      if (block.offset < wanted.from || block.offset + block.data.length > wanted.to) {
        throw new IsoergError("PROTOCOL", `bytes beyond the end of ${key}`);
      }
      pieces.add(block.offset, block.data);
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

/** A tensor of model or optimizer, whole; of the buffer the rows that came whole. */
function finishPart(key: string, { head, wanted, rowBytes, pieces }: Receiving): StatePart[] {
  const stretches = pieces.stretches();
  if (head.file !== "buffer") {
    const numBytes = stretches.reduce((sum, { from, to }) => sum + to - from, 0);
    const sizeBytes = wanted.to - wanted.from;
    if (numBytes !== sizeBytes) throw new IsoergError("PROTOCOL", `${key} came with ${numBytes} of ${sizeBytes} bytes`);
    return [{ ...head, row: 0, data: copied(wanted) }];
  }
  return stretches.flatMap(({ from, to }) => {
    const [first, end] = [Math.ceil(from / rowBytes), Math.floor(to / rowBytes)];
    return end > first ? [{ ...head, row: first, data: copied({ from: first * rowBytes, to: end * rowBytes }) }] : [];
  });

  function copied(range: Range): StatePart["data"] {
    const data = new ARRAYS[head.dtype]((range.to - range.from) / ARRAYS[head.dtype].BYTES_PER_ELEMENT);
    pieces.copy(range, new Uint8Array(data.buffer));
    return data;
  }
}

/** Of one tensor. */
const MAX_TENSOR_BYTES = 2 ** 33;

const ARRAYS = { F32: Float32Array, I32: Int32Array, U8: Uint8Array } as const;

function beginPart(block: StateBlock, positions: Range): Receiving {
  const { file, tensor, dtype, shape } = block;
  if ((file !== "model" && file !== "optimizer" && file !== "buffer") || !(dtype === "F32" || dtype === "I32" || dtype === "U8")) {
    throw new IsoergError("PROTOCOL", `a tensor ${file}/${tensor} of dtype ${dtype} came`);
  }
  const perRow = rowBytes(shape, ARRAYS[dtype].BYTES_PER_ELEMENT);
  const numRows = shape[0] ?? 1;
  const rows =
    file === "buffer" ? { from: Math.min(positions.from, numRows), to: Math.min(positions.to, numRows) } : { from: 0, to: numRows };
  const sizeBytes = perRow * (rows.to - rows.from);
  if (!(sizeBytes <= MAX_TENSOR_BYTES)) throw new IsoergError("PROTOCOL", `a tensor ${file}/${tensor} of ${sizeBytes} bytes came`);
  const wanted = { from: perRow * rows.from, to: perRow * rows.to };
  return { head: { file, tensor, dtype, shape }, wanted, rowBytes: perRow, pieces: new Pieces() };
}

function rowBytes(shape: readonly number[], elementBytes: number): number {
  return shape.slice(1).reduce((product, size) => product * size, elementBytes);
}
