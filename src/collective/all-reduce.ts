/**
 * The sum of a vector over all ranks, in place, with the same bits on every rank.
 *
 * Long vectors take the ring of `ring-plan.ts`, driven by what arrives: a chunk is added and sent on while the next is on its
 * way. Each sum is finished by one rank and copied by the others, so the bits agree by construction. Short vectors, where
 * hops cost more than bytes, go round whole and every rank adds them in rank order: half the hops.
 *
 * Whose memory: a transport reads a payload after `send` has resolved, so a chunk in `values` must not change until the next
 * rank has it. It doesn't. The only chunks sent from `values` are partial sums of the reduce-scatter, and the next write to
 * such a place is that of the complete sum, which contains what was sent and thus proves that it arrived. Whatever else goes
 * out is a received payload, which nobody writes to. So when the promise has resolved, `values` is the caller's again; when
 * it has rejected, frames of this generation may still be read from it, and the generation must be given up (as the vote does).
 */
import { IsoergError, invariant } from "../util/error.js";
import { fastest } from "./cost-model.js";
import { Outbox } from "./outbox.js";
import { addInto } from "./reduce.js";
import { ringArrivals, ringDepartures } from "./ring-plan.js";
import { type Frame, type FrameTag, previousRank, type RingTransport } from "./transport.js";

export interface AllReduceOptions {
  readonly step: number;
  /** Which sum of the step this is. Ranks must do the same sums in the same order. */
  readonly bucket: number;
  /** Breaks the ring, since a half-done collective can't be taken back. */
  readonly signal?: AbortSignal;
  /** Default: by the cost model. All ranks must take the same. */
  readonly algorithm?: "ring" | "whole";
  /** Longest chunk of the ring. Default: a quarter of a segment, between 256 KiB and what a frame can carry. */
  readonly chunkLength?: number;
}

/** Whole vectors are neither chunked nor few: all copies together stay below this. */
const WHOLE_LENGTH_OF_ALL = 1 << 18;
const MIN_CHUNK_LENGTH = 1 << 16;

/** `values` may be over shared memory. Rejects when the ring broke or a peer disagrees about the sums; the ring is then broken. */
export async function allReduce(transport: RingTransport, values: Float32Array, options: AllReduceOptions): Promise<void> {
  const { worldSize } = transport.place;
  options.signal?.throwIfAborted();
  if (worldSize === 1 || values.length === 0) return;
  const onAbort = (): void => transport.interrupt(toError(options.signal?.reason));
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const algorithm = options.algorithm ?? chooseAlgorithm(values.length, transport);
    await (algorithm === "whole" ? sumWhole(transport, values, options) : sumByRing(transport, values, options));
  } catch (error) {
    transport.interrupt(toError(error));
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
}

async function sumByRing(transport: RingTransport, values: Float32Array, options: AllReduceOptions): Promise<void> {
  const { step, bucket } = options;
  const { rank, worldSize } = transport.place;
  const chunkLength = options.chunkLength ?? defaultChunkLength(values.length, transport);
  invariant(chunkLength <= transport.maxPayloadLength, `chunks of ${chunkLength} values, frames of ${transport.maxPayloadLength}`);
  const shape = { rank, worldSize, numValues: values.length, chunkLength };
  const outbox = new Outbox(transport);
  for (const { round, chunk, from, to } of ringDepartures(shape)) outbox.post({ step, bucket, round, chunk }, values.subarray(from, to));
  for (const { round, chunk, from, to, action, sendOn } of ringArrivals(shape)) {
    const { payload } = await receiveExactly(transport, { step, bucket, round, chunk }, to - from);
    const mine = values.subarray(from, to);
    let onward = payload;
    if (action === "replace") {
      mine.set(payload);
    } else {
      addInto(mine, payload);
      if (action === "complete") payload.set(mine);
      else onward = mine;
    }
    if (sendOn) outbox.post({ step, bucket, round: round + 1, chunk }, onward);
  }
  await outbox.sent();
}

async function sumWhole(transport: RingTransport, values: Float32Array, { step, bucket }: AllReduceOptions): Promise<void> {
  const { rank, worldSize } = transport.place;
  const byRank: Float32Array[] = [];
  byRank[rank] = new Float32Array(values); // a copy, since `values` is overwritten before it is known who has it
  const outbox = new Outbox(transport);
  outbox.post({ step, bucket, round: 0, chunk: 0 }, byRank[rank]);
  for (let round = 0; round < worldSize - 1; round++) {
    const { payload } = await receiveExactly(transport, { step, bucket, round, chunk: 0 }, values.length);
    byRank[(rank + worldSize - 1 - round) % worldSize] = payload;
    if (round + 1 < worldSize - 1) outbox.post({ step, bucket, round: round + 1, chunk: 0 }, payload);
  }
  await outbox.sent();
  byRank.forEach((vector, from) => {
    if (from === 0) values.set(vector);
    else addInto(values, vector);
  });
}

/** The frame that the plan says comes next. Anything else means that ranks don't do the same sums, which can't be mended here. */
async function receiveExactly(transport: RingTransport, expected: FrameTag, numValues: number): Promise<Frame> {
  const frame = await transport.receive();
  const { header, payload } = frame;
  const isExpected =
    header.step === expected.step &&
    header.bucket === expected.bucket &&
    header.round === expected.round &&
    header.chunk === expected.chunk &&
    payload.length === numValues;
  if (isExpected) return frame;
  const { rank } = transport.place;
  throw new IsoergError(
    "PROTOCOL",
    `rank ${rank}: rank ${previousRank(transport.place)} sent ${describe(header, payload.length)} where ${describe(expected, numValues)} was due`,
    { hint: "all ranks must sum the same vectors in the same order" },
  );
}

function describe({ step, bucket, round, chunk }: FrameTag, numValues: number): string {
  return `step ${step} bucket ${bucket} round ${round} chunk ${chunk} (${numValues} values)`;
}

/** Whether a vector may go round whole: in one frame, and without the copies of all ranks filling the memory. */
export function canGoWhole(numValues: number, { place, maxPayloadLength }: Pick<RingTransport, "place" | "maxPayloadLength">): boolean {
  return numValues * place.worldSize <= WHOLE_LENGTH_OF_ALL && numValues <= maxPayloadLength;
}

function chooseAlgorithm(numValues: number, transport: RingTransport): "ring" | "whole" {
  const among = canGoWhole(numValues, transport) ? (["whole", "ring"] as const) : (["ring"] as const);
  return fastest(numValues, transport.place.worldSize, { among }) === "whole" ? "whole" : "ring";
}

/** Several chunks a segment, so that hops overlap; not too small, since each costs a wake-up. */
function defaultChunkLength(numValues: number, { place, maxPayloadLength }: RingTransport): number {
  const quarter = Math.ceil(numValues / place.worldSize / 4);
  return Math.min(Math.max(quarter, MIN_CHUNK_LENGTH), maxPayloadLength);
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new IsoergError("STOPPED", String(reason ?? "the sum was given up"));
}
