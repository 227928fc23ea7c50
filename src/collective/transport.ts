/**
 * The seam below the collectives: bytes to a neighbour, bytes from a neighbour, for one generation.
 *
 * `zeromq-transport.ts` and `memory-transport.ts` pass one contract suite. A transport belongs to one generation: it is opened,
 * used and closed with it, so that nothing of an earlier one can arrive.
 */

/** Where a frame belongs. Frames of another run or generation are dropped by the receiver, never delivered. */
export interface FrameHeader {
  readonly run: number; // 32-bit hash of the run's id
  readonly generation: number;
  readonly step: number;
  readonly bucket: number;
  /** Which hop of the collective, reduce-scatter first, then all-gather. */
  readonly round: number;
  readonly chunk: number;
  readonly sender: number; // rank
}

export interface Frame {
  readonly header: FrameHeader;
  /** Valid until the next `receive`. */
  readonly payload: Float32Array;
}

export interface RingTransport extends AsyncDisposable {
  readonly rank: number;
  readonly worldSize: number;
  /**
   * Sends to the next rank. The payload is NOT copied: it must stay as it is until the collective's own data flow shows that
   * the peer has it (a ring's all-gather does).
   */
  send(header: FrameHeader, payload: Float32Array): Promise<void>;
  /** The next frame from the previous rank. Rejects when the signal aborts, the deadline passes or the peer is gone. */
  receive(): Promise<Frame>;
}
