/**
 * The seam below the collectives: vectors to the next rank, vectors from the previous one, for one generation.
 *
 * `zeromq-transport.ts` and `memory-transport.ts` pass one contract suite. A transport belongs to one generation: it is opened,
 * used and closed with it, so that nothing of an earlier one can arrive. It is first in, first out; what fails on it fails
 * for good, since a ring with a hole can't be mended, only opened again in the next generation.
 */

/** Which sum of a generation. */
export interface SumTag {
  readonly step: number;
  /** Which sum of the step. */
  readonly bucket: number;
}

/** Where a frame belongs within its generation. */
export interface FrameTag extends SumTag {
  /** Which hop of the collective, reduce-scatter first, then all-gather. */
  readonly round: number;
  readonly chunk: number;
}

/** Where a frame belongs at all. Frames of another run, generation or sender are dropped by the receiver, never delivered. */
export interface FrameHeader extends FrameTag {
  readonly run: number; // 32-bit hash of the run's id
  readonly generation: number;
  readonly sender: number; // rank
}

export interface Frame {
  readonly header: FrameHeader;
  /** The receiver's own memory, to keep, change or send on. Not over shared memory. */
  readonly payload: Float32Array;
}

/** A place in a ring: rank r sends to r + 1 and receives from r - 1, both modulo the world size. */
export interface RingPlace {
  readonly run: number;
  readonly generation: number;
  readonly rank: number;
  readonly worldSize: number;
}

export interface TransportCounts {
  readonly framesSent: number;
  readonly framesReceived: number;
  readonly bytesSent: number; // of payload
  /** Frames that were not ours or not frames at all. */
  readonly framesDropped: number;
}

/** How the ring is used is up to one collective at a time: at most one `send` and one `receive` may be pending. */
export interface RingTransport extends AsyncDisposable {
  readonly place: RingPlace;
  /** The longest vector that one frame carries. */
  readonly maxPayloadLength: number;
  /**
   * Resolves when the frame is queued, NOT when it is sent: the payload isn't copied and must stay as it is until the
   * collective's own data flow shows that the peer has it. Rejects when the ring is broken.
   */
  send(tag: FrameTag, payload: Float32Array): Promise<void>;
  /** The next frame from the previous rank. Rejects when nothing came for the transport's timeout, or the ring is broken. */
  receive(): Promise<Frame>;
  /** Resolves with the reason when the ring is broken or a neighbour is found to be gone, whether or not somebody waits for it. */
  readonly ended: Promise<Error>;
  /** Breaks the ring here: pending and later calls reject with this reason, and nothing lingers. */
  interrupt(reason: Error): void;
  counts(): TransportCounts;
}

export function previousRank(place: RingPlace): number {
  return (place.rank + place.worldSize - 1) % place.worldSize;
}

export function nextRank(place: RingPlace): number {
  return (place.rank + 1) % place.worldSize;
}

/** Whether a frame with this header is meant for this place: same run, same generation, from the previous rank. */
export function isForPlace(header: FrameHeader, place: RingPlace): boolean {
  return header.run === place.run && header.generation === place.generation && header.sender === previousRank(place);
}
