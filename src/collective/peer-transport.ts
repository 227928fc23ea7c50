/**
 * Vectors between ranks that need not be neighbours in the ring, for algorithms that exchange at distances: the seam. What
 * `transport.ts` says of payloads, generations and ends holds here as well.
 */
import type { Frame, FrameTag, RingPlace } from "./transport.js";

export interface PeerTransport extends AsyncDisposable {
  readonly place: RingPlace;
  readonly maxPayloadLength: number;
  /** To one of this rank's partners (`partnersOf`). The payload must stay as it is until the collective's data flow shows its arrival. */
  send(to: number, tag: FrameTag, payload: Float32Array): Promise<void>;
  /** The next frame from that partner, in its order. */
  receive(from: number): Promise<Frame>;
  interrupt(reason: Error): void;
}
