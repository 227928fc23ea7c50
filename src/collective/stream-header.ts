/**
 * What goes before the bytes of a stage on a stream, little-endian, 48 bytes (StageHeader of native/streams.h, which writes it):
 *
 *     offset  size  field
 *          0     4  magic "ISOS"
 *          4     2  version, 1
 *          6     2  round
 *          8     4  run (32-bit hash of its id)
 *         12     4  generation
 *         16     8  step (below 2^53)
 *         24     8  values of the vector
 *         32     8  bytes that follow
 *         40     4  bucket
 *         44     4  sender (rank)
 *
 * Native code compares a header with the one that is due, byte for byte, and takes no number from it. It is read here only to say what came.
 */

export const STAGE_HEADER_BYTES = 48;

const MAGIC = 0x534f5349; // "ISOS", read as a little-endian word
const VERSION = 1;

export interface StageHeader {
  readonly round: number;
  readonly run: number;
  readonly generation: number;
  readonly step: number;
  readonly numValues: number;
  readonly numBytes: number;
  readonly bucket: number;
  readonly sender: number;
}

/** Undefined for anything that isn't such a header. */
export function decodeStageHeader(bytes: Uint8Array): StageHeader | undefined {
  if (bytes.byteLength !== STAGE_HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC || view.getUint16(4, true) !== VERSION) return undefined;
  const [step, numValues, numBytes] = [16, 24, 32].map((at) => Number(view.getBigUint64(at, true))) as [number, number, number];
  if (![step, numValues, numBytes].every(Number.isSafeInteger)) return undefined;
  return {
    ...{ step, numValues, numBytes },
    round: view.getUint16(6, true),
    run: view.getUint32(8, true),
    generation: view.getUint32(12, true),
    bucket: view.getUint32(40, true),
    sender: view.getUint32(44, true),
  };
}
