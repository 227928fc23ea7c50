/**
 * A short text of every rank, known to every rank: carried as a sum, in which each rank fills only its own place. So the
 * agreement on how sums travel needs no protocol of its own beside the ring's.
 */
import { IsoergError, invariant } from "../util/error.js";
import { allReduce } from "./all-reduce.js";
import type { RingTransport } from "./transport.js";

/** Bytes of a text, at most. A sum carries them one a float, which is exact. */
const TEXT_BYTES = 256;

/** The texts by rank. `round` tells one exchange from the next. */
export async function gatherTexts(transport: RingTransport, text: string, round: number): Promise<readonly string[]> {
  const { rank, worldSize } = transport.place;
  const bytes = new TextEncoder().encode(text);
  invariant(bytes.length < TEXT_BYTES, `a text of ${bytes.length} bytes, ${TEXT_BYTES - 1} at most`);
  const all = new Float32Array(worldSize * TEXT_BYTES);
  all[rank * TEXT_BYTES] = bytes.length;
  all.set(bytes, rank * TEXT_BYTES + 1);
  // Steps of a training never get here: a step is below 2^53, this one is the last of them.
  await allReduce(transport, all, { step: Number.MAX_SAFE_INTEGER, bucket: round });
  return Array.from({ length: worldSize }, (_, of) => {
    const from = of * TEXT_BYTES + 1;
    const length = all[from - 1] as number;
    if (!(length >= 0 && length < TEXT_BYTES)) throw new IsoergError("PROTOCOL", `rank ${rank}: no text came from rank ${of}`);
    return new TextDecoder().decode(Uint8Array.from(all.subarray(from, from + length)));
  });
}
