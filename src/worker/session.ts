/**
 * A worker's session with the coordinator: hello, what it says as it comes, heartbeats beside it, and one end.
 *
 * Heartbeats live here, on the link thread, which never computes; so a long step can't cost one. Whatever ends the stream
 * (the coordinator's death, a lost connection, a refusal) ends the session once, with a reason; after that nothing is sent.
 */
import { type Client, type ClientDuplexStream, status } from "@grpc/grpc-js";
import { callBidirectional, networkError } from "../wire/client.js";
import type { Doing, FromWorker, Hello, ToWorker } from "../wire/messages.js";
import { coordination } from "../wire/proto.js";

export interface SessionOptions {
  readonly client: Client;
  readonly hello: Hello;
  readonly onMessage: (message: ToWorker) => void;
  /** The coordinator is gone, or has refused this worker. Not called after `leave` or `drop`. */
  readonly onLost: (reason: string, how: { readonly isRefusal: boolean }) => void;
  /** What a heartbeat tells; asked once in so many milliseconds. */
  readonly doing: (everyMs: number) => Doing & { readonly step: number };
}

/** What a coordinator answers to a worker that it will never take. */
const REFUSALS: ReadonlySet<status> = new Set([status.FAILED_PRECONDITION, status.PERMISSION_DENIED, status.UNAUTHENTICATED]);

export class Session {
  readonly #call: ClientDuplexStream<FromWorker, ToWorker>;
  readonly #ended: Promise<void>;
  #heartbeat: NodeJS.Timeout | undefined;
  #isOpen = true;

  constructor(options: SessionOptions) {
    this.#call = callBidirectional(options.client, coordination.session);
    this.#call.on("data", (message: ToWorker) => {
      if (!this.#isOpen) return;
      if (message.kind === "welcome") {
        this.#heartbeat = setInterval(() => this.send({ kind: "heartbeat", ...options.doing(message.heartbeatMs) }), message.heartbeatMs);
      }
      options.onMessage(message);
    });
    const lost = (reason: string, isRefusal = false): void => {
      if (!this.#isOpen) return;
      this.#close();
      options.onLost(reason, { isRefusal });
    };
    this.#ended = new Promise((resolve) => {
      this.#call.on("end", () => {
        lost("the coordinator ended the session");
        resolve();
      });
      this.#call.on("error", (error) => {
        lost(networkError(error).message, "code" in error && REFUSALS.has(error.code as status));
        resolve();
      });
    });
    this.send({ kind: "hello", ...options.hello });
  }

  send(message: FromWorker): void {
    if (this.#isOpen) this.#call.write(message);
  }

  /** Says goodbye, and waits up to `timeoutMs` until the coordinator has heard it. */
  async leave(timeoutMs: number, last?: FromWorker): Promise<void> {
    if (!this.#isOpen) return;
    if (last) this.send(last);
    this.#close();
    const timer = setTimeout(() => this.#call.cancel(), timeoutMs);
    await this.#ended;
    clearTimeout(timer);
  }

  /** Ends it at once, without a word. */
  drop(): void {
    if (!this.#isOpen) return;
    this.#close();
    this.#call.cancel();
  }

  #close(): void {
    this.#isOpen = false;
    clearInterval(this.#heartbeat);
    this.#call.end();
  }
}
