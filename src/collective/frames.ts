/**
 * The bytes before each vector on the wire, little-endian, 44 of them:
 *
 *     offset  size  field
 *          0     4  magic "ISOF"
 *          4     2  version, 1
 *          6     2  element type, 0 = float32
 *          8     4  run (32-bit hash of its id)
 *         12     4  generation
 *         16     8  step (below 2^53)
 *         24     4  bucket
 *         28     4  round
 *         32     4  chunk
 *         36     4  sender (rank)
 *         40     4  payload length in bytes
 *
 * A frame is two message parts, header and payload, so that the payload goes out from where it lies. Nothing that a header
 * says is trusted: the payload's length is compared with what really came and with the largest that was agreed.
 */
import { invariant } from "../util/error.js";
import type { FrameHeader } from "./transport.js";

export const FRAME_HEADER_BYTES = 44;
export const FRAME_VERSION = 1;

const MAGIC = 0x464f5349; // "ISOF", read as a little-endian word
const FLOAT32 = 0;
const TWO_TO_32 = 2 ** 32;

export type DecodedFrame =
  | { readonly ok: true; readonly header: FrameHeader; readonly payloadBytes: number }
  | { readonly ok: false; readonly reason: string };

/** Writes the header into the first 44 bytes of `into`, which may be reused as soon as the message has been handed over. */
export function encodeFrameHeader(header: FrameHeader, payloadBytes: number, into: DataView): void {
  invariant(into.byteLength >= FRAME_HEADER_BYTES, "a frame header needs 44 bytes");
  into.setUint32(0, MAGIC, true);
  into.setUint16(4, FRAME_VERSION, true);
  into.setUint16(6, FLOAT32, true);
  into.setUint32(8, header.run, true);
  into.setUint32(12, header.generation, true);
  into.setUint32(16, header.step % TWO_TO_32, true);
  into.setUint32(20, Math.floor(header.step / TWO_TO_32), true);
  into.setUint32(24, header.bucket, true);
  into.setUint32(28, header.round, true);
  into.setUint32(32, header.chunk, true);
  into.setUint32(36, header.sender, true);
  into.setUint32(40, payloadBytes, true);
}

/** Reads a header that came with a payload of `payloadBytes`. Says what is wrong rather than throwing: strangers may write to an open port. */
export function decodeFrameHeader(bytes: Uint8Array, payloadBytes: number, maxPayloadBytes: number): DecodedFrame {
  if (bytes.byteLength !== FRAME_HEADER_BYTES) return wrong(`header of ${bytes.byteLength} bytes instead of ${FRAME_HEADER_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC) return wrong("not a frame");
  const version = view.getUint16(4, true);
  if (version !== FRAME_VERSION) return wrong(`frame version ${version} instead of ${FRAME_VERSION}`);
  const elementType = view.getUint16(6, true);
  if (elementType !== FLOAT32) return wrong(`unknown element type ${elementType}`);
  const step = view.getUint32(20, true) * TWO_TO_32 + view.getUint32(16, true);
  if (!Number.isSafeInteger(step)) return wrong("step beyond 2^53");
  const told = view.getUint32(40, true);
  if (told !== payloadBytes) return wrong(`payload of ${payloadBytes} bytes where the header says ${told}`);
  if (payloadBytes > maxPayloadBytes) return wrong(`payload of ${payloadBytes} bytes, more than the ${maxPayloadBytes} agreed`);
  if (payloadBytes % Float32Array.BYTES_PER_ELEMENT !== 0) return wrong(`payload of ${payloadBytes} bytes is not a vector of float32`);
  return {
    ok: true,
    payloadBytes,
    header: {
      run: view.getUint32(8, true),
      generation: view.getUint32(12, true),
      step,
      bucket: view.getUint32(24, true),
      round: view.getUint32(28, true),
      chunk: view.getUint32(32, true),
      sender: view.getUint32(36, true),
    },
  };
}

function wrong(reason: string): DecodedFrame {
  return { ok: false, reason };
}
