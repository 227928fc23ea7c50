/**
 * The ring's sum with half the bytes: what travels is bfloat16, what is added is float32, and what rounding takes is given back
 * in the next step (error feedback: Seide et al. 2014; Karimireddy et al. 2019).
 *
 * In the reduce-scatter each rank rounds every element once: its own share in its own segment, elsewhere the partial sum with its
 * share added. It keeps what that took, and adds it to its share of the next step's sum. So over many steps nothing is lost but the last
 * residual. The rank that completes an element rounds it and takes the rounded value itself, so all hold the same bits.
 * Residuals belong to a generation and to a vector's place in memory; they begin at zero. A step that was
 * not committed and comes again begins with none.
 *
 * Short vectors, where bytes don't matter, travel as they are.
 */
import { IsoergError } from "../util/error.js";
import { addBf16, packBf16, packedLength, unpackBf16 } from "./bf16.js";
import { Outbox } from "./outbox.js";
import { ringArrivals, ringDepartures } from "./ring-plan.js";
import type { RingTransport, SumTag } from "./transport.js";

/** Up to here a vector is not rounded: statistics and figures, and little to save. */
export const EXACT_LENGTH = 4096;

/** What rounding took from each vector, by the place where it lies: the same place is the same parameters in every step. */
export class Residuals {
  #byBuffer = new WeakMap<ArrayBufferLike, Map<number, Float32Array>>();
  #last: SumTag = { step: -1, bucket: -1 };

  of(values: Float32Array, { step, bucket }: SumTag): Float32Array {
    // A step that comes again was not committed, so what rounding took from it is not owed.
    if (step < this.#last.step || (step === this.#last.step && bucket <= this.#last.bucket)) this.clear();
    this.#last = { step, bucket };
    const byOffset = this.#byBuffer.get(values.buffer) ?? new Map<number, Float32Array>();
    this.#byBuffer.set(values.buffer, byOffset);
    const kept = byOffset.get(values.byteOffset);
    if (kept?.length === values.length) return kept;
    const fresh = new Float32Array(values.length);
    byOffset.set(values.byteOffset, fresh);
    return fresh;
  }

  /** Nothing is owed any more. */
  clear(): void {
    this.#byBuffer = new WeakMap();
  }
}

export async function allReduceBf16(
  transport: RingTransport,
  values: Float32Array,
  { step, bucket, residuals }: SumTag & { residuals: Residuals },
): Promise<void> {
  const { rank, worldSize } = transport.place;
  if (worldSize === 1 || values.length === 0) return;
  const residual = residuals.of(values, { step, bucket });
  for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + (residual[i] as number);
  const chunkLength = Math.min(Math.max(Math.ceil(values.length / worldSize / 4), 1 << 16), transport.maxPayloadLength);
  const shape = { rank, worldSize, numValues: values.length, chunkLength };
  const outbox = new Outbox(transport);
  const rounded = (from: number, to: number): Float32Array => {
    const packed = new Float32Array(packedLength(to - from)); // its own memory: nobody writes to it while it is on its way
    packBf16(values.subarray(from, to), packed, residual.subarray(from, to));
    return packed;
  };
  try {
    for (const { round, chunk, from, to } of ringDepartures(shape)) outbox.post({ step, bucket, round, chunk }, rounded(from, to));
    for (const { round, chunk, from, to, action, sendOn } of ringArrivals(shape)) {
      const { header, payload } = await transport.receive();
      const isExpected = header.step === step && header.bucket === bucket && header.round === round && header.chunk === chunk;
      if (!isExpected || payload.length !== packedLength(to - from)) {
        throw new IsoergError(
          "PROTOCOL",
          `rank ${rank}: another frame than that of step ${step} bucket ${bucket} round ${round} chunk ${chunk} was due`,
          {
            hint: "all ranks must sum the same vectors in the same order",
          },
        );
      }
      const mine = values.subarray(from, to);
      let onward = payload;
      if (action === "replace") {
        unpackBf16(payload, mine);
      } else {
        addBf16(mine, payload);
        onward = rounded(from, to);
        if (action === "complete") unpackBf16(onward, mine);
      }
      if (sendOn) outbox.post({ step, bucket, round: round + 1, chunk }, onward);
    }
    await outbox.sent();
  } catch (error) {
    residuals.clear();
    const reason = error instanceof Error ? error : new IsoergError("NETWORK", String(error));
    transport.interrupt(reason);
    throw reason;
  }
}
