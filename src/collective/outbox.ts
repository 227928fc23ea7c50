/**
 * What a rank has to send, in order, while it goes on receiving: one frame at a time is with the transport, the others wait.
 *
 * Receiving never waits for sending, so a full ring can't lock up. A failed send breaks the transport, which is how the
 * receiving side of the same collective learns of it; no rejection is left unhandled.
 */
import { IsoergError } from "../util/error.js";
import type { FrameTag, RingTransport } from "./transport.js";

export class Outbox {
  readonly #transport: RingTransport;
  readonly #waiting: { readonly tag: FrameTag; readonly payload: Float32Array }[] = [];
  #sending: Promise<void> | undefined;
  #failure: Error | undefined;

  constructor(transport: RingTransport) {
    this.#transport = transport;
  }

  /** The payload must stay as it is until the peer has it. */
  post(tag: FrameTag, payload: Float32Array): void {
    this.#waiting.push({ tag, payload });
    this.#sending ??= this.#drain();
  }

  /** Resolves when the transport has taken everything posted so far. */
  async sent(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #drain(): Promise<void> {
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        await this.#transport.send(next.tag, next.payload);
      }
    } catch (error) {
      this.#waiting.length = 0;
      this.#failure = error instanceof Error ? error : new IsoergError("NETWORK", String(error));
      this.#transport.interrupt(this.#failure);
    } finally {
      this.#sending = undefined;
    }
  }
}
