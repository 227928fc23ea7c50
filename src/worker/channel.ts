/**
 * Between the training thread, which blocks, and the link thread, which must not: messages one way, replies the other.
 *
 * The training thread posts a request, sleeps in Atomics.wait and takes the reply with receiveMessageOnPort. No wake-up is
 * lost: the reply is posted before the counter is raised, and the sleeper reads the counter before it looks for the reply, so
 * either it finds the reply or the counter has changed and it doesn't sleep. Big arrays go in shared memory or are handed over.
 */
import { type MessagePort, receiveMessageOnPort, type Transferable } from "node:worker_threads";

/** What a training thread is started with. */
export interface ChannelEnds {
  readonly port: MessagePort;
  /** One 32-bit counter of replies. */
  readonly counter: SharedArrayBuffer;
}

/** Both ends: give `training` to the thread (with its port in the transfer list), keep `link`. */
export function createChannel(): { training: ChannelEnds; link: ChannelEnds } {
  const { port1, port2 } = new MessageChannel() as unknown as { port1: MessagePort; port2: MessagePort };
  const counter = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  return { training: { port: port1, counter }, link: { port: port2, counter } };
}

/** The training thread's end. */
export class BlockingEnd<Message, Reply> {
  readonly #port: MessagePort;
  readonly #counter: Int32Array;

  constructor({ port, counter }: ChannelEnds) {
    this.#port = port;
    this.#counter = new Int32Array(counter);
  }

  /** Posts a message that has no reply. */
  post(message: Message, transfer: readonly Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  /** Posts a message and sleeps until its reply is here. */
  request(message: Message): Reply {
    this.#port.postMessage(message);
    for (;;) {
      const seen = Atomics.load(this.#counter, 0);
      const received = receiveMessageOnPort(this.#port) as { message: Reply } | undefined;
      if (received !== undefined) return received.message;
      Atomics.wait(this.#counter, 0, seen);
    }
  }

  close(): void {
    this.#port.close();
  }
}

/** The link thread's end: `onMessage` for each message; those that want a reply get one through `reply`, in their order. */
export class AsyncEnd<Message, Reply> {
  readonly #port: MessagePort;
  readonly #counter: Int32Array;
  /** The other end closed, or its thread is gone; every message before that was given to `onMessage`. */
  readonly closed: Promise<void>;

  constructor({ port, counter }: ChannelEnds, onMessage: (message: Message) => void) {
    this.#port = port;
    this.#counter = new Int32Array(counter);
    this.closed = new Promise((resolve) => port.once("close", resolve));
    port.on("message", onMessage);
  }

  reply(reply: Reply, transfer: readonly Transferable[] = []): void {
    this.#port.postMessage(reply, transfer);
    Atomics.add(this.#counter, 0, 1);
    Atomics.notify(this.#counter, 0);
  }

  close(): void {
    this.#port.close();
  }
}
